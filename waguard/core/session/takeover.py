"""Whether a session is taken back from another client of the same device. Pure.

Two clients that both take it back would do so forever, and WhatsApp sees each of them reconnect.
"""

from collections.abc import Sequence
from enum import StrEnum, auto
from typing import Final

LIMIT: Final = 3  # takeovers within PERIOD
PERIOD: Final = 600.0  # s
RETRY: Final = 5.0  # s that the page needs to become connected after one


class Answer(StrEnum):
    """What to do about a conflict now."""

    WAIT = auto()
    TAKE_OVER = auto()
    PARK = auto()


def recent(takeovers: Sequence[float], *, now: float) -> list[float]:
    """The takeovers that still count against the limit."""
    return [at for at in takeovers if at > now - PERIOD]


def answer(takeovers: Sequence[float], *, now: float) -> Answer:
    """What to do now. ``takeovers``: when it was taken back so far, oldest first; monotonic times."""
    counted = recent(takeovers, now=now)
    if counted and now - counted[-1] < RETRY:
        return Answer.WAIT
    return Answer.PARK if len(counted) >= LIMIT else Answer.TAKE_OVER
