"""The inbox and the webhook queue over SQLAlchemy.

A webhook that is delivered is a row that is gone; one that is in flight is pending, so that after
a crash it is delivered again. Ids only grow, and one process writes: who has read up to an id
misses nothing by asking for what comes after it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from sqlalchemy import (
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.policy.delivery import SESSION_EVENTS
from waguard.policy.inbox import Kind, Received
from waguard.policy.media import names_in
from waguard.ports import (
    GLOBAL,
    DeadLetter,
    Draft,
    Endpoint,
    Entry,
    Move,
    Pending,
    Retract,
    Settlement,
    Written,
)
from waguard.store import outbox, telling
from waguard.store.layout import Layout
from waguard.store.models import DELIVERIES, ENDPOINTS, INBOX
from waguard.store.telling import Telling
from waguard.store.types import length_of, storable
from waguard.store.work import Work

READ_AT_ONCE: Final = 4_096  # bytes; a larger body is read when its turn comes
REPLAYED_AT_ONCE: Final = 200  # dead letters
_KEYS_AT_ONCE: Final = 1_000
_TOLD: Final = (Kind.SENT.value, Kind.FAILED.value)
_BODIES_AT_ONCE: Final = 500
_WITH_FILES: Final = ("message_received", "message_sent")

Reading = Callable[[], AbstractAsyncContextManager[tuple[AsyncConnection, Layout]]]
Writing = Callable[[], AbstractAsyncContextManager[Work]]

_REPLAYED: Final = "replayed"
_PENDING: Final = DELIVERIES.c.state == "pending"
_DEAD: Final = DELIVERIES.c.state == "dead"


class SqlMessages:
    """``ports.MessageStore``; a part of ``SqlStore``. ``wall`` is unix time."""

    def __init__(self, reading: Reading, writing: Writing, wall: Callable[[], float]) -> None:
        self._reading = reading
        self._writing = writing
        self._wall = wall
        self._turn = asyncio.Lock()  # ids are given and committed in the same order

    async def write(
        self,
        entries: Sequence[Entry],
        settlements: Sequence[Settlement] = (),
        *,
        outgoing: Sequence[Draft | Move | Retract] = (),
        with_global: bool = True,
    ) -> Written:
        """As the port says; a second writer on the same database costs one repetition."""
        try:
            return await self._write(entries, settlements, outgoing, with_global=with_global)
        except IntegrityError:  # somebody else stored one of them a moment ago: now it is seen
            return await self._write(entries, settlements, outgoing, with_global=with_global)

    async def _write(
        self,
        entries: Sequence[Entry],
        settlements: Sequence[Settlement],
        outgoing: Sequence[Draft | Move | Retract],
        *,
        with_global: bool,
    ) -> Written:
        async with self._turn, self._writing() as work:
            kept = await outbox.write(work.connection, outgoing, self._wall())
            await _settle(work.connection, settlements, self._wall())
            told = telling.tells(outgoing)
            known = await _known(work.connection, telling.keys(entries, told))
            also = Telling(work.connection, known, self._wall())
            await also.look(entries, told)
            news = tuple(_is_news(entry, known, also) for entry in entries)
            fresh = [entry for entry, is_news in zip(entries, news, strict=True) if is_news]
            await outbox.take_acks(work.connection, [e.received for e in fresh], self._wall())
            await outbox.claim(work.connection, [e.received for e in fresh])
            made = await also.make(fresh, told)
            if rows := [self._row(one) for one in (*made, *(e.received for e in fresh))]:
                await work.connection.execute(insert(INBOX), rows)
            queued = await self._queue(
                work.connection, also.in_order(fresh), with_global=with_global
            )
            return Written(news=news, endpoints=queued, kept=kept, told=tuple(made))

    async def _queue(
        self, connection: AsyncConnection, entries: Sequence[Entry], *, with_global: bool
    ) -> frozenset[str]:
        """The endpoints that have more to deliver."""
        if not entries:
            return frozenset()
        own = await _with_own(connection, {e.received.session_id for e in entries})
        newest = _newest_session_events(entries)
        for session_id in sorted(newest):
            await _leave_out_outdated(connection, session_id)
        queued = [
            row
            for number, entry in enumerate(entries)
            if number >= newest.get(entry.received.session_id, 0) or not _outdates(entry)
            for row in self._queued(entry, own, with_global=with_global)
        ]
        if queued:
            await connection.execute(insert(DELIVERIES), queued)
        return frozenset(row["endpoint"] for row in queued)

    def _row(self, received: Received) -> dict[str, Any]:
        return {
            "session_id": received.session_id,
            "key": storable(received.key),
            "workspace_id": received.workspace_id,
            "kind": received.kind.value,
            "chat": received.chat and storable(received.chat, length_of(INBOX.c.chat.type)),
            "at": received.at,
            "stored_at": self._wall(),
            "backfilled": received.backfilled,
            "payload": received.payload(),
        }

    def _queued(
        self, entry: Entry, own: set[str], *, with_global: bool
    ) -> Iterable[dict[str, Any]]:
        session_id, now = entry.received.session_id, self._wall()
        everywhere = (GLOBAL,) if with_global else ()
        for endpoint in (*everywhere, *({session_id} & own)):
            for notice in entry.notices:
                yield {
                    "endpoint": endpoint,
                    "event_id": notice.event_id,
                    "event": notice.event,
                    "session_id": session_id,
                    "lane": storable(notice.lane, length_of(DELIVERIES.c.lane.type)),
                    "body": notice.body,
                    "state": "pending",
                    "attempts": 0,
                    "next_at": now,
                    "created_at": now,
                }

    async def pending(self, endpoint: str, *, after: int, limit: int) -> list[Pending]:
        own = DELIVERIES.c
        small = case((func.length(own.body) <= READ_AT_ONCE, own.body), else_=null())
        columns = (
            "id",
            "event",
            "event_id",
            "session_id",
            "lane",
            "attempts",
            "next_at",
            "created_at",
        )
        query = (
            select(*(own[name] for name in columns), small.label("body"))
            .where(_PENDING, own.endpoint == endpoint, own.id > after)
            .order_by(own.id)
            .limit(limit)
        )
        async with self._reading() as (connection, _):
            found = await connection.execute(query)
            return [Pending(**row._asdict()) for row in found]

    async def body(self, number: int) -> bytes | None:
        async with self._reading() as (connection, _):
            query = select(DELIVERIES.c.body).where(DELIVERIES.c.id == number)
            found: bytes | None = await connection.scalar(query)
            return found

    async def files_awaited(self) -> set[str]:
        names, last, own = set[str](), 0, DELIVERIES.c
        waiting = _PENDING & own.event.in_(_WITH_FILES)
        query = select(own.id, own.body).where(waiting).order_by(own.id).limit(_BODIES_AT_ONCE)
        while True:
            async with self._reading() as (connection, _):
                found = (await connection.execute(query.where(own.id > last))).all()
            if not found:
                return names
            for row in found:
                names |= names_in(row.body)
            last = found[-1].id

    # ---- endpoints ----

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        own = INBOX.c
        query = (
            select(own.chat, func.max(own.at))
            .where(own.session_id == session_id, own.at >= after)
            .where(own.kind == Kind.MESSAGE.value, own.chat.is_not(None))
            .group_by(own.chat)
        )
        async with self._reading() as (connection, _):
            return {chat: float(at) for chat, at in await connection.execute(query)}

    async def endpoints(self) -> list[Endpoint]:
        async with self._reading() as (connection, _):
            query = select(ENDPOINTS.c.session_id, ENDPOINTS.c.url, ENDPOINTS.c.secret)
            found = await connection.execute(query.order_by(ENDPOINTS.c.session_id))
            return [Endpoint(session_id=row[0], url=row[1], secret=row[2]) for row in found]

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        async with self._turn, self._writing() as work:
            new = {"url": endpoint.url, "secret": endpoint.secret, "updated_at": work.now}
            same = ENDPOINTS.c.session_id == endpoint.session_id
            written = await work.connection.execute(update(ENDPOINTS).where(same).values(new))
            if not written.rowcount:
                new["session_id"] = endpoint.session_id
                await work.connection.execute(insert(ENDPOINTS).values(new))

    async def delete_endpoint(self, session_id: str) -> bool:
        async with self._turn, self._writing() as work:
            same = ENDPOINTS.c.session_id == session_id
            gone = await work.connection.execute(delete(ENDPOINTS).where(same))
            await self._bury(work.connection, session_id, "its endpoint was removed")
            return bool(gone.rowcount)

    async def bury(self, endpoint: str, why: str) -> int:
        async with self._turn, self._writing() as work:
            return await self._bury(work.connection, endpoint, why)

    async def _bury(self, connection: AsyncConnection, endpoint: str, why: str) -> int:
        waiting = update(DELIVERIES).where(_PENDING, DELIVERIES.c.endpoint == endpoint)
        done = await connection.execute(
            waiting.values(state="dead", last_error=why, died_at=self._wall())
        )
        return done.rowcount

    # ---- dead letters ----

    async def dead(
        self, *, session_id: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[DeadLetter]:
        query = _letters().order_by(DELIVERIES.c.id.desc()).limit(limit)
        if session_id is not None:
            query = query.where(DELIVERIES.c.session_id == session_id)
        if before is not None:
            query = query.where(DELIVERIES.c.id < before)
        return await self._letters(query)

    async def dead_letter(self, number: int) -> DeadLetter | None:
        query = _letters().where(DELIVERIES.c.id == number)
        return next(iter(await self._letters(query)), None)

    async def _letters(self, query: Select[Any]) -> list[DeadLetter]:
        async with self._reading() as (connection, _):
            found = await connection.execute(query)
            return [DeadLetter(**row._asdict()) for row in found]

    async def replay(self, first: int, last: int) -> list[str]:
        """It gets a new id, at the end of the queue: what was behind it has long overtaken it."""
        own = DELIVERIES.c
        kept = ("endpoint", "event_id", "event", "session_id", "lane", "body")
        async with self._turn, self._writing() as work:
            query = (
                select(own.id, own.endpoint)
                .where(_DEAD, own.id.between(first, last))
                .order_by(own.id)
            )
            found = (await work.connection.execute(query.limit(REPLAYED_AT_ONCE))).all()
            now = self._wall()
            again = {"state": "pending", "attempts": 0, "next_at": now, "created_at": now}
            for row in found:  # one by one: the bodies of all together may be too large
                letter = select(*(own[name] for name in kept)).where(own.id == row.id)
                values = (await work.connection.execute(letter)).one()._asdict()
                await work.connection.execute(delete(DELIVERIES).where(own.id == row.id))
                if values["event"] in SESSION_EVENTS:
                    values["lane"] = _REPLAYED  # it neither outdates a newer one nor is outdated
                await work.connection.execute(insert(DELIVERIES).values(values | again))
            return [row.endpoint for row in found]

    async def discard(self, number: int) -> bool:
        async with self._turn, self._writing() as work:
            gone = await work.connection.execute(
                delete(DELIVERIES).where(_DEAD, DELIVERIES.c.id == number)
            )
            return bool(gone.rowcount)

    async def tidy(
        self, *, inbox_before: float, told_before: float, dead_before: float, limit: int
    ) -> int:
        count, own = 0, INBOX.c
        may_go = or_(own.kind.not_in(_TOLD), own.stored_at < told_before)
        for column, old in (
            (own.id, and_(own.stored_at < inbox_before, may_go)),
            (DELIVERIES.c.id, _DEAD & (DELIVERIES.c.died_at < dead_before)),
        ):
            async with self._reading() as (connection, _):
                found = (await connection.scalars(select(column).where(old).limit(limit))).all()
            if found:
                async with self._turn, self._writing() as work:
                    gone = await work.connection.execute(
                        delete(column.table).where(column.in_(found), old)
                    )
                count += gone.rowcount
        return count


async def _settle(
    connection: AsyncConnection, settlements: Sequence[Settlement], now: float
) -> None:
    own = DELIVERIES.c
    delivered = [s.id for s in settlements if s.error is None]
    for start in range(0, len(delivered), _KEYS_AT_ONCE):
        some = delivered[start : start + _KEYS_AT_ONCE]
        # not a dead one: its endpoint was removed while it was in flight, or a person looks at it
        await connection.execute(delete(DELIVERIES).where(own.id.in_(some), _PENDING))
    for settled in settlements:
        if settled.error is None:
            continue
        values: dict[str, Any] = {
            "attempts": settled.attempts,
            "last_error": storable(settled.error, 1_000),
        }
        if settled.next_at is not None:
            values["next_at"] = settled.next_at
        else:
            values |= {"state": "dead", "died_at": now}
        await connection.execute(
            update(DELIVERIES).where(own.id == settled.id, _PENDING).values(values)
        )


async def _known(
    connection: AsyncConnection, keys: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Those sessions' keys that are in the inbox already."""
    asked: dict[str, dict[str, None]] = {}
    for session_id, key in keys:
        asked.setdefault(session_id, {})[storable(key)] = None
    known: set[tuple[str, str]] = set()
    for session_id, some in asked.items():
        wanted = list(some)
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            query = select(INBOX.c.key).where(
                INBOX.c.session_id == session_id,
                INBOX.c.key.in_(wanted[start : start + _KEYS_AT_ONCE]),
            )
            known |= {(session_id, key) for key in (await connection.scalars(query)).all()}
    return known


