"""Whether and when a worker that exited is started again."""

from collections.abc import Sequence
from dataclasses import dataclass


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
