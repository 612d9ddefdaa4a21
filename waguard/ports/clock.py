"""Time, and how old something is."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class Clock(Protocol):
    """Time as an argument."""

    def wall(self) -> float:
        """Unix time in seconds."""

    def monotonic(self) -> float:
        """Seconds that never jump."""


class Ages(Protocol):
    """How old something is, whatever the wall clock was set to meanwhile (``core.lived``)."""

    def age(self, since: float) -> float:
        """Seconds since then (unix time) in which a daemon lived."""

    def ago(self, seconds: float) -> float:
        """The unix time since which so many seconds were lived."""


class WallAges(Struct, frozen=True):
    """Fills ``Ages`` where nothing is known but the clock. ``wall`` is unix time."""

    wall: Callable[[], float]

    def age(self, since: float) -> float:
        """All seconds since then."""
        return self.wall() - since

    def ago(self, seconds: float) -> float:
        """So many seconds before now."""
        return self.wall() - seconds
