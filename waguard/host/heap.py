"""Freed memory goes back to the kernel.

glibc keeps what lies below the last piece in use, after a flood of large requests tens of megabytes, and says nowhere
how much of it takes up memory. To look for it takes 1 ms, 7 ms where much is scattered.
"""

import ctypes
from typing import Final

GIVEN_BACK_EVERY: Final = 30.0  # s

# another C library has none
_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


async def give_back() -> None:
    """All that is free, of pages of which no byte is in use."""
    if _trim:
        _trim(0)
