"""``python -m waguard.worker``."""

from waguard.worker.main import leave, main

leave(main())
