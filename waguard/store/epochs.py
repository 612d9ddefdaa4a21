"""Epochs: in a cluster a session is written only while its owner is still the one that the writer knows of.

Theory of operation. Each session has a row of ``waguard_owners``; each claim increments its epoch. Who writes about a
session first takes a share lock on that row, in the same transaction, and compares the epoch. A claim waits for that lock:
so nothing of an owner before is committed after it, and the next owner's first read sees all that was. A comparison
without the lock, or inside the writing statement, does not do that.

What has to match, for every write of the store:

=====================================  =============================================================================
the own epoch                          ``write_status``, ``touch``, ``keep_limits``, ``accounts.correct``, ``link_phone``;
                                       ``messages.write``: inbox, deliveries, outbox, people, numbers, readers, acks,
                                       deferred files, results of webhooks; ``dead_letter_pending``; ``replay``,
                                       ``release_restored``, ``discard``, ``replay_unidentified``,
                                       ``discard_unidentified``; ``no_messages``, ``give_up``; ``fetch_again``,
                                       ``begin_file``, ``end_file``; credentials; proxies; ``create``, which inserts
                                       the owner's row where there is none
the epoch that was seen                ``accepted`` rows of the outbox from a host that is not the owner, and their
                                       withdrawal (``seen``)
row lock and generation                ``set_desired``, ``leave``, ``soft_delete``, ``set_metadata``, ``merge_metadata``,
                                       endpoints
nothing                                that a reply was written (``answered`` alone); the audit log; retention (``tidy``
                                       of messages, outbox, audit), whose statements say themselves what may go; lease,
                                       installation, owners and hosts
=====================================  =============================================================================

Locks are taken in one order: owners (by session), then accounts, then all others. A claim that waits
holds nothing: of many at once, what others hold is left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Column, Connection, bindparam, insert, select, text

from waguard.core.cluster.records import Owning
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.send_states import State
from waguard.core.replace import replace
from waguard.core.webhooks.pending import DeliveryResult, Hold
from waguard.ports.messages import Written
from waguard.ports.outbox import NewMessage, StateUpdate, Withdrawal
from waguard.store.lease import now_of
from waguard.store.models import DELIVERIES, OUTBOX, OWNERS
from waguard.store.types import storable

AT_ONCE: Final = 1_000  # of an IN
_OWN: Final = OWNERS.c
_LOCKED: Final = (
    select(_OWN.session_id, _OWN.epoch, _OWN.host, _OWN.incarnation)
    .where(_OWN.session_id.in_(bindparam("sessions", expanding=True)))
    .order_by(_OWN.session_id)
    .with_for_update(read=True)
)
_ADD: Final = "INTO waguard_owners (session_id, epoch) VALUES (:session, 0)"
_ADDED: Final = {
    "mysql": text(f"INSERT IGNORE {_ADD}"),
    "postgresql": text(f"INSERT {_ADD} ON CONFLICT DO NOTHING"),
}
_ADDED_OF: Final = _ADDED | {"mariadb": _ADDED["mysql"], "sqlite": _ADDED["postgresql"]}

Outbox = NewMessage | StateUpdate | Withdrawal
Result = DeliveryResult | Hold


class Held(Struct, frozen=True):
    """The owner's row of a session, which nobody can change until the transaction ends."""

    epoch: int
    host: str | None
    incarnation: str | None


def hold(connection: Connection, sessions: Iterable[str]) -> dict[str, Held]:
    """Lock the owners' rows of these sessions; one without a row is left out."""
    wanted = sorted({it for it in sessions if storable(it) == it})
    found: dict[str, Held] = {}
    for some in _in_parts(wanted):
        rows = connection.execute(_LOCKED, {"sessions": some})
        found |= {row.session_id: Held(row.epoch, row.host, row.incarnation) for row in rows}
    return found


def _mine(owning: Owning, session: str) -> Held | None:
    """What its row says where this host owns it. A session that was deleted and made again counts from 1 again: so the
    host and its incarnation are compared too. None: this host does not."""
    epoch = owning.epochs.get(session)
    return None if epoch is None else Held(epoch, owning.host, owning.incarnation)


def lost(connection: Connection, owning: Owning, sessions: Iterable[str]) -> frozenset[str]:
    """Those that this host does not own; the others are held, as ``hold`` does it."""
    wanted = frozenset(sessions)
    found = hold(connection, wanted & owning.epochs.keys())
    return wanted - {name for name, held in found.items() if held == _mine(owning, name)}


def hold_new(connection: Connection, owning: Owning, session: str) -> bool:
    """Whether this host owns a session that may have no row so far: then it has one."""
    if (mine := _mine(owning, session)) is None:
        return False
    found = hold(connection, [session])
    if session not in found:
        new = asdict(mine) | {"session_id": session, "moved_at": now_of(connection.dialect.name)}
        connection.execute(insert(OWNERS).values(new))
    return found.get(session, mine) == mine


class Batch(Struct, frozen=True):
    """What one transaction is to write."""

    received: Sequence[InboxRecord]
    results: Sequence[Result]
    outgoing: Sequence[Outbox]


