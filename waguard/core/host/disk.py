"""Whether a disk is so full that no new work is begun, or that nothing can be stored. Pure."""

from typing import Final

# times the reserve: without this hysteresis it would begin and end all the time
RELEASE: Final = 1.1
FULL: Final = 4 << 20  # bytes; a database allocates ahead, and fails before the last byte is taken


def is_low(*, before: bool, free: int | None, reserve: int) -> bool:
    """``free`` and ``reserve`` in bytes, 0: no reserve. Unknown (None) changes nothing."""
    if reserve == 0:
        return False
    if free is None:
        return before
    return free < (RELEASE * reserve if before else reserve)


def is_full(*, free: int | None, files: int | None) -> bool:
    """Whether nothing can be stored. Free bytes and files; None: it is unknown, or has no limit."""
    return (free is not None and free < FULL) or files == 0
