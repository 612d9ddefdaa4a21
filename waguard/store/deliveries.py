"""The webhook queue: rows of ``waguard_deliveries`` that are pending.

A webhook that is delivered is a row that is gone; one that is in flight is pending, so that after
a crash it is delivered again.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages import sent_events
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.received_media import handles_in, names_in
from waguard.core.restored import WHY, doubt
from waguard.core.webhooks.delivery import HELD, OWN_SEND, SESSION_EVENTS, Cause, Doubt
from waguard.core.webhooks.pending import DeliveryResult, Hold, Pending
from waguard.ports.webhooks import GLOBAL
from waguard.store import endpoints, owned, unidentified
from waguard.store.database import Database
from waguard.store.group import Group
from waguard.store.models import DELIVERIES, FILES, SESSIONS
from waguard.store.types import length_of, storable

READ_AT_ONCE: Final = 4_096  # bytes; a larger body is read when its turn comes
REPLAYED: Final = "replayed"
"""The partition of a session's event that was a dead letter: it neither outdates a newer one nor is
outdated."""
PENDING: Final = DELIVERIES.c.state == "pending"
_IDS_AT_ONCE: Final = 1_000
_BODIES_AT_ONCE: Final = 500
_WITH_FILES: Final = ("message_received", "message_sent")
_TO_RELEASE: Final = (DELIVERIES.c.state == "dead") & (DELIVERIES.c.cause == Cause.RESTORED)
_STILL_WAITS: Final = PENDING | unidentified.WAITS | _TO_RELEASE
"""What is pending, waits for a number, or for a person."""
_KEPT_LATER: Final = select(FILES.c.sha256).where(FILES.c.sha256.is_not(None))
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
    "cause",
)


class SqlDeliveries:
    """A part of ``ports.messages.MessageStore``; ``turn`` is everybody's who writes messages."""

    def __init__(self, database: Database, turn: asyncio.Lock) -> None:
        self._database = database
        self._turn = turn
        self._linked_phones = Group(database, self._read_linked_phones)

    async def pending(
        self,
        endpoint: str,
        *,
        after: int,
        limit: int,
        partition: tuple[str, str] | None = None,
        until: int | None = None,
        sessions: Collection[str] | None = None,
    ) -> tuple[list[Pending], dict[int, bytes]]:
        own = DELIVERIES.c
        query = _NEXT.where(own.endpoint == endpoint, own.id > after).limit(limit)
        if partition is not None:
            query = query.where(own.session_id == partition[0], own.lane == partition[1])
        if sessions is None:
            query = owned.only(self._database.owning(), query, own.session_id)
        else:
            query = query.where(own.session_id.in_(sorted(sessions)))
        if until is not None:
            query = query.where(own.id <= until)
        async with self._database.reading() as (connection, _):
            rows = [row._asdict() for row in await connection.execute(query)]
        bodies = {row["id"]: row.pop("body") for row in rows}
        small = {number: body for number, body in bodies.items() if body is not None}
        return [Pending(**row) for row in rows], small

    async def body(self, number: int, event_id: str, *, pending: bool = True) -> bytes | None:
        own = DELIVERIES.c
        async with self._database.reading() as (connection, _):
            query = select(own.body).where(own.id == number, own.event_id == event_id)
            query = query.where(PENDING) if pending else query
            found: bytes | None = await connection.scalar(query)
            return found

    async def files_awaited(self) -> set[str]:
        names, last, own = set[str](), 0, DELIVERIES.c
        waiting = _STILL_WAITS & own.event.in_(_WITH_FILES)
        query = select(own.id, own.body).where(waiting).order_by(own.id).limit(_BODIES_AT_ONCE)
        while True:
            async with self._database.reading() as (connection, _):
                found = (await connection.execute(query.where(own.id > last))).all()
                if not found:
                    return names
                came_later = set[str]().union(*(handles_in(row.body) for row in found))
                kept = _KEPT_LATER.where(FILES.c.handle.in_(came_later))
                names.update(await connection.scalars(kept))
            names.update(*(names_in(row.body) for row in found))
            last = found[-1].id

    async def dead_letter_pending(
        self,
        why: str,
        cause: Cause,
        *,
        endpoint: str | None = None,
        session_id: str | None = None,
        before: float | None = None,
        limit: int,
    ) -> Sequence[int]:
        own = DELIVERIES.c
        chosen = PENDING
        if endpoint is not None:
            # what waits for somebody's number would be queued for the next receiver of that name
            chosen = (PENDING | unidentified.WAITS) & (own.endpoint == endpoint)
        if session_id is not None:
            owned.require(self._database.owning(), session_id)
            # what waits for somebody's number is of its old number too
            chosen = (PENDING & (own.event == HELD)) | unidentified.WAITS
            chosen &= own.session_id == session_id
        if before is not None:
            chosen &= own.created_at < before
        return await self.give_up_pending(chosen, why, cause, limit)

    async def give_up_pending(
        self,
        chosen: ColumnElement[bool],
        why: str,
        cause: Cause,
        limit: int,
        *,
        of_all_hosts: bool = False,
    ) -> Sequence[int]:
        """Their ids. Found before the writer is held: a few of many are found slowly."""
        own = DELIVERIES.c
        query = select(own.id, own.session_id).where(chosen).order_by(own.id).limit(limit)
        if not of_all_hosts:
            query = owned.only(self._database.owning(), query, own.session_id)
        async with self._database.reading() as (connection, _):
            sessions = {row.id: row.session_id for row in await connection.execute(query)}
        found = list(sessions)
        if found:
            values = {
                "state": "dead",
                "cause": cause,
                "last_error": why,
                "died_at": self._database.wall(),
            }
            async with self._turn, self._database.writing() as work:
                if not of_all_hosts and (lost := await work.lost(sessions.values())):
                    found = [number for number in found if sessions[number] not in lost]
                same = update(DELIVERIES).where(own.id.in_(found), chosen)
                await work.connection.execute(same.values(values))
        return found

    async def linked_phone(self, session_id: str) -> str | None:
        return (await self._linked_phones.do(session_id))[0]

    async def _read_linked_phones(self, sessions: Sequence[str]) -> list[tuple[str | None]]:
        own = SESSIONS.c
        query = select(own.session_id, own.linked_phone).where(own.session_id.in_(sessions))
        async with self._database.reading() as (connection, _):
            found = {row.session_id: row.linked_phone for row in await connection.execute(query)}
        return [(found.get(session_id),) for session_id in sessions]

    async def link_phone(self, session_id: str, phone: str) -> None:
        same = update(SESSIONS).where(SESSIONS.c.session_id == session_id)
        async with self._database.writing() as work:
            await work.own(session_id)
            await work.connection.execute(same.values(linked_phone=phone))


