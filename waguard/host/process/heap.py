"""The process's heap is one, and what is freed of it goes back to the kernel.

glibc gives each thread a heap of its own, of which 0.4 MB stay each; only one thread at a time runs Python.

glibc keeps what lies below the last piece in use, after a flood of large requests tens of megabytes, and says nowhere
how much of it takes up memory. A trim takes less than 1 ms, and 7 ms where much is scattered.
"""

import ctypes
from typing import Final

TRIMMED_EVERY: Final = 30.0  # s

_ARENA_MAX: Final = -8  # of malloc.h
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3

# another C library has none
_mallopt: Final = getattr(ctypes.CDLL(None), "mallopt", None)
_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


def share() -> None:
    """Have all threads that begin from now on use the first one's heap."""
    if _mallopt:
        _mallopt(_ARENA_MAX, 1)


def hold_nothing() -> None:
    """From now on give back at once what is large or at the end: glibc keeps up to twice the largest that was freed."""
    if _mallopt:
        for threshold in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            _mallopt(threshold, 128 << 10)


async def trim() -> None:
    """Give back all that is free, in pages of which no byte is in use."""
    if _malloc_trim:
        _malloc_trim(0)
