"""This host's lease in the engine: when it is renewed, what runs under it, and which other host is dead. Pure.

Times are seconds of the boot clock (CLOCK_BOOTTIME), which goes on while the machine is suspended. The owner of a lease
counts from when it *sent* a renewal, the others from when they *saw* it: what a host runs has ended before anybody
declares it dead, and only what was declared dead is claimed.
"""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum, auto
from typing import Final

from msgspec import Struct, field

from waguard.core.cluster.lease_facts import (
    CloseAll,
    DeclareDead,
    Exit,
    KillAll,
    LeaseEffect,
    LeaseFact,
    Lend,
    NoAnswer,
    OwnRead,
    PeersSeen,
    ReadOwn,
    Refused,
    Renew,
    Renewed,
    Sweep,
    Swept,
)
from waguard.core.cluster.records import FORMAT, Found, HostRecord
from waguard.core.replace import replace
from waguard.core.session.facts import Moment

RETRY: Final = 1.0  # s after a call that had no answer, and between readings of a foreign record
FOREIGN_CHANGES: Final = (
    2  # that a dead daemon's late writes can make: each needs the revision before it
)


class LeaseTerms(Struct, frozen=True):
    """What follows from how long a lease lasts; all in seconds."""

    lasts: float
    """10 for etcd, 60 for the database."""

    @property
    def renewed_every(self) -> float:
        """Between two renewals."""
        return self.lasts / 5

    @property
    def closes_after(self) -> float:
        """From the sending of the last renewal that counted, until all sessions are closed in order."""
        return self.lent_for - min(0.35 * self.lasts, 10.0)

    @property
    def lent_for(self) -> float:
        """From that sending until the kernel ends each worker."""
        return 0.95 * self.lasts

    @property
    def dead_after(self) -> float:
        """From seeing a renewal, with no other one seen since, until its host is declared dead. The boot clocks of two
        hosts may differ by 7 % each."""
        return 1.1 * self.lasts


class LeaseStage(StrEnum):
    """What the lease waits for."""

    SWEEPING = auto()
    """Earlier incarnations are being ended; there is no incarnation."""
    READING = auto()
    """The record is to be read before anything is written."""
    RENEWING = auto()
    """The record is this incarnation's, or free, as it was read; it is written regularly."""
    OVER = auto()
    """Two machines have this name."""


class Peer(Struct, frozen=True):
    """Another host's lease as it was seen."""

    found: Found
    since: float
    """When this revision was first seen."""
    declared_at: float | None = None
    """When ``DeclareDead`` was last asked for."""


class LeaseState(Struct, frozen=True, kw_only=True):
    """This host's lease, as its daemon knows it. Begins with ``begin``."""

    host: str
    terms: LeaseTerms
    stage: LeaseStage
    incarnation: str | None
    number: int
    """The next call's."""
    first: int
    """The first number of this process; drawn at random, so that no two daemons of a host share one."""
    revision: int = 0
    """What the record had when it was last read or written; 0: there was none."""
    call: int | None = None
    """The call that has no answer yet."""
    called_at: float = -math.inf
    unanswered: bool = False
    """The last call had no answer."""
    sent: Mapping[int, float] = field(default_factory=dict)
    """When each recent renewal was sent."""
    begun: bool = False
    """The record has been this incarnation's: what else is there now means that this one is dead."""
    confirmed: float | None = None
    """When the last renewal that counted was sent; None: none of this incarnation by this process."""
    held_since: float | None = None
    """Since when the lease has been held without interruption; None: it is not."""
    foreign: Peer | None = None
    """Another incarnation that lives under this host's name, as it was last read."""
    foreign_changes: int = 0
    peers: Mapping[str, Peer] = field(default_factory=dict)
    newer_format: bool = False
    """Some host's record has a newer format."""


class LeaseStep(Struct, frozen=True):
    """The state after a fact, and what is to be performed, in order."""

    state: LeaseState
    effects: tuple[LeaseEffect, ...] = ()


class LeaseView(Struct, frozen=True, kw_only=True):
    """What ownership has to know of the leases, at one moment."""

    host: str
    incarnation: str | None
    """This host's; None: there is none yet, and nothing may be owned."""
    held_since: float | None
    """Since when sessions may run and be claimed here; another value than before: all were closed meanwhile. None: they
    may not."""
    newer_format: bool
    """Some host's record has a newer format: nothing is claimed."""
    peers: Mapping[str, Found]
    """The other hosts as the watch last showed them, the dead ones included."""


