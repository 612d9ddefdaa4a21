"""Where sessions are to run: how much room a host has, who claims first, and what moves for balance. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from waguard.core.cluster.records import HostRecord, Owner

CLAIM_STEP: Final = 1.5  # s that each next host waits before it claims
HELD_BACK: Final = 60.0  # s that admission may hold an own session back before it is released


class Capacity(Struct, frozen=True, kw_only=True):
    """What a host can run."""

    max_sessions: int
    owned: int
    unstarted: int
    """How many of these have not taken their memory yet."""
    free_memory: int
    """Bytes that are available, the reserve included."""
    reserve: int
    """Bytes that stay free (``admission``)."""
    session_memory: int
    """Bytes of one session."""
    under_pressure: bool
    """PSI is above ``admission.memory_pressure``."""


class HostLoad(Struct, frozen=True, kw_only=True):
    """What of a host's record matters here."""

    host: str
    alive: bool
    room: int
    owned: int
    drain: bool


class Hosts(Struct, frozen=True, kw_only=True):
    """All hosts, as one of them sees them."""

    host: str
    """The one that moves its own sessions."""
    loads: Sequence[HostLoad]
    """All hosts', this one's included."""
    uneven_for: float
    """s since when ``emptiest`` has found one without interruption."""


class Sessions(Struct, frozen=True, kw_only=True):
    """All sessions, and which of them may move."""

    rows: Sequence[Owner]
    idle: frozenset[str]
    """Own sessions that nobody uses at the moment."""
    now: float
    """Unix time."""


class BalanceRules(Struct, frozen=True, kw_only=True):
    """When a session moves for balance only."""

    least: int = 3
    """Sessions by which the fullest and the emptiest host may differ …"""
    share: float = 0.1
    """… or this share of the fullest one's, where that is more."""
    uneven_for: float = 600.0
    """s for which they must have differed by more."""
    rest: float = 3600.0
    """s for which a session stays where it was moved to."""


BALANCE: Final = BalanceRules()


class PlannedMove(Struct, frozen=True):
    """A session that is to be released to another host."""

    session: str
    to_host: str


def room(it: Capacity) -> int:
    """How many more sessions fit."""
    if it.under_pressure:
        return 0
    in_memory = (it.free_memory - it.reserve) // it.session_memory - it.unstarted
    return max(0, min(it.max_sessions - it.owned, in_memory))


def load(it: HostRecord) -> HostLoad:
    """A host by its record."""
    return HostLoad(host=it.host, alive=it.alive, room=it.room, owned=it.owned, drain=it.drain)


def takes(it: HostLoad) -> bool:
    """Whether a host can be expected to claim."""
    return it.alive and not it.drain and it.room > 0


def is_missing(it: HostLoad) -> bool:
    """Whether a host is down that was not taken out in order."""
    return not it.alive and not it.drain


def turns(hosts: Sequence[HostLoad], sessions: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """For each session without an owner the hosts that may claim it, the one with most room first. Each host waits
    ``CLAIM_STEP`` for each one before it. All hosts come to the same result from the same loads."""
    left = {it.host: it.room for it in hosts if takes(it)}
    found = {}
    for session in sorted(sessions):
        order = sorted(left, key=lambda host: (-left[host], host))
        found[session] = order
        if order:
            left[order[0]] -= 1
    return found


def emptiest(host: str, loads: Sequence[HostLoad], rules: BalanceRules) -> str | None:
    """The host that should have some of the sessions of ``host``, which is the fullest; None: none should."""
    alive = [it for it in loads if it.alive]
    fullest = max(alive, key=lambda it: (it.owned, it.host), default=None)
    targets = [it for it in alive if takes(it)]
    if fullest is None or fullest.host != host or not targets:
        return None
    least = min(targets, key=lambda it: (it.owned, it.host))
    differ = max(float(rules.least), rules.share * fullest.owned)
    return least.host if fullest.owned - least.owned > differ else None


def moves(hosts: Hosts, sessions: Sessions, rules: BalanceRules) -> Sequence[PlannedMove]:
    """What this host releases for balance: one session at a time, an idle one, and none while something else is to be
    done: a host is missing, or a session has no owner."""
    target = emptiest(hosts.host, hosts.loads, rules)
    if target is None or hosts.uneven_for < rules.uneven_for:
        return ()
    if any(map(is_missing, hosts.loads)) or any(it.host is None for it in sessions.rows):
        return ()
    resting = sessions.now - rules.rest
    free = [
        it
        for it in sessions.rows
        if it.host == hosts.host and it.session in sessions.idle and (it.moved_at or 0.0) <= resting
    ]
    free.sort(key=lambda it: (it.moved_at or 0.0, it.session))
    return tuple(PlannedMove(it.session, target) for it in free[:1])
