"""Quiet hours: from one time of the day to another one, on the clock of this host. Pure."""

import re
from typing import Final

Hours = tuple[int, int]
"""Minutes of the day at which they begin and end."""

_FORM: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def parse(text: str) -> Hours | None:
    """Read ``22:00-07:00``; None: there are none. Raises ``ValueError``."""
    if not text:
        return None
    if not (found := _FORM.fullmatch(text)):
        raise ValueError("it is not two times of the day")
    first, last = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    if first == last:
        raise ValueError("both times are the same")
    return first, last


def holds(hours: Hours | None, minute: int) -> bool:
    """Whether it is quiet in this minute of the day."""
    if hours is None:
        return False
    first, last = hours
    return first <= minute < last if first < last else minute >= first or minute < last
