"""How many pairing codes a session asks WhatsApp for. Pure; times are unix time.

After about seven WhatsApp answers 429, for hours. Each further request may make it longer, and the QR
code is not concerned.
"""

from collections.abc import Sequence
from typing import Final

AT_MOST: Final = 7
# s; one report waited five hours in vain (wwebjs-api#91). How long it takes is not known
PERIOD: Final = 21_600.0


def recent(asked: Sequence[float], *, now: float) -> tuple[float, ...]:
    """The requests that still count, oldest first; a clock that was set back makes none older."""
    return tuple(sorted(min(at, now) for at in asked if at > now - PERIOD))[-AT_MOST:]


def paused_for(asked: Sequence[float], refused: float | None, *, now: float) -> float:
    """Seconds in which WhatsApp is asked for no further code; 0: it may be asked. ``refused``: when
    it answered 429 last."""
    counted = recent(asked, now=now)
    ends = [counted[0] + PERIOD] if len(counted) >= AT_MOST else []
    if refused is not None:
        ends.append(min(refused, now) + PERIOD)
    return max(0.0, max(ends, default=now) - now)
