"""How old something is: of the time since then, only what a daemon lived. Pure.

Ages are told by unix times that were stored, and a wall clock may be set by a year, or have gone on for
two days while the machine was off. Such a stretch is a *gap*: nobody tried to deliver anything meanwhile,
no request was repeated, and nothing that is to be kept for a while had that while. So it does not count.
A clock that is set back makes nothing older.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

STEP: Final = 120.0  # s that the wall clock may run ahead from one look to the next
GAPS: Final = 64


class Gap(NamedTuple):
    """Unix times that nobody lived."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Lived:
    """What is known at the look at ``at`` (unix time); ``reached`` is the latest that was seen. The
    oldest gap comes first, and none overlaps another."""

    at: float
    reached: float
    gaps: tuple[Gap, ...] = ()


def seen(before: Lived | None, *, now: float, passed: float) -> Lived:
    """The wall clock shows ``now``; ``passed``: seconds of the monotonic clock since the look before,
    0 where that was another run's."""
    if before is None:
        return Lived(now, now)
    # a clock that was set back comes by these hours once more, and now they are lived
    gaps = tuple(Gap(gap.start, min(gap.end, now)) for gap in before.gaps if gap.start < now)
    expected = before.at + passed
    if now > expected + STEP:
        # one that was set back far, and is right again: what it reached before was lived
        known = before.reached if before.reached <= now else expected
        gaps = (*gaps, Gap(max(expected, known), now))
    return Lived(now, max(before.reached, now), _few(gaps))


def _few(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    """The two oldest become one at the end of the later one: what lies between gets younger."""
    while len(gaps) > GAPS:
        first, second, *rest = gaps
        length = first.end - first.start + second.end - second.start
        gaps = (Gap(second.end - length, second.end), *rest)
    return gaps


def age(lived: Lived, *, now: float, since: float) -> float:
    """Seconds; negative where ``since`` (unix time) is still to come."""
    return now - since - sum(max(0.0, gap.end - max(gap.start, since)) for gap in lived.gaps)


def ago(lived: Lived, *, now: float, seconds: float) -> float:
    """The unix time since which so many ``seconds`` were lived."""
    for gap in reversed(lived.gaps):
        if now - gap.end >= seconds:
            break
        seconds -= now - gap.end
        now = gap.start
    return now - seconds