def begin(
    host: str, terms: LeaseTerms, *, number: int, adopts: str | None, now: Moment
) -> LeaseStep:
    """The state of a daemon that has just taken the instance lock. ``number``: a random one of 62 bits. ``adopts``: what
    ``<paths.runtime>/incarnation`` says; None: there is no such file, so everything is swept first."""
    state = LeaseState(
        host=host,
        terms=terms,
        stage=LeaseStage.READING if adopts else LeaseStage.SWEEPING,
        incarnation=adopts,
        number=number,
        first=number,
        begun=adopts is not None,
    )
    effects: list[LeaseEffect] = [] if adopts else [Sweep()]
    return LeaseStep(_decide(state, now.at, effects.append), tuple(effects))


def advance(state: LeaseState, fact: LeaseFact, now: Moment) -> LeaseStep:
    """Handle one fact. Never raises; a late or repeated answer changes nothing."""
    if state.stage is LeaseStage.OVER:
        return LeaseStep(state)
    effects: list[LeaseEffect] = []
    out = effects.append
    # first, for the fact may hold the lease again: what was not held without interruption was closed
    after = _lapse(state, now.at, out)
    after = _handle(after, fact, now.at, out)
    after = _decide(after, now.at, out)
    return LeaseStep(after, tuple(effects))


def due_at(state: LeaseState) -> float | None:
    """When ``TimerDue`` has to be posted, on the boot clock; None: only another fact changes anything."""
    found = []
    if (ends := _held_until(state)) is not None:
        found.append(ends)
        found += [_declared_at(state, it) for it in state.peers.values() if _may_die(it)]
    if state.call is None and state.stage in {LeaseStage.READING, LeaseStage.RENEWING}:
        found.append(_called_again_at(state))
    return min(found, default=None)


def lent_until(state: LeaseState) -> float | None:
    """Until when workers may live, on the boot clock; None: nothing is lent (by this process)."""
    return None if state.confirmed is None else state.confirmed + state.terms.lent_for


def at_once(state: LeaseState) -> LeaseState:
    """The next call of the engine is due now."""
    return replace(state, called_at=-math.inf)


def left(record: HostRecord, terms: LeaseTerms, renewed_ago: float) -> float:
    """Seconds that a lease still holds without another renewal; 0: it is over."""
    lasts = record.lasts or terms.lasts
    return max(0.0, lasts - renewed_ago) if record.alive else 0.0


def view(state: LeaseState, now: Moment) -> LeaseView:
    """The leases as ownership sees them."""
    ends = _held_until(state)
    return LeaseView(
        host=state.host,
        incarnation=state.incarnation,
        held_since=state.held_since if ends is not None and now.at < ends else None,
        newer_format=state.newer_format,
        peers={host: it.found for host, it in state.peers.items()},
    )


# ---- facts ----

_Out = Callable[[LeaseEffect], None]


def _handle(state: LeaseState, fact: LeaseFact, now: float, out: _Out) -> LeaseState:
    match fact:
        case Renewed(incarnation, number, revision) if incarnation == state.incarnation:
            if number == state.call:
                state = replace(state, revision=revision, call=None)
            return _confirm(state, number, now, out)
        case Refused(incarnation, number) if incarnation == state.incarnation:
            if number != state.call:
                return state
            return _read(state, now, out)
        case NoAnswer(call) if call == state.call:
            return replace(state, call=None, unanswered=True)
        case OwnRead(call, found) if call == state.call:
            return _on_read(replace(state, call=None), found, now, out)
        case Swept(incarnation) if state.stage is LeaseStage.SWEEPING:
            swept = replace(state, stage=LeaseStage.READING, incarnation=incarnation)
            return _read(swept, now, out)
        case PeersSeen(found):
            return _on_peers(state, found, now, out)
        case _:
            return state


def _on_read(state: LeaseState, found: Found | None, now: float, out: _Out) -> LeaseState:
    """Compare this host's record with what it should be."""
    record = found.record if found else None
    own = record is not None and record.incarnation == state.incarnation
    lives = record is not None and record.alive
    # another's number where this process has written: a copy of this machine, or the database was put back
    written = state.confirmed is None or (record and state.first <= record.number < state.number)
    if found and record and own and lives and written:
        renewing = replace(
            state, stage=LeaseStage.RENEWING, begun=True, revision=found.revision, foreign=None
        )
        return _confirm(at_once(renewing), record.number, now, out)
    if (
        state.begun or own
    ):  # what lives in its place goes on to renew, or nobody does: see ``_on_foreign``
        out(KillAll())
        out(Sweep())
        return LeaseState(
            host=state.host,
            terms=state.terms,
            stage=LeaseStage.SWEEPING,
            incarnation=None,
            number=state.number,
            first=state.first,
            peers=state.peers,
            newer_format=state.newer_format,
        )
    if found and record and lives:
        return _on_foreign(state, found, now, out)
    revision = found.revision if found else 0
    return at_once(replace(state, stage=LeaseStage.RENEWING, revision=revision, foreign=None))


