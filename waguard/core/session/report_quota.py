"""How much a page may report. Pure; monotonic seconds, bytes.

A page reports what happens in WhatsApp. One that somebody else has taken over reports whatever it likes, each second
as much as the disk takes in a minute. Messages are never dropped: a page that reports too many of them is read more
slowly. All else is dropped beyond its allowance. The allowances are far above what an account has: the
largest burst is what waited for a session that was away for days.
"""

from enum import StrEnum, auto
from typing import Final

from msgspec import Struct, field

from waguard.core.replace import replace

LEAST: Final = 512  # bytes; about what the row of a small report takes
OVER_FOR: Final = (
    60.0  # s after the last report beyond an allowance for which the page is said to flood
)
_DAY: Final = 86_400.0  # s


class Sort(StrEnum):
    """What is counted together."""

    MESSAGE = auto()
    BESIDE = auto()
    """Acks, edits, reactions and whatever else is stored."""
    SIGNAL = auto()
    """That something has changed: the page is read then. Each counts as one."""


class Allowance(Struct, frozen=True):
    """``burst`` at once, and ``rate`` each second."""

    burst: float
    rate: float


class Quota(Struct, frozen=True, kw_only=True):
    """What a worker may report. For what is beside messages a second one holds for a whole day: it bounds the disk."""

    message: Allowance = Allowance(64 << 20, 256 << 10)
    beside: Allowance = Allowance(16 << 20, 128 << 10)
    day: Allowance = Allowance(512 << 20, (512 << 20) / _DAY)
    signal: Allowance = Allowance(200, 2)


class Counted(Struct, frozen=True, kw_only=True):
    """What was reported: of each allowance, when all of it may be used again."""

    full_at: dict[str, float] = field(default_factory=dict)
    over_at: float | None = None
    """When something was last reported beyond an allowance."""


def report(
    quota: Quota, counted: Counted, sort: Sort, size: int, *, now: float
) -> tuple[Counted, float | None]:
    """What is counted then, and for how many seconds the page is not to be read; None: it is dropped, and not
    counted."""
    cost = 1.0 if sort is Sort.SIGNAL else float(max(size, LEAST))
    names = ("beside", "day") if sort is Sort.BESIDE else (str(sort),)
    full_at = dict(counted.full_at)
    wait = 0.0
    for name in names:
        allowed: Allowance = getattr(quota, name)
        full_at[name] = max(full_at.get(name, now), now) + cost / allowed.rate
        wait = max(wait, full_at[name] - now - allowed.burst / allowed.rate)
    if wait <= 0:
        return replace(counted, full_at=full_at), 0.0
    over = replace(counted, over_at=now)
    if sort is not Sort.MESSAGE:
        return over, None
    return replace(over, full_at=full_at), wait


def floods(counted: Counted, *, now: float) -> bool:
    """Whether the page reports more than it may."""
    return counted.over_at is not None and now - counted.over_at < OVER_FOR
