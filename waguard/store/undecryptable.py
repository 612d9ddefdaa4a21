"""Messages that WhatsApp Web could not decrypt: what is remembered of them, and until when.

A row *waits* until its message is stored in the inbox, in that very transaction; then it is *readable*,
and as long as it is there the inbox keeps its message, so that the page may report it again and again.
One that turned out to be no message is *over*. One that was never readable is *given up*: a dead letter.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages import sent_events
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind, fitting, sent_key
from waguard.core.messages.message_ids import message_aliases
from waguard.core.messages.people import People
from waguard.core.messages.undecryptable import Waiting
from waguard.core.webhooks.delivery import Cause
from waguard.ports.webhooks import GLOBAL
from waguard.store.database import Database
from waguard.store.group import Group
from waguard.store.models import DELIVERIES, ENDPOINTS, INBOX, UNDECRYPTABLE
from waguard.store.people import Acquaintances
from waguard.store.types import length_of, storable

EVENT: Final = "message_error"
_OWN: Final = UNDECRYPTABLE.c
_MESSAGES: Final = frozenset({Kind.MESSAGE, Kind.SENT})
_IDS_AT_ONCE: Final = 500
_PEOPLE_AT_ONCE: Final = 20  # sessions, each with thousands of LIDs: the event loop waits meanwhile
WAITS: Final[ColumnElement[bool]] = _OWN.state == "waiting"
# an inbox entry that has to outlive its retention
IS_REMEMBERED: Final[ColumnElement[bool]] = exists().where(
    _OWN.session_id == INBOX.c.session_id, _OWN.inbox_key == INBOX.c.key
)


class Remembered:
    """The ids that wait, by session: each session's are read once. What a transaction changed is true
    only after its commit: one that fails has to be followed by ``forget``."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[str]] = {}

    def forget(self, sessions: Iterable[str]) -> None:
        """Read them again."""
        for session_id in sessions:
            self._waiting.pop(session_id, None)

    def forget_all(self) -> None:
        """Forget what is remembered of all sessions."""
        self._waiting.clear()

    async def remember(
        self,
        connection: AsyncConnection,
        received: Iterable[InboxRecord],
        people: Mapping[str, People],
        now: float,
    ) -> set[tuple[str, str]]:
        """Keep those that are news; their sessions and keys. A message that is remembered already, in
        whatever state, or that the inbox has, is none; under whatever id."""
        fresh: dict[tuple[str, str], dict[str, Any]] = {}
        for one in received:
            if one.ref is None:
                continue
            known = message_aliases(one.ref[1], people[one.session_id])
            if not await _is_known(connection, one.session_id, known):
                fresh.setdefault((one.session_id, one.key), _row(one, now))
        for (session_id, _), row in fresh.items():
            (await self._of(connection, session_id)).add(row["message_id"])
        if fresh:
            await connection.execute(insert(UNDECRYPTABLE), list(fresh.values()))
        return set(fresh)

    async def resolve(
        self,
        connection: AsyncConnection,
        received: Iterable[InboxRecord],
        people: Mapping[str, People],
    ) -> None:
        """These messages can be read, and are in the inbox: none of them is waited for any more."""
        for one in received:
            if one.kind not in _MESSAGES or one.ref is None:
                continue
            if not (waiting := await self._of(connection, one.session_id)):
                continue
            aliases = message_aliases(one.ref[1], people[one.session_id])
            names = set(map(storable, aliases))
            if some := names & waiting:
                same = (_OWN.session_id == one.session_id) & _OWN.message_id.in_(sorted(some))
                values = {"state": "readable", "inbox_key": storable(one.key)}
                await connection.execute(update(UNDECRYPTABLE).where(same, WAITS).values(values))
                waiting -= some

    async def end(
        self, connection: AsyncConnection, session_id: str, message_ids: Collection[str]
    ) -> None:
        """These are no messages."""
        waiting = await self._of(connection, session_id)
        some = sorted({storable(one) for one in message_ids} & waiting)
        same = (_OWN.session_id == session_id) & _OWN.message_id.in_(some)
        await connection.execute(update(UNDECRYPTABLE).where(same, WAITS).values(state="over"))
        waiting.difference_update(some)

    async def give_up(
        self,
        connection: AsyncConnection,
        chosen: ColumnElement[bool],
        why: str,
        *,
        people: Acquaintances,
        now: float,
        limit: int,
        alone: bool,
    ) -> list[tuple[str, str]]:
        """Make dead letters of the oldest; their sessions and ids. ``alone``: no other host writes."""
        query = select(UNDECRYPTABLE).where(WAITS, chosen).order_by(_OWN.since, _OWN.id)
        if not alone:  # the retention of another host may find the same
            query = query.with_for_update()
        rows = (await connection.execute(query.limit(limit))).all()
        if not rows:
            return []
        sessions = {row.session_id for row in rows}
        asked = select(ENDPOINTS.c.session_id).where(ENDPOINTS.c.session_id.in_(sorted(sessions)))
        with_own = set(await connection.scalars(asked))
        letters = [
            _letter(
                row._asdict(),
                why,
                people=await people.of(connection, row.session_id),
                endpoint=row.session_id if row.session_id in with_own else GLOBAL,
                now=now,
            )
            for row in rows
        ]
        await connection.execute(insert(DELIVERIES), letters)
        ids = [row.id for row in rows]
        same = update(UNDECRYPTABLE).where(_OWN.id.in_(ids))
        await connection.execute(same.values(state="given_up"))
        for row in rows:
            (await self._of(connection, row.session_id)).discard(row.message_id)
        return [(row.session_id, row.message_id) for row in rows]

    async def _of(self, connection: AsyncConnection, session_id: str) -> set[str]:
        if session_id not in self._waiting:
            query = select(_OWN.message_id).where(_OWN.session_id == session_id, WAITS)
            self._waiting[session_id] = set(await connection.scalars(query))
        return self._waiting[session_id]


