"""``python -m waguard.worker``."""

import sys

from waguard.worker.main import main

sys.exit(main())
