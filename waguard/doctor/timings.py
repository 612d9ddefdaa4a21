"""How long the doctor waits. Tests pass shorter ones."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """In seconds."""

    daemon: float = 5.0
    """For the daemon to answer a question."""
    again: float = 1.0
    """Until the daemon is asked once more what it would correct."""


TIMINGS: Final = Timings()
