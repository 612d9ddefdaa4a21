"""Which sessions this host owns: it claims those of nobody and of dead hosts, and releases what is to move. Pure.

Rows are the database's, leases the engine's. A claim reads the row, *then* the holder's lease from the engine itself,
and then writes where the epoch is still the same: an incarnation has its lease before it owns anything, so one that is
not in that reading is dead. While the database is away nothing is claimed, and what runs goes on.

A row of this host is not enough to run its session: an earlier release may still be on its way to the database. It is
claimed again, which increments the epoch, so that the release finds another one. What moves of those that run: ``moving``.
"""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from waguard.core.cluster import moving, placement
from waguard.core.cluster import owner_state as owning
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.owner_facts import (
    Acquire,
    Claim,
    Claimed,
    ClaimRefused,
    CreateAsked,
    Deleted,
    DrainAsked,
    Ended,
    HolderRead,
    MoveAsked,
    NotAdmitted,
    OwnerEffect,
    OwnerFact,
    OwnersRead,
    ReadHolder,
    ReadOwners,
    Stays,
    Unanswered,
)
from waguard.core.cluster.owner_state import Ending, Out, OwnerState
from waguard.core.cluster.placement import CLAIM_STEP
from waguard.core.cluster.records import FORMAT, Found, Owner
from waguard.core.replace import replace
from waguard.core.session.facts import Moment

READ_EVERY: Final = 2.0  # s between two readings of the rows …
READ_SOON: Final = 1.0  # … while a session waits for an owner, or a host is emptied
MOVE_GRACE: Final = 10.0  # s in which only the host that a session was released to claims it


class OwnerStep(Struct, frozen=True):
    """The state after a fact, and what is to be performed, in order."""

    state: OwnerState
    effects: tuple[OwnerEffect, ...] = ()


def begin(host: str, adopted: frozenset[str], *, drain: bool = False) -> OwnerState:
    """The state of a daemon that has just started. ``adopted``: the sessions whose workers it greeted; ``drain``: it was
    being emptied before."""
    return OwnerState(host=host, adopted=adopted, drain=drain)


def advance(state: OwnerState, fact: OwnerFact, lease: LeaseView, now: Moment) -> OwnerStep:
    """Handle one fact. Never raises; a late or repeated answer changes nothing. ``now.at``: on the boot clock."""
    effects: list[OwnerEffect] = []
    out = effects.append
    after = _follow(state, lease, out)
    after = _handle(after, fact, lease, now, out)
    after = moving.drain(after, lease, now, out)
    if now.at >= due_at(after):
        out(ReadOwners())
        after = replace(after, reads=True, read_at=now.at, unsure=frozenset())
    return OwnerStep(after, tuple(effects))


def due_at(state: OwnerState) -> float:
    """When ``TimerDue`` has to be posted, on the boot clock; infinite while ``ReadOwners`` has no answer."""
    if state.reads:
        return math.inf
    if state.read_at is None:
        return 0.0
    soon = state.free_since or state.drain or state.others_drain
    return state.read_at + (READ_SOON if soon else READ_EVERY)


# ---- facts ----


def _follow(state: OwnerState, lease: LeaseView, out: Out) -> OwnerState:
    """What the lease means for what is owned: a dead incarnation owns nothing, and what was not held without interruption
    is being closed (``CloseAll``)."""
    if lease.incarnation != state.incarnation:
        for session in (*state.owned, *sorted(state.adopted)) if state.incarnation else ():
            state = owning.lose(state, session, out)
        state = replace(state, incarnation=lease.incarnation)
    if lease.held_since != state.held_since:
        if state.held_since is not None:
            closing = dict.fromkeys(state.owned, Ending(None))
            state = replace(state, owned={}, ending={**state.ending, **closing})
        state = replace(state, held_since=lease.held_since)
    peers = [it.record for it in lease.peers.values() if it.record.alive]
    living = frozenset((it.host, it.incarnation) for it in peers)
    if not state.living <= living:
        state = replace(state, read_at=None)  # somebody died: the rows are read at once
    drain = any(it.drain for it in peers)
    if (living, drain) != (state.living, state.others_drain):
        state = replace(state, living=living, others_drain=drain)
    return state


def _handle(  # noqa: C901, PLR0912 - a table of facts
    state: OwnerState, fact: OwnerFact, lease: LeaseView, now: Moment, out: Out
) -> OwnerState:
    match fact:
        case OwnersRead() if state.reads:
            return _on_rows(state, fact, lease, now, out)
        case HolderRead(host, found):
            return _on_holder(state, host, found, lease, out)
        case Claimed(claim, epoch):
            return _on_claimed(owning.answered(state, claim), claim, epoch, out)
        case ClaimRefused(claim) | Unanswered(Claim() as claim):
            return owning.answered(state, claim)
        case Unanswered(ReadOwners()):
            return replace(state, reads=False)
        case Unanswered(ReadHolder(host)):
            return replace(state, holders=owning.without(state.holders, host))
        case Ended(session):
            state = owning.changed(state, session)
            return replace(
                state,
                owned=owning.without(state.owned, session),
                ending=owning.without(state.ending, session),
                stays=owning.without(state.stays, session),
                adopted=state.adopted - {session},
            )
        case Stays():
            return moving.stays(state, fact, now, out)
        case CreateAsked(seen):
            incarnation = None if state.drain else _claims_as(state, lease)
            if incarnation is None or seen.host is not None or seen.session in state.claiming:
                return state
            return owning.claim(state, Claim(seen, incarnation), out)
        case Deleted(session):
            deleted = state.deleted | ({session} & state.owned.keys())
            state = replace(owning.changed(state, session), deleted=deleted)
            return replace(state, owned=owning.without(state.owned, session))
        case NotAdmitted(session):
            return moving.leave(state, session, lease, now, out)
        case MoveAsked(session, to_host):
            return moving.move(state, session, to_host, lease, out)
        case DrainAsked(drain):
            return replace(state, drain=drain, stays={})
        case _:
            return state


