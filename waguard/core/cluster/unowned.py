"""Which living host owns a session; why one that none owns has none now, in words. Pure."""

from collections.abc import Mapping

from msgspec import Struct

from waguard.core.cluster import placement
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.owner_state import OwnerState
from waguard.core.cluster.records import HostRecord, Owner


class Unowned(Struct, frozen=True):
    """A session without a living owner."""

    seconds: float
    """For how long this host has seen it so."""
    why: str


def holder(state: OwnerState | None, lease: LeaseView, session: str) -> HostRecord | None:
    """The record of the other living host that owns it; None: there is none, or it is not known."""
    row = state.rows.get(session) if state else None
    found = lease.peers.get(row.host) if row and row.host else None
    if row is None or found is None or not found.record.alive:
        return None
    return found.record if found.record.incarnation == row.incarnation else None


def unowned(state: OwnerState, lease: LeaseView, now: float) -> Mapping[str, Unowned]:
    """All of them, by session. ``now``: on the boot clock."""
    waits = _waits(state, lease)
    return {
        session: Unowned(now - since, f"{_came(state.rows.get(session), state, lease)}; {waits}")
        for session, since in sorted(state.free_since.items())
    }


def _came(row: Owner | None, state: OwnerState, lease: LeaseView) -> str:
    """How it lost its owner."""
    if row is None or row.epoch == 0:
        return "no host has had it yet"
    if row.host is None:
        return f"it is on its way to {row.to_host}" if row.to_host else "its host has released it"
    if row.host == state.host:
        return f"its host {row.host} has lost its lease, and has a new one"
    if (found := lease.peers.get(row.host)) is None:
        return f"its host {row.host} has no lease"
    if not found.record.alive:
        return f"its host {row.host} is down"
    return f"its host {row.host} has lost its lease, and has a new one"


def _waits(state: OwnerState, lease: LeaseView) -> str:
    """What it waits for."""
    loads = [placement.load(it.record) for it in lease.peers.values()]
    takes_here = lease.held_since is not None and not state.drain and state.room > 0
    if takes_here or any(map(placement.takes, loads)):
        return "a host takes it over within seconds"
    if not any(it.alive and not it.drain for it in loads) and state.drain:
        return "every host is being emptied"
    return "no host has room for it"
