"""``python -m waguard.worker``."""

from waguard.host.process.departure import leave
from waguard.worker.main import main

leave(main())
