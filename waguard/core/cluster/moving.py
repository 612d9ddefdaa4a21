"""What of this host's sessions moves to another host, and where to: all while the host is being emptied, one at a time for
balance, one that is not admitted here, and one that somebody wants elsewhere. Pure.
"""

from collections.abc import Collection
from typing import Final

from waguard.core.backoff import backoff
from waguard.core.cluster import owner_state as owning
from waguard.core.cluster import placement
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.owner_facts import Acquire, Stays
from waguard.core.cluster.owner_state import Out, OwnerState, Stay
from waguard.core.cluster.placement import BALANCE, HostLoad, Hosts, Sessions
from waguard.core.replace import replace
from waguard.core.session.facts import Moment

DRAINED_AT_ONCE: Final = 2  # as many as a host starts at once
LONGEST_STAY: Final = 3600.0  # s until a session that could not leave is ended once more: each time it is down for a start
STAYS: Final = 3600.0  # s after a change of the owner in which want of admission moves nothing


def drain(state: OwnerState, lease: LeaseView, now: Moment, out: Out) -> OwnerState:
    """Release the sessions of a host that is being emptied, those first that nobody uses, a few at a time."""
    if not state.drain or state.held_since is None:
        return state
    for session, epoch in sorted(
        state.owned.items(), key=lambda it: (it[0] not in state.idle, it[0])
    ):
        if _must_stay(state, session, now):
            continue
        to_host = target(state, lease)
        if to_host is None or len(state.ending) >= DRAINED_AT_ONCE:
            break
        state = owning.release(state, session, epoch, to_host, out)
    return state


def balance(state: OwnerState, lease: LeaseView, now: Moment, out: Out) -> OwnerState:
    """Release a session to the emptiest host, where this one has been the fullest by too much for long enough."""
    all_loads = loads(state, lease)
    may = state.held_since is not None and not state.drain
    if not may or not placement.emptiest(state.host, all_loads, BALANCE):
        return replace(state, uneven_since=None)
    since = now.at if state.uneven_since is None else state.uneven_since
    state = replace(state, uneven_since=since)
    if state.ending:
        return state
    seen = Hosts(host=state.host, loads=all_loads, uneven_for=now.at - since)
    rows = tuple(row for row in state.rows.values() if not row.deleted)
    idle = frozenset(it for it in state.idle if not _must_stay(state, it, now))
    all_of = Sessions(rows=rows, idle=idle, now=now.wall)
    for move in placement.moves(seen, all_of, BALANCE):
        if (epoch := state.owned.get(move.session)) is not None:
            state = owning.release(state, move.session, epoch, move.to_host, out)
    return state


def target(state: OwnerState, lease: LeaseView) -> str | None:
    """Where a session of this host could run: with most room, what is on its way there not counted."""
    coming = [it.to_host for it in state.ending.values()]
    coming += [it.to_host for it in state.rows.values() if it.host is None]
    left = {
        host: found.record.room - coming.count(host)
        for host, found in lease.peers.items()
        if placement.takes(placement.load(found.record))
    }
    best = max(left, key=lambda host: (left[host], host), default=None)
    return best if best is not None and left[best] > 0 else None


def loads(state: OwnerState, lease: LeaseView) -> list[HostLoad]:
    """All hosts, this one as it is now."""
    own = HostLoad(
        host=state.host,
        alive=True,
        room=state.room,
        owned=len(staying(state)),
        drain=state.drain,
    )
    return [own, *(placement.load(found.record) for found in lease.peers.values())]


def staying(state: OwnerState) -> Collection[str]:
    """The own sessions that run: what is left of deleted ones needs no room, and the host's record does not count it."""
    rows = state.rows
    return [it for it in state.owned if it not in rows or not rows[it].deleted]


def move(state: OwnerState, session: str, to_host: str, lease: LeaseView, out: Out) -> OwnerState:
    """Release a session to the host that somebody names, where that takes it now: what is kept would happen when nobody
    expects it any more."""
    epoch, there = state.owned.get(session), lease.peers.get(to_host)
    if epoch is None or there is None or not placement.takes(placement.load(there.record)):
        return state
    return owning.release(state, session, epoch, to_host, out)


def leave(state: OwnerState, session: str, lease: LeaseView, now: Moment, out: Out) -> OwnerState:
    """Release a session that is not admitted here to a host with room. What has just come from another one stays: it would
    go round."""
    epoch, row = state.owned.get(session), state.rows.get(session)
    moved_at = row.moved_at if row else None
    to_host = target(state, lease)
    if epoch is None or to_host is None or (moved_at and now.wall - moved_at < STAYS):
        return state
    if _must_stay(state, session, now):
        return state
    return owning.release(state, session, epoch, to_host, out)


def stays(state: OwnerState, it: Stays, now: Moment, out: Out) -> OwnerState:
    """Keep a session that cannot leave; the next ones leave meanwhile. All of it is brought up again here."""
    if (ending := state.ending.get(it.session)) is None:
        return state
    if (
        state.held_since is None or ending.held_since != state.held_since
    ):  # another's by now, or may be
        return owning.lose(state, it.session, out)
    state = replace(state, ending=owning.without(state.ending, it.session))
    before = state.stays.get(it.session, Stay(0, now.at))
    pause = backoff(it.retry_after, before.failures, longest=LONGEST_STAY)
    stay = Stay(before.failures + 1, now.at + pause)
    out(Acquire(it.session, it.epoch))
    return replace(
        owning.changed(state, it.session),
        owned={**state.owned, it.session: it.epoch},
        stays={**state.stays, it.session: stay},
    )


def _must_stay(state: OwnerState, session: str, now: Moment) -> bool:
    """Whether it could not leave just now."""
    stay = state.stays.get(session)
    return stay is not None and now.at < stay.until
