"""The age of stored things, without the time in which no daemon ran. Pure.

Ages are computed from stored unix times. But the wall clock may be set forward by a year, or the machine may be
off for two days. Such a stretch is a *gap*: nothing was delivered, repeated or offered to anybody meanwhile, so
it does not count. A clock that is set back makes nothing older.
"""

from typing import Final, NamedTuple

from msgspec import Struct

STEP: Final = 120.0  # s that the wall clock may run ahead between two readings
GAPS: Final = 64


class Gap(NamedTuple):
    """A stretch of unix time in which no daemon ran."""

    start: float
    end: float


class Lived(Struct, frozen=True):
    """What is known at the reading of ``at`` (unix time); ``reached`` is the latest time that was ever read. The
    oldest gap comes first, and none overlaps another."""

    at: float
    reached: float
    gaps: tuple[Gap, ...] = ()


def seen(before: Lived | None, *, now: float, passed: float) -> Lived:
    """The wall clock shows ``now``; ``passed``: seconds of the monotonic clock since the reading before, 0
    where that was an earlier run's."""
    if before is None:
        return Lived(now, now)
    # a clock that was set back passes these hours again, and now a daemon runs
    gaps = tuple(Gap(gap.start, min(gap.end, now)) for gap in before.gaps if gap.start < now)
    expected = before.at + passed
    if now > expected + STEP:
        # the clock was set back far and is right again: the time up to what it had reached counts
        known = before.reached if before.reached <= now else expected
        gaps = (*gaps, Gap(max(expected, known), now))
    return Lived(now, max(before.reached, now), _few(gaps))


def _few(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    """At most ``GAPS``: the two oldest become one at the end of the later one; what lies between gets younger."""
    while len(gaps) > GAPS:
        first, second, *rest = gaps
        length = first.end - first.start + second.end - second.start
        gaps = (Gap(second.end - length, second.end), *rest)
    return gaps


def age(lived: Lived, *, now: float, since: float) -> float:
    """Age in seconds; negative where ``since`` (unix time) is in the future."""
    return now - since - sum(max(0.0, gap.end - max(gap.start, since)) for gap in lived.gaps)


def ago(lived: Lived, *, now: float, seconds: float) -> float:
    """The unix time since which daemons ran for so many ``seconds``."""
    for gap in reversed(lived.gaps):
        if now - gap.end >= seconds:
            break
        seconds -= now - gap.end
        now = gap.start
    return now - seconds