async def waiting(connection: AsyncConnection, session_id: str, limit: int) -> list[Waiting]:
    """The oldest of a session that wait, the oldest first."""
    query = (
        select(_OWN.message_id, _OWN.since)
        .where(_OWN.session_id == session_id, WAITS)
        .order_by(_OWN.since, _OWN.id)
        .limit(limit)
    )
    return [Waiting(**row._asdict()) for row in await connection.execute(query)]


async def count(connection: AsyncConnection, session_id: str) -> int:
    """How many of a session wait."""
    query = select(func.count()).select_from(UNDECRYPTABLE)
    return await connection.scalar(query.where(_OWN.session_id == session_id, WAITS)) or 0


async def _is_known(connection: AsyncConnection, session_id: str, ids: Sequence[str]) -> bool:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        keys = {storable(key) for one in some for key in (fitting(one), sent_key(one))}
        for table, column, wanted in (
            (UNDECRYPTABLE, _OWN.message_id, {storable(one) for one in some}),
            (INBOX, INBOX.c.key, keys),
        ):
            query = select(column).where(
                table.c.session_id == session_id, column.in_(sorted(wanted))
            )
            if await connection.scalar(query.limit(1)) is not None:
                return True
    return False


def _row(one: InboxRecord, now: float) -> dict[str, Any]:
    assert one.ref  # noqa: S101 - each has an id
    return {
        "session_id": one.session_id,
        "workspace_id": one.workspace_id,
        "message_id": storable(one.ref[1], length_of(_OWN.message_id.type)),
        "chat": one.chat and storable(one.chat, length_of(_OWN.chat.type)),
        "at": one.at,
        "since": now,
        "state": "waiting",
        "inbox_key": None,
    }


def _letter(
    row: Mapping[str, Any], why: str, *, people: People, endpoint: str, now: float
) -> dict[str, Any]:
    """A webhook that says so, by the id and the number that the application knows."""
    message_id = message_aliases(row["message_id"], people)[0]
    data = {
        "message_id": message_id,
        "chat_id": people.number(row["chat"] or "") or None,
        "error": f"message: {why}",
        "raw": "",
        "timestamp": int(row["at"]),
    }
    received = InboxRecord(
        session_id=row["session_id"],
        workspace_id=row["workspace_id"],
        key=fitting(f"error:{Kind.UNDECRYPTABLE}:{message_id}"),
        kind=Kind.ERROR,
        at=row["at"],
        events=(EventPayload(EVENT, data),),
    )
    (notice,) = sent_events.notices(received)
    return {
        "endpoint": endpoint,
        "event_id": notice.event_id,
        "event": notice.event,
        "session_id": row["session_id"],
        "lane": storable(notice.partition, length_of(DELIVERIES.c.lane.type)),
        "body": notice.body,
        "state": "dead",
        "attempts": 0,
        "next_at": now,
        "last_error": why,
        "created_at": row["since"],
        "died_at": now,
        "cause": Cause.UNDECRYPTABLE,
    }


