"""What it costs to read HTTP and to answer it, in seconds of CPU time. Pure.

Measured with aiohttp on a machine of 2026, and rounded up: it decides who waits, so it must not depend on what else the
machine does meanwhile.
"""

from typing import Final

CONNECTION: Final = 0.000_2
"""To accept a connection, and to end it."""
KNOCK: Final = 0.000_05
"""To accept one that is not read yet."""
REQUEST: Final = 0.000_8
"""To refuse a request, or to answer one that needs no key."""
READING: Final = 0.000_1
"""To read anything at all, and to wake up whoever waits for it …"""
_CONTENT: Final = 0.5e-9  # … and for each byte of a body
_FRAMING: Final = (
    0.3e-6  # … and of anything else: a chunk has 5 of those, and is an object of its own
)
_SEARCHING: Final = 2e-9  # for each byte of a body in which a key is searched


def of_reading(count: int, content: int) -> float:
    """The cost of so many bytes, of which so many are content of a body."""
    return READING + content * _CONTENT + (count - content) * _FRAMING


def of_searching(count: int) -> float:
    """A key in so many bytes."""
    return count * _SEARCHING
