"""How many files this process may have open: sockets are files."""

import resource
from typing import Final

WANTED: Final = 65_536


def raise_limit() -> int:
    """Raise the soft limit as far as the hard one lets it; the limit that holds from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = WANTED if hard == unlimited else min(WANTED, hard)
    if soft == unlimited or soft >= wanted:
        return WANTED if soft == unlimited else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