async def record_results(
    connection: AsyncConnection, results: Sequence[DeliveryResult | Hold], now: float
) -> None:
    """Only what is pending: an endpoint may be removed while its webhook is in flight, or a person
    reads it. Only of the same event: a database that was put back to an older copy gives ids anew."""
    own = DELIVERIES.c
    delivered = [s for s in results if isinstance(s, DeliveryResult) and s.error is None]
    for start in range(0, len(delivered), _IDS_AT_ONCE):
        some = delivered[start : start + _IDS_AT_ONCE]
        named = {"ids": [one.id for one in some], "both": [(one.id, one.event_id) for one in some]}
        await connection.execute(_DELIVERED, named)
    for result in results:
        if values := _changed(result, now):
            same = update(DELIVERIES).where(
                own.id == result.id, own.event_id == result.event_id, PENDING
            )
            await connection.execute(same.values(values))


def _changed(result: DeliveryResult | Hold, now: float) -> dict[str, Any]:
    """What its row says then; {}: it was delivered."""
    match result:
        case Hold(since=since):
            return {"held_since": since, "tried_since": None}
        case DeliveryResult(error=None):
            return {}
        case DeliveryResult(next_at=None):
            more = {"state": "dead", "died_at": now}
        case _:
            more = {"next_at": result.next_at, "tried_since": result.tried_since}
    error = storable(result.error or "", 1_000)
    same = {"attempts": result.attempts, "last_error": error, "cause": result.cause}
    return {**same, "held_since": None, **more}


