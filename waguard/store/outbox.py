"""The outbox over SQLAlchemy: what is sent, from its acceptance to the last ack."""

import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.send_states import (
    ABANDONED,
    ACTIONS,
    AT_SERVER,
    ENDED,
    FROM,
    UNENDED,
    WITHOUT_CONTENT,
    State,
    by_ack,
)
from waguard.core.messages.sent_events import NOT_SENT
from waguard.core.phone_number import number_of
from waguard.ports.outbox import (
    UNDECIDED,
    NewMessage,
    Outgoing,
    Reader,
    StateUpdate,
    Withdrawal,
)
from waguard.store import group_readers as readers
from waguard.store import owned, withdrawals
from waguard.store.database import Database
from waguard.store.engine import commit_with_next
from waguard.store.models import INBOX, OUTBOX
from waguard.store.types import storable

ERROR_LIMIT: Final = 1_000  # characters
_ROOM: Final = 1 << 20  # bytes of a packet that are no file

_OWN: Final = OUTBOX.c
_FILE: Final = re.compile(rb'"file":"([0-9a-f]{64})"')  # in a text the quotes have backslashes
_COLUMNS: Final = [column for column in _OWN if column is not _OWN.id]
KEEPS_NONE: Final = insert(OUTBOX).from_select(
    [column.name for column in _COLUMNS], select(*_COLUMNS).where(false()), include_defaults=False
)
"""Needs the table, its columns and the right to write them, and writes nothing."""
_UNSENT: Final = _OWN.state.in_([State.ACCEPTED, State.SENDING])
_MESSAGE: Final = _OWN.kind.not_in(sorted(ACTIONS))
_SHOWN: Final = tuple(
    column.label("key") if column.name == "idempotency_key" else column
    for column in OUTBOX.c
    if column.name not in {"body", "content"}
)


def _in(states: Iterable[State]) -> ColumnElement[bool]:
    """As ``IN``, which cannot be executed with many sets of values at once."""
    return or_(*(_OWN.state == state for state in sorted(states)))


# made once: to make and to recognise a statement takes SQLAlchemy longer than SQLite to run it
_INSERT: Final = insert(OUTBOX)
_FREE_KEY: Final = (
    update(OUTBOX)
    .where(_OWN.session_id == bindparam("session"), _OWN.idempotency_key == bindparam("used"))
    .values(idempotency_key=None)
)
_SAME: Final = update(OUTBOX).where(_OWN.id == bindparam("number"))
_STEPS: Final = {state: _SAME.where(_in(before)) for state, before in FROM.items()}
_MAY_BEGIN: Final = or_(_OWN.expires_at.is_(None), _OWN.expires_at != ABANDONED)
_STEPS[State.SENDING] = _STEPS[State.SENDING].where(_MAY_BEGIN).values(attempts=_OWN.attempts + 1)
_QUEUE: Final = _SAME.where(_in({State.ACCEPTED, State.SENDING}), _MAY_BEGIN)

# were session (the fingerprint has it), key or bulk named too, most rows would be read by another index
UNANSWERED: Final = select(*_SHOWN).where(
    _OWN.created_at >= bindparam("since"),
    _OWN.fingerprint == bindparam("same"),
    ~_OWN.answered,
)
"""Found by when they were accepted, which is not long ago."""


