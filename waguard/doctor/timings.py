"""How long the doctor waits. Tests pass shorter ones."""

from typing import Final

from msgspec import Struct


class Timings(Struct, frozen=True, kw_only=True):
    """In seconds."""

    daemon: float = 5.0
    """For the daemon to answer a question."""
    begins: float = 5.0
    """For a daemon that starts or ends to do so."""
    again: float = 1.0
    """Until what may be under way is asked once more."""


TIMINGS: Final = Timings()
