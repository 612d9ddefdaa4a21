"""How many pairing codes a session requests from WhatsApp. Pure; times are unix time.

After about seven requests WhatsApp answers 429 for hours, and each further request may prolong that. QR codes are
not affected.
"""

from collections.abc import Sequence
from typing import Final

AT_MOST: Final = 7
# s; after five hours one account was still refused (wwebjs-api#91). How long it takes is unknown
PERIOD: Final = 21_600.0


def recent(asked: Sequence[float], *, now: float) -> tuple[float, ...]:
    """The requests that still count, oldest first; where the clock was set back, none is in the future."""
    return tuple(sorted(min(at, now) for at in asked if at > now - PERIOD))[-AT_MOST:]


def paused_for(asked: Sequence[float], refused: float | None, *, now: float) -> float:
    """Seconds until the next code may be requested; 0: now. ``refused``: when WhatsApp last answered 429."""
    counted = recent(asked, now=now)
    ends = [counted[0] + PERIOD] if len(counted) >= AT_MOST else []
    if refused is not None:
        ends.append(min(refused, now) + PERIOD)
    return max(0.0, max(ends, default=now) - now)
