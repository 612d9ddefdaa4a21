"""Whether a session has grown so much that its worker is replaced, as planned. Pure."""

from enum import StrEnum, auto
from typing import Final

IDLE: Final = 60.0  # s without a message, after which a replacement disturbs nobody
APART: Final = 600.0  # s; where it uses as much again within this, a replacement does not help
GROWN: Final = 2.0  # times what it used when a replacement did not help: then another one may help
FAR: Final = 1.5  # times the limit: then the host comes first, and the session is replaced at once


class Size(StrEnum):
    """A session's memory, compared with its limit."""

    FITS = auto()
    TOO_BIG = auto()
    """Replace it when its turn comes."""
    FAR_TOO_BIG = auto()
    """Replace it now."""
    BIG_AGAIN = auto()
    """The worker was replaced not long ago: a replacement does not help."""


def size_of(
    *,
    limit: int,
    memory: int,
    idle: float | None,
    recycled: float | None,
    in_vain: int | None = None,
) -> Size:
    """Compare ``memory`` with ``limit`` (0: none), in bytes.

    ``idle``: seconds without a message, None: a call is under way. ``recycled``: seconds since its
    last replacement, None: there was none. ``in_vain``: bytes that it used when a replacement had not helped.
    """
    if not limit or memory <= limit:
        return Size.FITS
    if in_vain is not None and memory <= GROWN * in_vain:
        return Size.BIG_AGAIN
    if recycled is not None and recycled < APART:
        return Size.BIG_AGAIN
    if memory > FAR * limit:
        return Size.FAR_TOO_BIG
    if idle is not None and idle >= IDLE:
        return Size.TOO_BIG
    return Size.FITS