def _is_news(entry: Entry, known: set[tuple[str, str]], also: Telling) -> bool:
    received = entry.received
    keys = (received.key, *received.unless)
    if also.is_own(received):
        return False
    if any((received.session_id, storable(key)) in known for key in keys):
        return False
    known.add((received.session_id, storable(received.key)))
    return True


async def _with_own(connection: AsyncConnection, sessions: set[str]) -> set[str]:
    query = select(ENDPOINTS.c.session_id).where(ENDPOINTS.c.session_id.in_(sorted(sessions)))
    return set((await connection.scalars(query)).all())


def _outdates(entry: Entry) -> bool:
    return any(notice.event in SESSION_EVENTS for notice in entry.notices)


def _newest_session_events(entries: Sequence[Entry]) -> dict[str, int]:
    """The place in ``entries`` of each session's newest session event."""
    return {e.received.session_id: place for place, e in enumerate(entries) if _outdates(e)}


async def _leave_out_outdated(connection: AsyncConnection, session_id: str) -> None:
    await connection.execute(
        delete(DELIVERIES).where(
            DELIVERIES.c.session_id == session_id,
            DELIVERIES.c.event.in_(SESSION_EVENTS),
            DELIVERIES.c.lane != _REPLAYED,
            _PENDING,
        )
    )


def _letters() -> Select[Any]:
    own = DELIVERIES.c
    names = ("id", "endpoint", "event", "event_id", "session_id", "attempts", "created_at")
    return select(
        *(own[name] for name in names),
        func.coalesce(own.last_error, "").label("error"),
        func.coalesce(own.died_at, own.created_at).label("died_at"),
        func.length(own.body).label("size"),
    ).where(_DEAD)