class SqlUndecryptables:
    """Fills ``ports.messages.Undecryptables``; ``turn`` is everybody's who writes messages."""

    def __init__(self, database: Database, turn: asyncio.Lock) -> None:
        self._database = database
        self._turn = turn
        self._people = Acquaintances()
        self._undecryptable = Remembered()
        self._read_people = Group(database, self._people_of, most=_PEOPLE_AT_ONCE)
        self._any_wait = Group(database, self._do_any_wait)

    async def people(self, session_id: str) -> People:
        if (known := self._people.read(session_id)) is not None:
            return known
        return await self._read_people.do(session_id)

    async def _people_of(self, sessions: Sequence[str]) -> list[People]:
        async with self._turn, self._database.reading() as (connection, _):
            found = await self._people.of_all(connection, sessions)
        return [found[session_id] for session_id in sessions]

    async def undecryptable(self, session_id: str, *, limit: int) -> tuple[list[Waiting], int]:
        if not await self._any_wait.do(session_id):  # so it is with nearly all, who ask at a start
            return [], 0
        async with self._database.reading() as (connection, _):
            oldest = await waiting(connection, session_id, limit)
            if len(oldest) < limit:
                return oldest, len(oldest)
            return oldest, await count(connection, session_id)

    async def _do_any_wait(self, sessions: Sequence[str]) -> list[bool]:
        query = select(_OWN.session_id).where(_OWN.session_id.in_(sessions), WAITS).distinct()
        async with self._database.reading() as (connection, _):
            some = set(await connection.scalars(query))
        return [session_id in some for session_id in sessions]

    async def no_messages(self, session_id: str, message_ids: Collection[str]) -> None:
        try:
            async with self._turn, self._database.writing() as work:
                await work.own(session_id)
                await self._undecryptable.end(work.connection, session_id, message_ids)
        except BaseException:
            self._undecryptable.forget([session_id])
            raise

    async def give_up(
        self,
        why: str,
        *,
        session_id: str | None = None,
        before: float | None = None,
        message_ids: Collection[str] | None = None,
        limit: int,
    ) -> list[tuple[str, str]]:
        own = UNDECRYPTABLE.c
        chosen: ColumnElement[bool] = true()
        if session_id is not None:
            chosen &= own.session_id == session_id
        if before is not None:
            chosen &= own.since <= before
        if message_ids is not None:
            chosen &= own.message_id.in_([storable(one) for one in message_ids])
        return await self._give_up(chosen, why, limit, session_id)

    async def _give_up(
        self, chosen: ColumnElement[bool], why: str, limit: int, session_id: str | None
    ) -> list[tuple[str, str]]:
        """Found before the writer is held, as most often there is none."""
        async with self._database.reading() as (connection, _):
            query = select(UNDECRYPTABLE.c.session_id).where(WAITS, chosen).limit(1)
            if await connection.scalar(query) is None:
                return []
        given_up: list[tuple[str, str]] = []
        try:
            async with self._turn, self._database.writing() as work:
                if session_id is not None:
                    await work.own(session_id)
                given_up = await self._undecryptable.give_up(
                    work.connection,
                    chosen,
                    why,
                    people=self._people,
                    now=self._database.wall(),
                    limit=limit,
                    alone=work.owning is None,
                )
        except BaseException:
            self._undecryptable.forget_all()
            raise
        if owning := self._database.owning():  # memory is for those that nobody else writes
            others = {session for session, _ in given_up} - owning.epochs.keys()
            self._people.forget(others)
            self._undecryptable.forget(others)
        return given_up
