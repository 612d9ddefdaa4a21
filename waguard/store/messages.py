"""The inbox and the webhook queue over SQLAlchemy.

A webhook that is delivered is a row that is gone; one that is in flight is pending, so that after
a crash it is delivered again. Ids only grow, and one process writes: who has read up to an id
misses nothing by asking for what comes after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.conditions import DeadLetters
from waguard.core.messages.identity import People
from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.media import names_in
from waguard.core.messages.undecryptable import EXPIRED, Waiting
from waguard.core.webhooks.delivery import HELD, OLD_SERVICE, SESSION_EVENTS, Cause, DeadLetterState
from waguard.ports.messages import (
    GLOBAL,
    DeadLetter,
    DeliveryResult,
    Endpoint,
    Entry,
    Hold,
    NewMessage,
    Pending,
    Queued,
    StateUpdate,
    UnidentifiedChat,
    Withdrawal,
    Written,
)
from waguard.store import derived_events, naming, outbox, readers, undecryptable, unidentified
from waguard.store.derived_events import DerivedEvents
from waguard.store.layout import Layout
from waguard.store.models import (
    DELIVERIES,
    ENDPOINTS,
    INBOX,
    NUMBERS,
    READERS,
    SESSIONS,
    UNDECRYPTABLE,
)
from waguard.store.people import Acquaintances
from waguard.store.types import length_of, storable
from waguard.store.work import Work

READ_AT_ONCE: Final = 4_096  # bytes; a larger body is read when its turn comes
COUNTED_EVERY: Final = 60.0  # s; dead letters, where nothing says that there are others
REPLAYED_AT_ONCE: Final = 200  # dead letters
_KEYS_AT_ONCE: Final = 1_000
_ANNOUNCEMENTS: Final = (Kind.SENT.value, Kind.FAILED.value)
_BODIES_AT_ONCE: Final = 500
_WITH_FILES: Final = ("message_received", "message_sent")

Reading = Callable[[], AbstractAsyncContextManager[tuple[AsyncConnection, Layout]]]
Writing = Callable[[], AbstractAsyncContextManager[Work]]
AtOnce = Callable[[Callable[[Connection], int]], Awaitable[int]]

_READ: Final = (
    "id",
    "event",
    "event_id",
    "session_id",
    "lane",
    "attempts",
    "next_at",
    "created_at",
    "tried_since",
    "held_since",
)
_REPLAYED: Final = "replayed"
_PENDING: Final = DELIVERIES.c.state == "pending"
_DEAD: Final = DELIVERIES.c.state == "dead"
_CAUSE: Final = func.coalesce(DELIVERIES.c.cause, "")
_GRAVES: Final = {
    DeadLetterState.UNCERTAIN: _CAUSE == Cause.UNCERTAIN,
    DeadLetterState.UNIDENTIFIED: unidentified.WAITS,
    DeadLetterState.UNDECRYPTABLE: _CAUSE == Cause.UNDECRYPTABLE,
    DeadLetterState.DEAD: _CAUSE.not_in([Cause.UNCERTAIN, Cause.UNIDENTIFIED, Cause.UNDECRYPTABLE]),
}


class SqlMessages:
    """``ports.messages.MessageStore``; a part of ``SqlStore``. ``wall`` is unix time."""

    def __init__(
        self, reading: Reading, writing: Writing, at_once: AtOnce, wall: Callable[[], float]
    ) -> None:
        self._reading = reading
        self._writing = writing
        self._at_once = at_once
        self._wall = wall
        self._turn = asyncio.Lock()  # ids are given and committed in the same order
        self._people = Acquaintances()
        self._undecryptable = undecryptable.Remembered()
        self._counted: tuple[tuple[int, int | None], float, Queued] | None = None

    async def write(
        self,
        entries: Sequence[Entry],
        results: Sequence[DeliveryResult | Hold] = (),
        *,
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal] = (),
        for_global: Collection[str] = OLD_SERVICE,
    ) -> Written:
        """As the port says; a second writer on the same database costs one repetition."""
        try:
            return await self._write(entries, results, outgoing, for_global)
        except IntegrityError:  # somebody else stored one of them a moment ago: now it is seen
            return await self._write(entries, results, outgoing, for_global)

    async def _write(
        self,
        entries: Sequence[Entry],
        results: Sequence[DeliveryResult | Hold],
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal],
        for_global: Collection[str],
    ) -> Written:
        alone = len(outgoing) == 1 and not (entries or results)
        if alone and isinstance(draft := outgoing[0], NewMessage):
            return await self._keep(draft)
        sessions = {entry.received.session_id for entry in entries}
        try:
            async with self._turn, self._writing() as work:
                connection = work.connection
                kept = await outbox.write(connection, outgoing, self._wall())
                await _record_results(connection, results, self._wall())
                return await self._store(connection, entries, outgoing, kept, for_global)
        except BaseException:
            self._people.forget(sessions)
            self._undecryptable.forget(sessions)
            raise

    async def _store(
        self,
        connection: AsyncConnection,
        entries: Sequence[Entry],
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal],
        kept: tuple[int, ...],
        for_global: Collection[str],
    ) -> Written:
        """What was received, and what the application hears of both ways."""
        now = self._wall()
        sessions = dict.fromkeys(entry.received.session_id for entry in entries)
        people = {name: await self._people.of(connection, name) for name in sessions}
        learned = await self._people.learn(connection, [e.received for e in entries], now)
        identified = await unidentified.queue_known(connection, learned, people, now)
        given, waiting = await naming.named(connection, entries, people)
        reported = derived_events.reported_by(outgoing)
        known = await _known(connection, derived_events.keys(given, reported))
        also = DerivedEvents(connection, known, now)
        await also.read(given, reported)
        everything = [entry.received for entry in given]
        remembered = await self._undecryptable.remember(connection, everything, people, now)
        await self._undecryptable.resolve(connection, everything, people)
        news = tuple(_is_news(entry, known, also) or _name(entry) in remembered for entry in given)
        fresh = [
            entry
            for entry, is_news in zip(given, news, strict=True)
            if is_news and entry.received.kind is not Kind.UNDECRYPTABLE
        ]
        await readers.record(connection, [entry.received for entry in given])
        await outbox.apply_acks(connection, [e.received for e in fresh], now)
        await outbox.claim(connection, [e.received for e in fresh])
        made = await also.make(fresh, reported)
        if rows := [self._row(one) for one in (*made, *(e.received for e in fresh))]:
            await connection.execute(insert(INBOX), rows)
        queued = await self._queue(connection, also.in_order(fresh), for_global, waiting)
        return Written(
            news=news,
            endpoints=queued | identified,
            kept=kept,
            reported=tuple(made),
            received=tuple(entry.received for entry in given),
        )

    async def _keep(self, draft: NewMessage) -> Written:
        """The same for a single message, which is what a request waits for: in half the time."""
        async with self._turn:
            number = await self._at_once(
                lambda connection: outbox.keep_last(connection, draft, self._wall())
            )
        return Written(news=(), endpoints=frozenset(), kept=(number,))

    async def _queue(
        self,
        connection: AsyncConnection,
        entries: Sequence[Entry],
        for_global: Collection[str],
        waiting: Collection[str],
    ) -> frozenset[str]:
        """The endpoints that have more to deliver; ``waiting`` are the keys of what is of nobody
        yet."""
        if not entries:
            return frozenset()
        own = await _wishes(connection, {e.received.session_id for e in entries})
        newest = _newest_session_events(entries)
        for session_id in sorted(newest):
            await _leave_out_outdated(connection, session_id)
        queued = [
            row
            for number, entry in enumerate(entries)
            if number >= newest.get(entry.received.session_id, 0) or not _outdates(entry)
            for row in self._queued(entry, own, for_global, waiting)
        ]
        if queued:
            await connection.execute(insert(DELIVERIES), queued)
        return frozenset(row["endpoint"] for row in queued if row["state"] == "pending")

    def _row(self, received: InboxRecord) -> dict[str, Any]:
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
        self,
        entry: Entry,
        own: Mapping[str, Collection[str]],
        for_global: Collection[str],
        waiting: Collection[str],
    ) -> Iterable[dict[str, Any]]:
        session_id, now = entry.received.session_id, self._wall()
        pending = {"state": "pending", "cause": None, "last_error": None, "died_at": None}
        state = unidentified.parked(now) if entry.received.key in waiting else pending
        receivers = ((GLOBAL, for_global), (session_id, own.get(session_id, ())))
        for endpoint, wanted in receivers:
            for notice in entry.notices:
                if notice.event not in wanted:
                    continue
                yield {
                    "endpoint": endpoint,
                    "event_id": notice.event_id,
                    "event": notice.event,
                    "session_id": session_id,
                    "lane": storable(notice.partition, length_of(DELIVERIES.c.lane.type)),
                    "body": notice.body,
                    "attempts": 0,
                    "next_at": now,
                    "created_at": now,
                } | state

    async def pending(
        self,
        endpoint: str,
        *,
        after: int,
        limit: int,
        partition: tuple[str, str] | None = None,
        until: int | None = None,
    ) -> list[Pending]:
        own = DELIVERIES.c
        small = case((func.length(own.body) <= READ_AT_ONCE, own.body), else_=null())
        query = (
            select(*map(_column, _READ), small.label("body"))
            .where(_PENDING, own.endpoint == endpoint, own.id > after)
            .order_by(own.id)
            .limit(limit)
        )
        if partition is not None:
            query = query.where(own.session_id == partition[0], own.lane == partition[1])
        if until is not None:
            query = query.where(own.id <= until)
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

    # ---- what the inbox knows ----

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        # the index has all but the kind: so it is read for the chats, and of each the end. One GROUP BY
        # with the kind would have to read every row
        own, one = INBOX.c, INBOX.alias().c
        mine = (own.session_id == session_id) & own.chat.is_not(None)
        chats = select(own.chat).where(mine).group_by(own.chat).having(func.max(own.at) >= after)
        some = chats.subquery()
        last = (
            select(one.at)
            .where(one.session_id == session_id, one.chat == some.c.chat, one.at >= after)
            .where(one.kind == Kind.MESSAGE.value)
            .order_by(one.at.desc())
            .limit(1)
        )
        query = select(some.c.chat, last.scalar_subquery())
        async with self._reading() as (connection, _):
            found = await connection.execute(query)
            return {chat: float(at) for chat, at in found if at is not None}

    async def people(self, session_id: str) -> People:
        if (known := self._people.read(session_id)) is not None:
            return known
        async with self._turn, self._reading() as (connection, _):
            return await self._people.of(connection, session_id)

    # ---- messages that could not be decrypted ----

    async def undecryptable(self, session_id: str, *, limit: int) -> tuple[list[Waiting], int]:
        async with self._reading() as (connection, _):
            oldest = await undecryptable.waiting(connection, session_id, limit)
            if len(oldest) < limit:
                return oldest, len(oldest)
            return oldest, await undecryptable.count(connection, session_id)

    async def no_messages(self, session_id: str, message_ids: Collection[str]) -> None:
        try:
            async with self._turn, self._writing() as work:
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
        return await self._give_up(chosen, why, limit)

    async def _give_up(
        self, chosen: ColumnElement[bool], why: str, limit: int
    ) -> list[tuple[str, str]]:
        """Found before the writer is held, as most often there is none."""
        async with self._reading() as (connection, _):
            query = select(UNDECRYPTABLE.c.session_id).where(undecryptable.WAITS, chosen).limit(1)
            if await connection.scalar(query) is None:
                return []
        given_up: list[tuple[str, str]] = []
        try:
            async with self._turn, self._writing() as work:
                given_up = await self._undecryptable.give_up(
                    work.connection,
                    chosen,
                    why,
                    people=self._people,
                    now=self._wall(),
                    limit=limit,
                )
        except BaseException:
            self._undecryptable.forget_all()
            raise
        return given_up

    # ---- endpoints ----

    async def endpoints(self) -> list[Endpoint]:
        async with self._reading() as (connection, _):
            found = await connection.execute(select(ENDPOINTS).order_by(ENDPOINTS.c.session_id))
            return [_endpoint(row._asdict()) for row in found]

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        async with self._turn, self._writing() as work:
            new = {
                "url": endpoint.url,
                "secret": endpoint.secret,
                "hold": endpoint.hold,
                "events": list(endpoint.events),
                "updated_at": work.now,
            }
            same = ENDPOINTS.c.session_id == endpoint.session_id
            written = await work.connection.execute(update(ENDPOINTS).where(same).values(new))
            if not written.rowcount:
                new["session_id"] = endpoint.session_id
                await work.connection.execute(insert(ENDPOINTS).values(new))

    async def delete_endpoint(self, session_id: str) -> bool:
        async with self._turn, self._writing() as work:
            same = ENDPOINTS.c.session_id == session_id
            gone = await work.connection.execute(delete(ENDPOINTS).where(same))
            return bool(gone.rowcount)

    async def dead_letter_pending(
        self,
        why: str,
        cause: Cause,
        *,
        endpoint: str | None = None,
        session_id: str | None = None,
        before: float | None = None,
        limit: int,
    ) -> int:
        own = DELIVERIES.c
        chosen = _PENDING
        if session_id is not None:
            # what waits for somebody's number is of its old number too
            chosen = (_PENDING & (own.event == HELD)) | unidentified.WAITS
            chosen &= own.session_id == session_id
        if endpoint is not None:
            chosen &= own.endpoint == endpoint
        if before is not None:
            chosen &= own.created_at < before
        return await self._dead_letter(chosen, why, cause, limit)

    async def _dead_letter(
        self, chosen: ColumnElement[bool], why: str, cause: Cause, limit: int
    ) -> int:
        """Found before the writer is held: a few of many are found slowly."""
        own = DELIVERIES.c
        async with self._reading() as (connection, _):
            query = select(own.id).where(chosen).order_by(own.id).limit(limit)
            found = (await connection.scalars(query)).all()
        if found:
            values = {"state": "dead", "cause": cause, "last_error": why, "died_at": self._wall()}
            async with self._turn, self._writing() as work:
                same = update(DELIVERIES).where(own.id.in_(found), chosen)
                await work.connection.execute(same.values(values))
        return len(found)

    async def linked_phone(self, session_id: str) -> str | None:
        query = select(SESSIONS.c.linked_phone).where(SESSIONS.c.session_id == session_id)
        async with self._reading() as (connection, _):
            return await connection.scalar(query)

    async def link_phone(self, session_id: str, phone: str) -> None:
        same = update(SESSIONS).where(SESSIONS.c.session_id == session_id)
        async with self._writing() as work:
            await work.connection.execute(same.values(linked_phone=phone))

    # ---- dead letters ----

    async def dead(
        self,
        *,
        session_id: str | None = None,
        state: DeadLetterState | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        listed = unidentified.is_listed(self._wall())
        query = _letters().where(listed).order_by(DELIVERIES.c.id.desc()).limit(limit)
        if session_id is not None:
            query = query.where(DELIVERIES.c.session_id == session_id)
        if state is not None:
            query = query.where(_GRAVES[state])
        if before is not None:
            query = query.where(DELIVERIES.c.id < before)
        return await self._letters(query)

    async def queued(self) -> Queued:
        """Dead letters have to be read to be counted: that is done where their number or the newest of
        them has changed, and every ``COUNTED_EVERY`` s."""
        own, now = DELIVERIES.c, self._wall()
        async with self._reading() as (connection, _):
            waiting = select(own.endpoint, func.count()).where(_PENDING).group_by(own.endpoint)
            pending = dict(tuple(row) for row in await connection.execute(waiting))
            newest = await connection.execute(select(func.count(), func.max(own.id)).where(_DEAD))
            mark = tuple(newest.one())
            if self._counted and self._counted[0] == mark and now < self._counted[1]:
                return replace(self._counted[2], pending=pending)
            found = Queued(
                pending=pending,
                dead=await _count_dead(connection) if mark[0] else (),
                unidentified=await unidentified.chats(connection, now) if mark[0] else (),
            )
        self._counted = mark, now + COUNTED_EVERY, found
        return found

    async def dead_letter(self, number: int) -> DeadLetter | None:
        query = _letters().where(DELIVERIES.c.id == number)
        return next(iter(await self._letters(query)), None)

    async def _letters(self, query: Select[Any]) -> list[DeadLetter]:
        async with self._reading() as (connection, _):
            found = await connection.execute(query)
            return [DeadLetter(**row._asdict()) for row in found]

    async def replay(self, first: int, last: int, receivers: Collection[str]) -> list[str]:
        """It gets a new id, at the end of the queue: what was behind it has long overtaken it."""
        # those a person chooses one by one
        some = true() if first == last else _GRAVES[DeadLetterState.DEAD]
        return await self._replay(_DEAD & DELIVERIES.c.id.between(first, last) & some, receivers)

    async def _replay(self, chosen: ColumnElement[bool], receivers: Collection[str]) -> list[str]:
        own = DELIVERIES.c
        kept = ("endpoint", "event_id", "event", "session_id", "lane", "body")
        async with self._turn, self._writing() as work:
            query = (
                select(own.id, own.endpoint)
                .where(chosen, own.endpoint.in_(sorted(receivers)))
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

    # ---- chats of those whose number nobody knows ----

    async def unidentified(self) -> list[UnidentifiedChat]:
        async with self._reading() as (connection, _):
            return await unidentified.chats(connection, self._wall())

    async def replay_unidentified(
        self, session_id: str, chat: str, receivers: Collection[str]
    ) -> list[str]:
        return await self._replay(unidentified.of_chat(session_id, chat), receivers)

    async def discard_unidentified(self, session_id: str, chat: str) -> int:
        waits = delete(DELIVERIES).where(unidentified.of_chat(session_id, chat))
        async with self._turn, self._writing() as work:
            return (await work.connection.execute(waits)).rowcount

    async def tidy(
        self,
        *,
        inbox_before: float,
        reported_before: float,
        dead_before: float,
        undecryptable_before: float,
        limit: int,
    ) -> int:
        own = INBOX.c
        too_old = _PENDING & (DELIVERIES.c.created_at < inbox_before)
        count = await self._dead_letter(too_old, "it waited for too long", Cause.EXPIRED, limit)
        # those of sessions that nobody supervises; what is supervised was given up before
        count += len(await self.give_up(EXPIRED, before=undecryptable_before, limit=limit))
        may_go = or_(own.kind.not_in(_ANNOUNCEMENTS), own.stored_at < reported_before)
        may_go &= ~undecryptable.IS_REMEMBERED
        for column, old in (
            (own.id, and_(own.stored_at < inbox_before, may_go)),
            (
                UNDECRYPTABLE.c.id,
                ~undecryptable.WAITS & (UNDECRYPTABLE.c.since < undecryptable_before),
            ),
            (DELIVERIES.c.id, _DEAD & (DELIVERIES.c.died_at < dead_before)),
            (READERS.c.id, READERS.c.at < inbox_before),
            (NUMBERS.c.id, NUMBERS.c.asked_at < inbox_before),
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


async def _record_results(
    connection: AsyncConnection, results: Sequence[DeliveryResult | Hold], now: float
) -> None:
    """Only what is pending: an endpoint may be removed while its webhook is in flight, or a person
    reads it."""
    own = DELIVERIES.c
    delivered = [s.id for s in results if isinstance(s, DeliveryResult) and s.error is None]
    for start in range(0, len(delivered), _KEYS_AT_ONCE):
        some = delivered[start : start + _KEYS_AT_ONCE]
        await connection.execute(delete(DELIVERIES).where(own.id.in_(some), _PENDING))
    for result in results:
        if values := _changed(result, now):
            same = update(DELIVERIES).where(own.id == result.id, _PENDING)
            await connection.execute(same.values(values))


def _changed(result: DeliveryResult | Hold, now: float) -> dict[str, Any]:
    """What its row says then; {}: it was delivered."""
    match result:
        case Hold(since=since):
            return {"held_since": since, "tried_since": None}
        case DeliveryResult(error=None):
            return {}
        case DeliveryResult(next_at=None):
            more = {"state": "dead", "cause": result.cause, "died_at": now}
        case _:
            more = {"next_at": result.next_at, "tried_since": result.tried_since}
    error = storable(result.error or "", 1_000)
    return {"attempts": result.attempts, "last_error": error, "held_since": None, **more}


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


def _name(entry: Entry) -> tuple[str, str]:
    return entry.received.session_id, entry.received.key


def _is_news(entry: Entry, known: set[tuple[str, str]], also: DerivedEvents) -> bool:
    """Whether it is to be stored in the inbox."""
    received = entry.received
    if received.kind in {Kind.PEOPLE, Kind.UNDECRYPTABLE}:
        return False
    keys = (received.key, *received.unless)
    if also.is_own(received):
        return False
    if any((received.session_id, storable(key)) in known for key in keys):
        return False
    known.add((received.session_id, storable(received.key)))
    return True


async def _wishes(connection: AsyncConnection, sessions: set[str]) -> dict[str, Collection[str]]:
    """The events that sessions' own receivers get."""
    own = ENDPOINTS.c
    query = select(own.session_id, own.events).where(own.session_id.in_(sorted(sessions)))
    return {
        row.session_id: OLD_SERVICE if row.events is None else frozenset(row.events)
        for row in await connection.execute(query)
    }


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


