"""Whether a disk is so full that no new work is begun. Pure."""

from typing import Final

RELEASE: Final = 1.1  # times the reserve; just above it, it would go on and off


def is_low(*, before: bool, free: int | None, reserve: int) -> bool:
    """``free`` and ``reserve`` in bytes, 0: no reserve. Unknown (None) changes nothing."""
    if reserve == 0:
        return False
    if free is None:
        return before
    return free < (RELEASE * reserve if before else reserve)