async def queue(
    connection: AsyncConnection,
    received: Sequence[InboxRecord],
    for_global: Collection[str],
    waiting: Collection[str],
    now: float,
) -> frozenset[str]:
    """The endpoints that have more to deliver; ``waiting`` are the keys of what is of nobody yet."""
    if not received:
        return frozenset()
    own = await endpoints.wanted_events(connection, {one.session_id for one in received})
    session_events = [
        (place, one.session_id)
        for place, one in enumerate(received)
        if any(event.event in SESSION_EVENTS for event in one.events)
    ]
    newest = {session_id: place for place, session_id in session_events}
    outdated = {place for place, session_id in session_events if place < newest[session_id]}
    if newest:
        await _leave_out_outdated(connection, sorted(newest))
    queued = [
        row
        for place, one in enumerate(received)
        if place not in outdated
        for row in _queued(one, own, for_global, waiting, now)
    ]
    if queued:
        await connection.execute(insert(DELIVERIES), queued)
    return frozenset(row["endpoint"] for row in queued if row["state"] == "pending")


def _queued(
    one: InboxRecord,
    own: Mapping[str, Collection[str]],
    for_global: Collection[str],
    waiting: Collection[str],
    now: float,
) -> Iterable[dict[str, Any]]:
    """The record's webhooks, encoded once for all receivers."""
    pending = {"state": "pending", "cause": None, "last_error": None, "died_at": None}
    state = unidentified.parked(now) if one.key in waiting else pending
    receivers = ((GLOBAL, for_global), (one.session_id, own.get(one.session_id, ())))
    notices = sent_events.notices(one)
    for endpoint, wanted in receivers:
        for notice in notices:
            if notice.event not in wanted:
                continue
            yield {
                "endpoint": endpoint,
                "event_id": notice.event_id,
                "event": notice.event,
                "session_id": one.session_id,
                "lane": storable(notice.partition, length_of(DELIVERIES.c.lane.type)),
                "body": notice.body,
                "attempts": 0,
                "next_at": now + (OWN_SEND if one.direct else 0.0),
                "created_at": now,
            } | _doubtful(one.repeated, endpoint, notice.event, state, now)


def _doubtful(
    repeated: Doubt, endpoint: str, event: str, state: dict[str, Any], now: float
) -> dict[str, Any]:
    """``state``, but for what the daemon before a restore may have delivered."""
    if repeated is Doubt.NONE:
        return state
    match doubt(event, uses_lookup=repeated is Doubt.LOOKUP and endpoint == GLOBAL):
        case Doubt.NONE:
            return state
        case Doubt.LOOKUP:
            return state if state["state"] == "dead" else state | {"cause": Cause.RESTORED}
        case Doubt.WAIT:
            again = {"cause": Cause.RESTORED, "last_error": WHY, "died_at": now}
            return state | {"state": "dead"} | again


async def _leave_out_outdated(connection: AsyncConnection, sessions: Sequence[str]) -> None:
    await connection.execute(
        delete(DELIVERIES).where(
            DELIVERIES.c.session_id.in_(sessions),
            DELIVERIES.c.event.in_(SESSION_EVENTS),
            DELIVERIES.c.lane != REPLAYED,
            PENDING,
        )
    )


def column(name: str) -> ColumnElement[Any]:
    """The column of a webhook; that of its partition keeps its older name."""
    found = DELIVERIES.c[name]
    return found.label("partition") if name == "lane" else found


# built once: that takes longer than SQLite needs to answer
_SMALL: Final = case(
    (func.length(DELIVERIES.c.body) <= READ_AT_ONCE, DELIVERIES.c.body), else_=null()
)
_NEXT: Final = (
    select(*map(column, _READ), _SMALL.label("body")).where(PENDING).order_by(DELIVERIES.c.id)
)
_DELIVERED: Final = delete(DELIVERIES).where(
    DELIVERIES.c.id.in_(bindparam("ids", expanding=True)),  # MariaDB uses no index for pairs
    tuple_(DELIVERIES.c.id, DELIVERIES.c.event_id).in_(bindparam("both", expanding=True)),
    PENDING,
)
