"""A share of the CPU for one kind of work. Pure.

What was spent is a debt, which time pays off at the rate of the share. While the debt is more than is free, further
work waits.
"""

import math
from typing import Final

import msgspec


class Spent(msgspec.Struct, frozen=True):
    """``debt`` is in seconds of CPU time, as it was at ``at`` (s, monotonic)."""

    debt: float = 0.0
    at: float = -math.inf


NOTHING: Final = Spent()


def owed(spent: Spent, *, now: float, share: float) -> float:
    """What is not paid off yet."""
    return max(0.0, spent.debt - share * (now - spent.at))


def charge(spent: Spent, cost: float, *, now: float, share: float) -> Spent:
    """After so many more seconds of CPU time."""
    return Spent(owed(spent, now=now, share=share) + cost, now)


def wait(spent: Spent, *, now: float, share: float, free: float) -> float:
    """Seconds until no more than ``free`` is owed."""
    return max(0.0, owed(spent, now=now, share=share) - free) / share
