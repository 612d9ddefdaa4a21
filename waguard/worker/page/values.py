"""Single values that a page reports, whatever they are: nothing raises, and what comes out can be encoded."""

import math
from typing import Final

WORD_LIMIT: Final = 128  # characters
LARGEST: Final = (1 << 53) - 1  # what every reader of JSON holds
MILLISECONDS_FROM: Final = 100_000_000_000  # no time in seconds is as large: the year 5138
LATEST: Final = 253_402_300_799  # s; the last one of the year 9999


def whole(value: object) -> int | None:
    """A number without its fraction; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    return value


def word(value: object, limit: int = WORD_LIMIT) -> str | None:
    """A text as far as the limit goes; None for what is no text."""
    if not isinstance(value, str):
        return None
    return value[:limit].encode(errors="replace").decode()


def moment(value: object) -> int | None:
    """Unix time in seconds, also of milliseconds; None for what is no time after 1970."""
    found = whole(value)
    if found is not None and found > MILLISECONDS_FROM:
        found //= 1_000
    return found if found is not None and 0 < found <= LATEST else None