async def _count_dead(connection: AsyncConnection) -> list[DeadLetters]:
    own = DELIVERIES.c
    cause = own.cause
    query = select(
        own.endpoint,
        cause,
        func.count(),
        func.count(own.session_id.distinct()),
        func.min(func.coalesce(own.died_at, own.created_at)),
        func.max(own.id),
    )
    found = []
    for row in (await connection.execute(query.where(_DEAD).group_by(own.endpoint, cause))).all():
        endpoint, cause_, count, sessions, since, newest = row
        error = await connection.scalar(select(own.last_error).where(own.id == newest))
        found.append(
            DeadLetters(
                session=None if endpoint == GLOBAL else endpoint,
                cause=cause_,
                count=count,
                sessions=sessions,
                since=since,
                newest=newest,
                error=error or "",
            )
        )
    return found


def _endpoint(row: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        session_id=row["session_id"],
        url=row["url"],
        secret=row["secret"],
        hold=row["hold"] is not False,
        events=OLD_SERVICE if row["events"] is None else tuple(row["events"]),
    )


def _column(name: str) -> ColumnElement[Any]:
    """Of a webhook; the column keeps its older name."""
    column = DELIVERIES.c[name]
    return column.label("partition") if name == "lane" else column


def _letters() -> Select[Any]:
    own = DELIVERIES.c
    names = ("id", "endpoint", "event", "event_id", "session_id", "lane", "attempts", "cause")
    return select(
        *map(_column, (*names, "created_at")),
        func.coalesce(own.last_error, "").label("error"),
        func.coalesce(own.died_at, own.created_at).label("died_at"),
        func.length(own.body).label("size"),
    ).where(_DEAD)
