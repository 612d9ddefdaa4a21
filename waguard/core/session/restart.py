"""Whether and when a worker that ended is started again. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from waguard.core.backoff import backoff
from waguard.core.replace import replace

COUNTED: Final = 64  # newest restarts that are stored of a session
SESSIONS: Final = 2000  # whose restarts are stored
LONGEST_PAUSE: Final = 3600.0  # s between two tries of a session that is parked


class RestartPolicy(Struct, frozen=True, kw_only=True):
    """At most ``intensity`` restarts within ``period`` seconds; then the session is given up.

    The first restart is at once; after n restarts that still count, the next waits uniformly in
    [0, min(max_delay, base_delay · 2ⁿ⁻¹)) seconds ("full jitter").
    """

    intensity: int = 5
    period: float = 300.0
    base_delay: float = 1.0
    max_delay: float = 60.0


class Restart(Struct, frozen=True):
    """Start the worker again after ``delay`` seconds."""

    delay: float


class GiveUp(Struct, frozen=True):
    """The worker crashed more often than the policy allows."""

    restarts: int


class Retries(Struct, frozen=True):
    """The tries of a session that spent its restarts: it is tried again at growing intervals."""

    tries: int = 0
    """Tries since it was last stable, or a person started it."""
    at: float | None = None
    """Monotonic time of the next try."""
    running: bool = False
    """A try is under way, and its result is not known yet."""


class Remembered(Struct, frozen=True, kw_only=True):
    """What is stored of a session for the next daemon: what its row does not have."""

    counted: tuple[float, ...] = ()
    """Unix times of those that may still count against the intensity; the oldest comes first."""
    restarts: int = 0
    """All unplanned restarts."""
    tries: int = 0
    """As ``Retries.tries``."""
    unlinked_at: float | None = None
    """As ``Pairing.lost_at``; unix time."""
    unlinked_said: str | None = None
    """As ``Pairing.said``."""
    parked: str | None = None
    """Why it waits for a person, where the next daemon does not start it either: a ``ParkCause``."""
    parked_at: float | None = None
    """Since when; unix time."""


def worth_keeping(memory: Mapping[str, Remembered]) -> dict[str, Remembered]:
    """The part to store: without empty values, and at most ``SESSIONS``: those that wait for a person, and
    those that restarted last."""
    kept = [(name, one) for name, one in memory.items() if one != Remembered()]
    kept.sort(key=lambda it: (bool(it[1].parked), max(it[1].counted, default=0.0)), reverse=True)
    return {name: replace(one, counted=one.counted[-COUNTED:]) for name, one in kept[:SESSIONS]}


def credible(memory: Mapping[str, Remembered], *, now: float) -> dict[str, Remembered]:
    """Without times in the future, which would count until then: a clock was set back."""
    return {
        name: replace(
            one,
            counted=tuple(at for at in one.counted if at <= now),
            unlinked_at=None if one.unlinked_at is None else min(one.unlinked_at, now),
            parked_at=None if one.parked_at is None else min(one.parked_at, now),
        )
        for name, one in memory.items()
    }


def recent(restarts: Sequence[float], *, now: float, period: float) -> list[float]:
    """Keep the restarts that still count against the intensity."""
    return [at for at in restarts if at > now - period]


def decide(
    policy: RestartPolicy, restarts: Sequence[float], *, now: float, jitter: float
) -> Restart | GiveUp:
    """Decide what follows the end of a worker; ``jitter``: uniform in [0, 1)."""
    counted = len(recent(restarts, now=now, period=policy.period))
    if counted >= policy.intensity:
        return GiveUp(counted)
    if counted == 0:
        return Restart(0.0)
    return Restart(backoff(policy.base_delay, counted - 1, longest=policy.max_delay) * jitter)


def retry_delay(tries: int, *, first: float, jitter: float) -> float:
    """Seconds until a session that spent its restarts is tried again.

    ``tries``: how many such tries did not help. The pause doubles from ``first`` seconds up to an hour; ``jitter``
    in [0, 1) makes it up to a fifth longer, so that many sessions are not tried at once.
    """
    return backoff(first, tries, longest=max(LONGEST_PAUSE, first)) * (1 + jitter / 5)
