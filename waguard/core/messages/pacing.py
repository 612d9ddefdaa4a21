"""When the next message of a session may be sent. Pure; times are monotonic seconds.

A token bucket, kept as the moment at which it will be full again (GCRA), and a gap after each
message. Clock and chance are arguments.
"""

from typing import Final

from msgspec import Struct

MINUTE: Final = 60.0  # s


class Pace(Struct, frozen=True, kw_only=True):
    """At most ``rate`` messages a minute (0: no limit), ``burst`` of them at once, and after each a random ``gap``
    (shortest and longest, in seconds)."""

    rate: float = 0.0
    burst: int = 1
    gap: tuple[float, float] = (0.0, 0.0)

    @property
    def interval(self) -> float:
        """Seconds in which the bucket gets one token."""
        return MINUTE / self.rate if self.rate else 0.0


class Paced(Struct, frozen=True, kw_only=True):
    """The state of a session's rate limiter."""

    full_at: float = float("-inf")
    """When the bucket is full again."""
    gap_ends: float = float("-inf")


FRESH: Final = Paced()


def next_at(pace: Pace, paced: Paced, *, now: float) -> float:
    """When the next message may be sent: ``now``, or at most one interval or gap later."""
    return max(now, paced.full_at - (pace.burst - 1) * pace.interval, paced.gap_ends)


def after(pace: Pace, paced: Paced, *, at: float, chance: float) -> Paced:
    """The state after a message that was sent ``at``; ``chance`` is uniform in [0, 1]."""
    least, most = pace.gap
    return Paced(
        full_at=max(paced.full_at, at) + pace.interval,
        gap_ends=at + least + chance * (most - least),
    )


def changed(pace: Pace, paced: Paced, *, now: float) -> Paced:
    """The state after a change of ``pace``: no wait is longer than the new pace allows."""
    return Paced(
        full_at=min(paced.full_at, now + pace.burst * pace.interval),
        gap_ends=min(paced.gap_ends, now + pace.gap[1]),
    )
