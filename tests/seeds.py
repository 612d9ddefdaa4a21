"""How many of its seeds a long test lives: a fifth, or all of them with `WHOLE=1 make test-long`, as before a release."""

import os
from typing import Final

WHOLE: Final = bool(os.environ.get("WHOLE"))
SHARE: Final = 1 if WHOLE else 5


def share_of(seeds: range) -> range:
    """Those that are lived now."""
    return seeds[::SHARE]