class Allowed(Struct, frozen=True):
    """What of a batch this host may write."""

    batch: Batch
    kept: Sequence[bool]
    """Which of the batch's writes to the outbox."""
    lost: frozenset[str]
    unrecorded: frozenset[int]

    @property
    def refused(self) -> int:
        """How many writes of the batch it leaves out, what was received counted once for its session."""
        return len(self.lost) + len(self.unrecorded) + sum(not it for it in self.kept)

    def said(self, written: Written) -> Written:
        """What was written, as it is said of the whole batch."""
        numbers = iter(written.kept)
        return replace(
            written,
            kept=tuple(next(numbers) if is_kept else None for is_kept in self.kept),
            lost=self.lost,
            unrecorded=self.unrecorded,
        )


def allowed(connection: Connection, owning: Owning, batch: Batch) -> Allowed:
    """Hold the sessions that it is about, and leave out what this host may not write."""
    sessions = _sessions_of(connection, batch)
    seen = {s for it in batch.outgoing if (s := sessions.get(_name(it))) and _seen(it) is not None}
    others = {it.session_id for it in batch.received} | {*sessions.values()}
    held = hold(connection, others & (owning.epochs.keys() | seen))
    if new := sorted(seen - held.keys()):
        for session in new:  # else there is nothing to hold
            connection.execute(_ADDED_OF[connection.dialect.name], {"session": session})
        held |= hold(connection, new)

    def may(session: str | None, seen: int | None = None) -> bool:
        """None: there is no such row, which changes nothing."""
        if session is None:
            return True
        it = held.get(session)
        if seen is None:
            return it is not None and it == _mine(owning, session)
        return it is not None and it.epoch == seen

    def may_keep(it: Outbox) -> bool:
        session = sessions.get(_name(it))
        if isinstance(it, Withdrawal) and may(session):  # this host owns it meanwhile
            return True
        if _only_answered(it):  # who wrote the reply may not be the owner, and nobody else knows
            return True
        return may(session, _seen(it)) and not _is_refused(connection, it)

    kept = [may_keep(it) for it in batch.outgoing]
    recorded = [may(sessions.get(_name(it))) for it in batch.results]
    return Allowed(
        batch=Batch(
            received=[it for it in batch.received if may(it.session_id)],
            results=list(compress(batch.results, recorded)),
            outgoing=list(compress(batch.outgoing, kept)),
        ),
        kept=kept,
        lost=frozenset(it.session_id for it in batch.received if not may(it.session_id)),
        unrecorded=frozenset(
            it.id for it, is_ours in zip(batch.results, recorded, strict=True) if not is_ours
        ),
    )


def _is_refused(connection: Connection, it: Outbox) -> bool:
    """From a host that is not the owner nothing leaves, and no key is taken over: two hosts may accept one request."""
    if not isinstance(it, NewMessage) or it.seen is None:
        return False
    same = (OUTBOX.c.session_id == it.session_id) & (OUTBOX.c.idempotency_key == it.key)
    is_used = it.key is not None and connection.scalar(select(OUTBOX.c.id).where(same))
    return it.state is not State.ACCEPTED or bool(is_used)


def _only_answered(it: Outbox) -> bool:
    return isinstance(it, StateUpdate) and it == StateUpdate(id=it.id, answered=True)


_Name = tuple[str, int | str]
"""A table and what identifies a row of it."""


def _name(it: Outbox | Result) -> _Name:
    match it:
        case NewMessage(message_id=name) | Withdrawal(message_id=name):
            return "message", name
        case StateUpdate(id=number):
            return "outbox", number
        case _:
            return "deliveries", it.id


def _seen(it: Outbox) -> int | None:
    return None if isinstance(it, StateUpdate) else it.seen


def _sessions_of(connection: Connection, batch: Batch) -> dict[_Name, str]:
    """Which session each is about, where there is such a row; a row's session never changes."""
    known: dict[_Name, str] = {}
    asked: dict[str, list[Any]] = {"message": [], "outbox": [], "deliveries": []}
    for it in (*batch.outgoing, *batch.results):
        if isinstance(it, NewMessage):
            known[_name(it)] = it.session_id
        elif isinstance(it, StateUpdate) and it.reports:
            known[_name(it)] = it.reports[0]
        else:
            kind, name = _name(it)
            asked[kind].append(name)
    for kind, column in _NAMES.items():
        unknown = dict.fromkeys(it for it in asked[kind] if (kind, it) not in known)
        for some in _in_parts([*unknown]):
            stored = {storable(it) if isinstance(it, str) else it: it for it in some}
            query = select(column, column.table.c.session_id).where(column.in_([*stored]))
            known |= {(kind, stored[name]): session for name, session in connection.execute(query)}
    return known


_NAMES: Final[Mapping[str, Column[Any]]] = {
    "message": OUTBOX.c.message_id,
    "outbox": OUTBOX.c.id,
    "deliveries": DELIVERIES.c.id,
}


def _in_parts(wanted: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(wanted), AT_ONCE):
        yield wanted[start : start + AT_ONCE]
