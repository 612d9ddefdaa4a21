"""A share of the CPU for one kind of work. Pure.

What was spent is a debt, which time pays off at the rate of the share. While the debt is more than is free, further
work waits. Some of what is spent waits for nothing: the debt has a limit, or a flood of that would keep all others out
for as long again.
"""

import math
from typing import Final

import msgspec


class Spent(msgspec.Struct, frozen=True):
    """``debt`` is in seconds of CPU time, as it was at ``at`` (s, monotonic)."""

    debt: float = 0.0
    at: float = -math.inf


NOTHING: Final = Spent()
LONGEST: Final = 1.0  # s until all debt is paid off


def owed(spent: Spent, *, now: float, share: float) -> float:
    """What is not paid off yet."""
    return max(0.0, spent.debt - share * (now - spent.at))


def charge(spent: Spent, cost: float, *, now: float, share: float) -> Spent:
    """After so many more seconds of CPU time."""
    return Spent(min(owed(spent, now=now, share=share) + cost, share * LONGEST), now)


def wait(spent: Spent, *, now: float, share: float, free: float) -> float:
    """Seconds until no more than ``free`` is owed."""
    return max(0.0, owed(spent, now=now, share=share) - free) / share
