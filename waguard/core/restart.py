"""Whether and when a worker that exited is started again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

COUNTED: Final = 64  # newest restarts of a session that are remembered
SESSIONS: Final = 2000  # that are remembered
LONGEST_PAUSE: Final = 3600.0  # s between two tries of a session that is parked


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """At most ``intensity`` restarts within ``period`` seconds, then give up.

    The first restart is at once; after n restarts that still count, the next waits uniformly in
    [0, min(max_delay, base_delay · 2ⁿ⁻¹)) seconds ("full jitter").
    """

    intensity: int = 5
    period: float = 300.0
    base_delay: float = 1.0
    max_delay: float = 60.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the worker again after ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The worker crashed more often than the policy allows."""

    restarts: int


@dataclass(frozen=True, slots=True)
class Retries:
    """Of a session that spent its restarts: it is tried again, ever more rarely."""

    tries: int = 0
    """Since it was well for long, or a person started it."""
    at: float | None = None
    """Monotonic time of the next try."""
    running: bool = False
    """It is being tried, and it is not known yet whether that helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What outlives the daemon of a session's restarts."""

    counted: tuple[float, ...] = ()
    """Unix times of those that may still count against the intensity; the oldest comes first."""
    restarts: int = 0
    """All unplanned ones."""
    tries: int = 0
    """As ``Retries.tries``."""


def worth_keeping(memory: Mapping[str, Remembered]) -> dict[str, Remembered]:
    """Without what says nothing, and within bounds: the sessions that restarted last are kept."""
    kept = [(name, one) for name, one in memory.items() if one != Remembered()]
    kept.sort(key=lambda item: max(item[1].counted, default=0.0), reverse=True)
    return {name: replace(one, counted=one.counted[-COUNTED:]) for name, one in kept[:SESSIONS]}


def credible(memory: Mapping[str, Remembered], *, now: float) -> dict[str, Remembered]:
    """Without times that are still to come, which would count until then: a clock was set back."""
    return {
        name: replace(one, counted=tuple(at for at in one.counted if at <= now))
        for name, one in memory.items()
    }


def recent(restarts: Sequence[float], *, now: float, period: float) -> list[float]:
    """Keep the restarts that still count against the intensity."""
    return [at for at in restarts if at > now - period]


def decide(
    policy: RestartPolicy, restarts: Sequence[float], *, now: float, jitter: float
) -> Restart | GiveUp:
    """Judge one exit; ``jitter`` is a number in [0, 1) drawn by the caller."""
    counted = len(recent(restarts, now=now, period=policy.period))
    if counted >= policy.intensity:
        return GiveUp(counted)
    if counted == 0:
        return Restart(0.0)
    return Restart(min(policy.max_delay, policy.base_delay * 2.0 ** (counted - 1)) * jitter)


def retry_delay(tries: int, *, first: float, jitter: float) -> float:
    """Seconds until a session that spent its restarts is tried again.

    ``tries``: how many such tries were in vain. The pause doubles from ``first`` seconds up to an hour;
    ``jitter`` in [0, 1) makes it up to a fifth longer, so that many do not come at once.
    """
    pause = first * 2.0 ** min(tries, 20)
    return min(max(LONGEST_PAUSE, first), pause) * (1 + jitter / 5)