def _on_foreign(state: LeaseState, found: Found, now: float, out: _Out) -> LeaseState:
    """Another incarnation lives under this name: of this machine before it was booted, or before the database was put
    back, or of another machine. It is replaced as a peer is declared dead: where exactly this revision has been there for long enough."""
    state = replace(state, stage=LeaseStage.READING)
    if state.foreign is None:
        return replace(state, foreign=Peer(found, now))
    if found.revision != state.foreign.found.revision:
        if state.foreign_changes >= FOREIGN_CHANGES:
            return _over(state, found.record, out)
        changes = state.foreign_changes + 1
        return replace(state, foreign=Peer(found, now), foreign_changes=changes)
    lasts = max(state.terms.lasts, found.record.lasts)
    if now - state.foreign.since < LeaseTerms(lasts).dead_after:
        return state
    return at_once(replace(state, stage=LeaseStage.RENEWING, revision=found.revision))


def _over(state: LeaseState, other: HostRecord, out: _Out) -> LeaseState:
    out(KillAll())
    out(Exit(f"another machine has the name {state.host}, too: its address is {other.address}"))
    return replace(state, stage=LeaseStage.OVER, held_since=None, call=None)


def _on_peers(state: LeaseState, found: tuple[Found, ...], now: float, out: _Out) -> LeaseState:
    peers = {}
    for it in found:
        host = it.record.host
        if host == state.host:
            own = it.record.incarnation == state.incarnation
            if own and not it.record.alive and state.call is None:
                state = _read(state, now, out)  # before a renewal is refused
            continue
        before = state.peers.get(host)
        known = before is not None and before.found.revision == it.revision
        peers[host] = before if before and known else Peer(it, now)
    newer = any(it.record.format > FORMAT for it in found)
    return replace(state, peers=peers, newer_format=newer)


def _confirm(state: LeaseState, number: int, now: float, out: _Out) -> LeaseState:
    """A renewal with this number is known to have been written, while this incarnation lived."""
    sent = state.sent.get(number)
    if sent is None or (state.confirmed is not None and sent <= state.confirmed):
        return state
    state = replace(state, confirmed=sent, begun=True)
    if now >= sent + state.terms.closes_after:
        return state  # too late to run anything under it
    out(Lend(sent + state.terms.lent_for))
    return state if state.held_since is not None else replace(state, held_since=now)


# ---- what is due ----


def _lapse(state: LeaseState, now: float, out: _Out) -> LeaseState:
    ends = _held_until(state)
    if ends is None or now < ends:
        return state
    out(CloseAll())
    return replace(state, held_since=None)


def _decide(state: LeaseState, now: float, out: _Out) -> LeaseState:
    if state.call is None and now >= _called_again_at(state):
        if state.stage is LeaseStage.READING:
            state = _read(state, now, out)
        elif state.stage is LeaseStage.RENEWING and state.incarnation is not None:
            out(Renew(state.incarnation, state.number, state.revision))
            recent = {it: at for it, at in state.sent.items() if now - at < state.terms.lasts}
            state = _called(replace(state, sent={**recent, state.number: now}), now)
    return _declare(state, now, out) if state.held_since is not None else state


def _declare(state: LeaseState, now: float, out: _Out) -> LeaseState:
    for host, it in state.peers.items():
        if _may_die(it) and now >= _declared_at(state, it):
            out(DeclareDead(it.found))
            state = replace(state, peers={**state.peers, host: replace(it, declared_at=now)})
    return state


def _read(state: LeaseState, now: float, out: _Out) -> LeaseState:
    out(ReadOwn(state.number))
    return _called(state, now)


def _called(state: LeaseState, now: float) -> LeaseState:
    number = state.number
    return replace(state, call=number, called_at=now, unanswered=False, number=number + 1)


def _called_again_at(state: LeaseState) -> float:
    waits = state.unanswered or state.stage is LeaseStage.READING
    every = state.terms.renewed_every
    return state.called_at + (min(every, RETRY) if waits else every)


def _held_until(state: LeaseState) -> float | None:
    """None: it is not held."""
    if state.confirmed is None or state.held_since is None:
        return None
    return state.confirmed + state.terms.closes_after


def _may_die(it: Peer) -> bool:
    return it.found.record.alive and it.found.record.format <= FORMAT


def _declared_at(state: LeaseState, it: Peer) -> float:
    """When a peer that is not seen to renew is declared dead. Who was without a lease saw nothing, or the engine was
    away from all: each has time to renew then."""
    if it.declared_at is not None:
        return it.declared_at + state.terms.renewed_every
    lasts = max(state.terms.lasts, it.found.record.lasts)  # hosts may be configured differently
    return max(it.since, state.held_since or it.since) + LeaseTerms(lasts).dead_after