def _on_rows(
    state: OwnerState, fact: OwnersRead, lease: LeaseView, now: Moment, out: Out
) -> OwnerState:
    rows = {it.session: it for it in fact.rows}
    state = replace(state, reads=False, rows=rows, room=fact.room, idle=fact.idle)
    busy = state.unsure | state.claiming.keys() | state.ending.keys()
    busy |= {it.session for asked in state.holders.values() for it in asked}
    # once for all rows: there may be thousands, and what one of them changes is of its own session
    runs = state.owned.keys() | state.adopted | state.deleted
    living = state.living
    free = []
    for row in fact.rows:
        if row.session in busy:
            continue
        if row.host == state.host and row.incarnation == state.incarnation:
            state = _on_own(state, row, lease, out)
        elif row.session in runs:
            state = owning.lose(state, row.session, out)
        # by what the watch shows, nobody who lives owns it: it is worth asking the engine itself
        elif (row.host, row.incarnation) not in living:
            free.append(row)
    since = {session: at for session, at in state.free_since.items() if session in busy}
    since |= {it.session: state.free_since.get(it.session, now.at) for it in free}
    state = _claim_free(replace(state, free_since=since), free, lease, now.at, out)
    return moving.balance(state, lease, now, out)


def _on_own(state: OwnerState, row: Owner, lease: LeaseView, out: Out) -> OwnerState:
    """A row that has this host and this incarnation."""
    if state.held_since is None or state.incarnation is None:
        return state
    if state.owned.get(row.session) == row.epoch:
        return state
    is_known = row.session in state.owned or row.session in state.adopted
    if state.drain and not is_known and (to_host := moving.target(state, lease)) is not None:
        return owning.release(state, row.session, row.epoch, to_host, out)
    return owning.claim(state, Claim(row, state.incarnation), out)


def _is_dead(found: Found | None, row: Owner) -> bool:
    """Whether the incarnation in the row is dead, by its host's lease."""
    return found is None or not found.record.alive or found.record.incarnation != row.incarnation


def _claim_free(
    state: OwnerState, free: Sequence[Owner], lease: LeaseView, now: float, out: Out
) -> OwnerState:
    """Claim those of nobody, and ask for the leases of those that seem dead, as far as there is room."""
    incarnation = _claims_as(state, lease)
    if state.drain:
        free = [row for row in free if _runs_nowhere_else(row, lease)]
    if incarnation is None or not free:
        return state
    order = placement.turns(moving.loads(state, lease), [it.session for it in free])
    left = state.room - len(state.claiming) - sum(map(len, state.holders.values()))
    asked: dict[str, list[Owner]] = {}
    for row in free:
        delay = _delay(state.host, row, order[row.session], lease)
        waits = now < state.free_since[row.session] + delay
        # what was deleted runs nowhere, and needs no room
        if (left <= 0 and not row.deleted) or waits or row.host in state.holders:
            continue
        if row.host is None:
            state = owning.claim(state, Claim(row, incarnation), out)
        else:
            asked.setdefault(row.host, []).append(row)
        left -= not row.deleted
    for host in asked:
        out(ReadHolder(host))
    rows = {host: tuple(found) for host, found in asked.items()}
    return replace(state, holders={**state.holders, **rows})


def _claims_as(state: OwnerState, lease: LeaseView) -> str | None:
    """This host's incarnation, where it may claim what is not its own; None: it may not."""
    may = state.held_since is not None and not lease.newer_format
    return state.incarnation if may else None


def _runs_nowhere_else(row: Owner, lease: LeaseView) -> bool:
    """Whether a host that is being emptied takes a session back: it was released to one that did not take it, and no
    other takes it now."""
    takes = any(placement.takes(placement.load(it.record)) for it in lease.peers.values())
    return row.host is None and row.to_host is not None and not takes


def _delay(host: str, row: Owner, order: Sequence[str], lease: LeaseView) -> float:
    """How long it is left to others, in seconds. The watch's view of the others may be old: everybody's turn comes."""
    if row.host is None and row.to_host == host:
        return 0.0
    turn = order.index(host) if host in order else len(order)
    left_to = lease.peers.get(row.to_host) if row.host is None and row.to_host else None
    comes = left_to is not None and left_to.record.alive
    return (MOVE_GRACE if comes else 0.0) + CLAIM_STEP * turn


def _on_holder(
    state: OwnerState, host: str, found: Found | None, lease: LeaseView, out: Out
) -> OwnerState:
    rows = state.holders.get(host, ())
    state = replace(state, holders=owning.without(state.holders, host))
    incarnation = None if state.drain else _claims_as(state, lease)
    if incarnation is None or (found is not None and found.record.format > FORMAT):
        return state
    for row in rows:
        if row.session not in state.claiming and _is_dead(found, row):
            state = owning.claim(state, Claim(row, incarnation), out)
    return state


def _on_claimed(state: OwnerState, claim: Claim, epoch: int, out: Out) -> OwnerState:
    """The own lease is checked after the claim: what is claimed too late is left to who reads it."""
    session = claim.seen.session
    if claim.incarnation != state.incarnation or state.held_since is None:
        return state
    if session in state.ending:
        return state
    out(Acquire(session, epoch))
    adopted = state.adopted - {session}
    deleted = state.deleted - {session}
    owned = {**state.owned, session: epoch}
    # else it seems to be free since then when it is released before the next reading
    free_since = owning.without(state.free_since, session)
    return replace(state, owned=owned, adopted=adopted, deleted=deleted, free_since=free_since)
