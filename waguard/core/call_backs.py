"""Whether a receiver that said yes took the message, by what it was told while it handled it. Pure.

The application asks for /health and for the session's status while it handles a message, drops
the message where one of the answers is bad, and says 200 all the same. Its questions cannot be told
from those of others who ask the same: a question that got both answers leaves it open.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, as often as it was answered while the message was on its way."""

    good: int = 0
    bad: int = 0

    def answered(self, *, good: bool) -> "Asked":
        """Once more."""
        return replace(self, good=self.good + good, bad=self.bad + (not good))


class Fate(Enum):
    """Of a message that the receiver answered with 2xx."""

    TAKEN = auto()
    DROPPED = auto()
    """It certainly was not taken: it may be sent again."""
    UNCERTAIN = auto()


def fate_of(questions: Iterable[Asked], *, shared: bool) -> Fate:
    """``shared``: another receiver handled a message of the same session at that time, so that
    nobody knows whose questions these were."""
    asked = list(questions)
    if not any(one.bad for one in asked):
        return Fate.TAKEN
    if not shared and any(one.bad and not one.good for one in asked):
        return Fate.DROPPED
    return Fate.UNCERTAIN


def is_good_health(status: int, connected: object) -> bool:
    """What the application takes a message for: any session is connected."""
    return 200 <= status < 300 and isinstance(connected, int) and connected > 0  # noqa: PLR2004 - HTTP