class SqlOutbox:
    """``ports.outbox.OutboxStore``; a part of ``SqlStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unfinished(
        self,
        *,
        uncertain_since: float,
        answered_since: float,
        sessions: Collection[str] | None = None,
    ) -> list[Outgoing]:
        uncertain = and_(_OWN.state == State.UNCERTAIN, _OWN.updated_at >= uncertain_since)
        owed = and_(~_OWN.answered, _OWN.bulk_id.is_(None), _OWN.created_at >= answered_since)
        query = select(*_SHOWN).where(or_(_UNSENT, uncertain, owed)).order_by(_OWN.id)
        return await self._found(self._of(sessions, query))

    async def unreported(
        self, *, since: float, sessions: Collection[str] | None = None
    ) -> list[Outgoing]:
        untold = or_(
            and_(_in(AT_SERVER), ~_has_key("sent:")),
            and_(_in(NOT_SENT), _OWN.queued, ~_has_key("failed:")),
        )
        query = select(*_SHOWN).where(untold, _MESSAGE, _OWN.created_at >= since)
        return await self._found(self._of(sessions, query).order_by(_OWN.id))

    def _of(self, sessions: Collection[str] | None, query: Select[Any]) -> Select[Any]:
        """None: of those that this host owns."""
        if sessions is None:
            return owned.only(self._database.owning(), query, _OWN.session_id)
        return query.where(_OWN.session_id.in_(sorted(sessions)))

    async def find(self, number: int) -> Outgoing | None:
        return await self._one(_OWN.id == number)

    async def find_message(self, message_id: str) -> Outgoing | None:
        return await self._one(_OWN.message_id == storable(message_id))

    async def find_key(self, session_id: str, key: str) -> Outgoing | None:
        return await self._one(and_(_OWN.session_id == session_id, _OWN.idempotency_key == key))

    async def find_unanswered(self, fingerprint: str, *, since: float) -> Outgoing | None:
        found = await self._found(UNANSWERED.params(same=fingerprint, since=since))
        never = {State.FAILED, State.CANCELLED}
        there = [it for it in found if not (it.key or it.bulk_id) and it.state not in never]
        return max(there, key=lambda it: it.id, default=None)

    async def readers(self, session_id: str, message_id: str) -> list[Reader]:
        async with self._database.reading() as (connection, _):
            return await readers.of(connection, session_id, message_id)

    async def load(self, number: int) -> tuple[bytes, bytes | None] | None:
        async with self._database.reading() as (connection, _):
            query = select(_OWN.body, _OWN.content).where(_OWN.id == number)
            row = (await connection.execute(query)).first()
            return None if row is None else (row.body, row.content)

    async def listing(
        self,
        *,
        sessions: Collection[str] | None = None,
        state: State | None = None,
        bulk_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Outgoing]:
        query = select(*_SHOWN).order_by(_OWN.id.desc()).limit(limit)
        if sessions is not None:
            query = query.where(_OWN.session_id.in_(sorted(sessions)))
        if state is not None:
            query = query.where(_OWN.state == state)
        if bulk_id is not None:
            query = query.where(_OWN.bulk_id == bulk_id)
        if before is not None:
            query = query.where(_OWN.id < before)
        return await self._found(query)

    async def counts(
        self, bulk_id: str, sessions: Collection[str] | None = None
    ) -> dict[State, int]:
        query = select(_OWN.state, func.count()).where(_OWN.bulk_id == bulk_id)
        if sessions is not None:
            query = query.where(_OWN.session_id.in_(sorted(sessions)))
        async with self._database.reading() as (connection, _):
            found = await connection.execute(query.group_by(_OWN.state))
            return {State(state): count for state, count in found}

    async def unended(self) -> dict[State, int]:
        query = select(_OWN.state, func.count()).where(_in(UNENDED)).group_by(_OWN.state)
        async with self._database.reading() as (connection, _):
            found = await connection.execute(query)
            return dict.fromkeys(UNENDED, 0) | {State(state): count for state, count in found}

    async def tidy(self, *, before: float, limit: int) -> int:
        old = and_(_OWN.state.in_(ENDED), _OWN.created_at < before, _ended_before(before))
        async with self._database.reading() as (connection, _):
            found = (await connection.scalars(select(_OWN.id).where(old).limit(limit))).all()
        if not found:
            return 0
        async with self._database.writing() as work:
            gone = await work.connection.execute(delete(OUTBOX).where(_OWN.id.in_(found), old))
            return gone.rowcount

    async def files_awaited(self) -> set[str]:
        with_file = and_(_UNSENT, _OWN.kind != "text", _OWN.content.is_(None))
        async with self._database.reading() as (connection, _):
            bodies = await connection.scalars(select(_OWN.body).where(with_file))
            return {found[1].decode() for body in bodies for found in _FILE.finditer(body)}

    async def largest_body(self) -> int | None:
        """MySQL refuses a packet over max_allowed_packet, and a statement is one."""
        async with self._database.reading() as (connection, layout):
            if not layout.bytewise:
                return None
            packet = await connection.scalar(text("SELECT @@GLOBAL.max_allowed_packet"))
            return max(0, int(packet) - _ROOM)

    async def _one(self, condition: Any) -> Outgoing | None:
        found = await self._found(select(*_SHOWN).where(condition).limit(1))
        return found[0] if found else None

    async def _found(self, query: Select[Any]) -> list[Outgoing]:
        async with self._database.reading() as (connection, _):
            return [_outgoing(row._asdict()) for row in await connection.execute(query)]


def _has_key(prefix: str) -> ColumnElement[bool]:
    """Whether the inbox has this of the message. A key that was too long is never found."""
    inbox, key = INBOX.c, literal(prefix, String(200)) + _OWN.message_id
    return select(inbox.id).where(inbox.session_id == _OWN.session_id, inbox.key == key).exists()


def _ended_before(moment: float) -> ColumnElement[bool]:
    """Late acks count for nothing: a row that outlived its ``message_sent`` would be reported twice."""
    moved = or_(_OWN.updated_at < moment, _in((State.DELIVERED, State.READ)))
    return or_(_OWN.sent_at < moment, and_(_OWN.sent_at.is_(None), moved))


def _outgoing(row: dict[str, Any]) -> Outgoing:
    return Outgoing(**(row | {"state": State(row["state"])}))


async def write(
    connection: AsyncConnection, items: Sequence[NewMessage | StateUpdate | Withdrawal], now: float
) -> tuple[int, ...]:
    """For each the new id, or how many messages it changed."""
    kept: list[int] = []
    may_come = await withdrawals.may_come(
        connection, [it for it in items if isinstance(it, Withdrawal)]
    )
    for bulk_id, group in itertools.groupby(items, key=_bulk_of):
        if bulk_id is None:
            kept += [await _write(connection, item, now, may_come=may_come) for item in group]
        else:
            drafts = [item for item in group if isinstance(item, NewMessage)]
            kept += await connection.run_sync(_keep_bulk, bulk_id, drafts, now)
    return tuple(kept)


def keep(connection: Connection, draft: NewMessage, now: float, *, is_last: bool = False) -> int:
    """Insert a message; its new id. ``is_last``: nothing may follow in this transaction, for it may be committed
    already."""
    _free_key(connection, draft)
    if is_last:
        commit_with_next(connection)
    done = connection.execute(_INSERT, _values(draft, now))
    assert done.inserted_primary_key  # noqa: S101 - an insert of one row has one
    return int(done.inserted_primary_key[0])


def _bulk_of(item: NewMessage | StateUpdate | Withdrawal) -> str | None:
    return item.bulk_id if isinstance(item, NewMessage) else None


async def _write(
    connection: AsyncConnection,
    item: NewMessage | StateUpdate | Withdrawal,
    now: float,
    *,
    may_come: bool,
) -> int:
    match item:
        case NewMessage():
            return await connection.run_sync(keep, item, now)
        case StateUpdate():
            return await _move(connection, item, now)
        case Withdrawal():
            gone = await withdrawals.withdraw(connection, item)
            return UNDECIDED if may_come and not gone else gone


def _keep_bulk(
    connection: Connection, bulk_id: str, drafts: Sequence[NewMessage], now: float
) -> list[int]:
    """Insert many messages at once: one by one, a thousand would hold up everybody for a second."""
    for draft in drafts:
        _free_key(connection, draft)
    connection.execute(_INSERT, [_values(draft, now) for draft in drafts])
    query = select(_OWN.message_id, _OWN.id).where(_OWN.bulk_id == bulk_id)
    ids = {row.message_id: row.id for row in connection.execute(query)}
    return [ids[draft.message_id] for draft in drafts]


def _free_key(connection: Connection, draft: NewMessage) -> None:
    if draft.key is not None and draft.seen is None:
        connection.execute(_FREE_KEY, {"session": draft.session_id, "used": draft.key})


def _values(draft: NewMessage, now: float) -> dict[str, Any]:
    return {
        "session_id": draft.session_id,
        "workspace_id": draft.workspace_id,
        "chat": draft.chat,
        "kind": draft.kind,
        "body": draft.body,
        "content": draft.content,
        "message_id": draft.message_id,
        "state": draft.state,
        "attempts": int(draft.state is State.SENDING),
        "idempotency_key": draft.key,
        "fingerprint": draft.fingerprint,
        "queued": draft.queued,
        "answered": False,
        "send_at": draft.send_at,
        "expires_at": draft.expires_at,
        "bulk_id": draft.bulk_id,
        "phone": draft.phone,
        "created_at": now,
        "updated_at": now,
    }


async def _move(connection: AsyncConnection, move: StateUpdate, now: float) -> int:
    number = {"number": move.id}
    anyway: dict[str, Any] = {"answered": True} if move.answered else {}
    if move.sent_at is not None:
        anyway["sent_at"] = move.sent_at
    if move.state is not None:
        values: dict[str, Any] = {"state": move.state, "updated_at": now, "error": None}
        if move.error is not None:
            values["error"] = storable(move.error, ERROR_LIMIT)
        if move.ack is not None:
            values["ack"] = move.ack
        if move.queued:
            values |= {"queued": True, "expires_at": None}
        if move.state in WITHOUT_CONTENT:
            values["content"] = None
        step = _QUEUE if move.queued else _STEPS[move.state]
        if move.phone is not None:
            values["phone"] = move.phone
            step = step.where(or_(_OWN.phone.is_(None), _OWN.phone == move.phone))
        if count := (await connection.execute(step, values | anyway | number)).rowcount:
            return count
    if anyway:
        await connection.execute(_SAME, anyway | number)
    return 0


async def claim(connection: AsyncConnection, of_sessions: Sequence[InboxRecord]) -> None:
    """What belongs to no number yet is the first one's that its session is paired with."""
    paired = [
        {"session": one.session_id, "number": phone}
        for one in of_sessions
        if one.events[0].event == "session_ready"
        if (phone := number_of(one.events[0].data.get("phone_number")))
    ]
    if paired:
        waits = and_(_OWN.state == State.ACCEPTED, _OWN.phone.is_(None))
        theirs = update(OUTBOX).where(_OWN.session_id == bindparam("session"), waits)
        await connection.execute(theirs.values(phone=bindparam("number")), paired)


async def apply_acks(connection: AsyncConnection, acks: Sequence[InboxRecord], now: float) -> None:
    """Move what they are about."""
    by_state: dict[State, list[dict[str, Any]]] = {}
    for one in acks:
        ack = one.events[0].data["ack_level"] - 1
        if state := by_ack(ack):
            about = {
                "session": one.session_id,
                "message": storable(one.events[0].data["message_id"]),
            }
            by_state.setdefault(state, []).append(about | {"new_ack": ack})
    for state, found in by_state.items():
        step = update(OUTBOX).where(
            _OWN.session_id == bindparam("session"),
            _OWN.message_id == bindparam("message"),
            _in(FROM[state]),
        )
        values: dict[str, Any] = {
            "state": state,
            "ack": bindparam("new_ack"),
            "error": None,
            "content": None,
            "updated_at": now,
        }
        await connection.execute(step.values(values), found)
