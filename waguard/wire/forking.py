"""What the daemon and its fork server say to each other, on a socket that keeps messages apart.

Each ``Fork`` carries three descriptors (SCM_RIGHTS) that become the worker's standard ones: the pipe
with its instructions, its output, its log. The worker does nothing before it has read the
instructions to their end, which may come later, so it cannot run before the daemon watches it, nor when
the daemon has given up: then the pipe ends without any.
"""

from typing import Final

from msgspec import Struct

DESCRIPTORS: Final = 3
LIMIT: Final = 4096  # bytes; no message is nearly as long


class Fork(Struct, frozen=True, kw_only=True):
    """daemon → server: one worker more."""

    number: int
    """The answer has the same."""


class Forked(Struct, frozen=True, kw_only=True):
    """server → daemon: the worker is the daemon's child now, and leads its own session."""

    number: int
    pid: int
    error: int = 0
    """errno where there is no worker."""
