"""Whether a receiver that answered 2xx kept the message, by the answers that it got while it handled it. Pure.

The application requests /health and the session's status while it handles a message. It drops the message
where one of the answers is bad, and answers 200 all the same. Its requests cannot be distinguished from
those of other clients: after a good and a bad answer to the same request the outcome is uncertain.
"""

from collections.abc import Iterable
from enum import Enum, auto

from msgspec import Struct

from waguard.core.replace import replace


class Asked(Struct, frozen=True):
    """How often one request was answered while the message was on its way."""

    good: int = 0
    bad: int = 0

    def answered(self, *, good: bool) -> "Asked":
        """Count one more answer."""
        return replace(self, good=self.good + good, bad=self.bad + (not good))


class Fate(Enum):
    """What became of a message that the receiver answered with 2xx."""

    TAKEN = auto()
    DROPPED = auto()
    """The receiver certainly did not keep it: it may be sent again."""
    UNCERTAIN = auto()


def fate_of(questions: Iterable[Asked], *, shared: bool) -> Fate:
    """What became of the message. ``shared``: another receiver handled a message of the same session at
    that time, so it is unknown which of the two made these requests."""
    asked = list(questions)
    if not any(one.bad for one in asked):
        return Fate.TAKEN
    if not shared and any(one.bad and not one.good for one in asked):
        return Fate.DROPPED
    return Fate.UNCERTAIN


def is_good_health(status: int, connected: object) -> bool:
    """Whether the application keeps messages after this answer of /health: any session is connected."""
    return 200 <= status < 300 and isinstance(connected, int) and connected > 0  # noqa: PLR2004 - HTTP
