"""The fleet breaker: when many sessions fail alike, no single one of them is to blame. Pure.

While it is open nobody is restarted but a canary: at once, and then at intervals. It closes when the
canary, or one of those that failed, is up again.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct

from waguard.core.host.admission import Candidate, order
from waguard.core.replace import replace


class FleetPolicy(Struct, frozen=True, kw_only=True):
    """Opens when more than the share ``threshold`` of the wanted sessions, and at least
    ``minimum``, fail alike within ``period`` seconds.

    - ``period``: restarts of a session are at most a minute apart, so each of them fails twice in it.
    - ``canary_interval``: seconds; a start has its limit after 55 (``Browser``, ``Restore``): one canary at a time.
    """

    threshold: float = 0.5
    minimum: int = 3
    period: float = 120.0
    canary_interval: float = 60.0


class Failure(Struct, frozen=True):
    """``cause``: as in ``blame.Failure``, compared between sessions. ``at`` in monotonic seconds."""

    session: str
    cause: str
    at: float


class Opening(Struct, frozen=True, kw_only=True):
    """Why and since when it is open."""

    cause: str
    sessions: frozenset[str]
    """Those that failed alike."""
    wanted: int
    at: float = 0.0
    """When it opened; monotonic seconds."""
    canary: str | None = None
    tried: tuple[str, ...] = ()
    """Earlier canaries, the oldest first."""
    tried_at: float | None = None


class Breaker(Struct, frozen=True):
    """``opening`` None: it is closed."""

    failures: tuple[Failure, ...] = ()
    opening: Opening | None = None


def failed(
    policy: FleetPolicy, breaker: Breaker, failure: Failure, *, wanted: Collection[str]
) -> Breaker:
    """Count a failure; ``wanted`` are the sessions that should be up and have been tried."""
    if breaker.opening:
        return breaker
    others = (
        known
        for known in breaker.failures
        if known.at > failure.at - policy.period
        and (known.session, known.cause) != (failure.session, failure.cause)
    )
    failures = (*others, failure)
    alike = {known.session for known in failures if known.cause == failure.cause} & set(wanted)
    if len(alike) >= policy.minimum and len(alike) > policy.threshold * len(wanted):
        opening = Opening(
            cause=failure.cause, sessions=frozenset(alike), wanted=len(wanted), at=failure.at
        )
        return Breaker(opening=opening)
    return Breaker(failures)


def came_up(breaker: Breaker, session: str) -> Breaker:
    """A session is ready, and its page reports the state of its link."""
    opening = breaker.opening
    if opening and session in opening.sessions | {opening.canary}:
        return Breaker()
    return breaker


def tried(
    policy: FleetPolicy,
    breaker: Breaker,
    held: Iterable[Candidate],
    *,
    under_way: Collection[str],
    now: float,
) -> Breaker:
    """Choose the next canary among ``held`` when the interval is over; ``under_way`` are being started.

    Where nobody is held and nobody is under way, no canary can be tried: the breaker closes.
    """
    opening = breaker.opening
    if opening is None or opening.canary in under_way:
        return breaker
    turn = {session: number for number, session in enumerate(opening.tried)}
    # the canary rotates: one that fails for a reason of its own must not keep all others down
    waiting = sorted(held, key=lambda it: (turn.get(it.session, -1), order(it)))
    if not waiting:
        return breaker if under_way else Breaker()
    if opening.tried_at is not None and now - opening.tried_at < policy.canary_interval:
        return breaker
    canary = waiting[0].session
    tried = (*(session for session in opening.tried if session != canary), canary)
    return replace(breaker, opening=replace(opening, canary=canary, tried=tried, tried_at=now))


def words(policy: FleetPolicy, opening: Opening) -> str:
    """Why restarts wait."""
    return (
        f"the fleet breaker is open: {len(opening.sessions)} of {opening.wanted} sessions failed "
        f"alike within {policy.period:g} s ({opening.cause}); one is tried every "
        f"{policy.canary_interval:g} s"
    )
