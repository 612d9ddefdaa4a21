"""``python -m waguard``."""

import sys

from waguard.cli import main

sys.exit(main())
