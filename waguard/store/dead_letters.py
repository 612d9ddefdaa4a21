"""Dead letters: rows of ``waguard_deliveries`` that nobody delivers any more, until a person replays them.

What waits for the number of a LID is one of them, and is replayed when its number is known.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.conditions import DeadLetters
from waguard.core.messages.people import LID
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import SESSION_EVENTS, Cause, DeadLetterState
from waguard.ports.webhooks import GLOBAL, DeadLetter, Queued, Replayed, UnidentifiedChat
from waguard.store import owned, unidentified
from waguard.store.database import Database
from waguard.store.deliveries import PENDING, REPLAYED, column
from waguard.store.engine import commit_with_next
from waguard.store.models import DELIVERIES

COUNTED_EVERY: Final = 60.0  # s; dead letters, where nothing says that there are others
REPLAYED_AT_ONCE: Final = 200
DEAD: Final = DELIVERIES.c.state == "dead"
_CAUSE: Final = func.coalesce(DELIVERIES.c.cause, "")
_OF_STATE: Final = {
    DeadLetterState.UNCERTAIN: _CAUSE == Cause.UNCERTAIN,
    DeadLetterState.UNIDENTIFIED: unidentified.WAITS,
    DeadLetterState.UNDECRYPTABLE: _CAUSE == Cause.UNDECRYPTABLE,
    DeadLetterState.STORED: _CAUSE == Cause.STORED,
    DeadLetterState.RESTORED: _CAUSE == Cause.RESTORED,
    DeadLetterState.DEAD: _CAUSE.not_in(
        [it.value for it in DeadLetterState if it is not DeadLetterState.DEAD]
    ),
}


class SqlDeadLetters:
    """A part of ``ports.messages.MessageStore``; ``turn`` is everybody's who writes messages."""

    def __init__(self, database: Database, turn: asyncio.Lock) -> None:
        self._database = database
        self._turn = turn
        self._counted: tuple[tuple[int, int | None], float, Queued] | None = None
        self._chosen: list[Replayed] = []

    async def dead(
        self,
        *,
        sessions: Collection[str] | None = None,
        state: DeadLetterState | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        listed = unidentified.is_listed(self._database.wall())
        query = _letters().where(listed).order_by(DELIVERIES.c.id.desc()).limit(limit)
        if sessions is not None:
            query = query.where(DELIVERIES.c.session_id.in_(sorted(sessions)))
        if state is not None:
            query = query.where(_OF_STATE[state])
        if before is not None:
            query = query.where(DELIVERIES.c.id < before)
        return await self._letters(query)

    async def queued(self) -> Queued:
        """Dead letters have to be read to be counted: that is done where their number or the newest of
        them has changed, and every ``COUNTED_EVERY`` s."""
        own, now = DELIVERIES.c, self._database.wall()
        async with self._database.reading() as (connection, _):
            waiting = select(own.endpoint, func.count(), func.min(own.id)).where(PENDING)
            rows = (await connection.execute(waiting.group_by(own.endpoint))).all()
            pending = {endpoint: count for endpoint, count, _ in rows}
            first = {endpoint: number for endpoint, _, number in rows}
            commit_with_next(connection)  # nearly always the last
            newest = await connection.execute(select(func.count(), func.max(own.id)).where(DEAD))
            mark = tuple(newest.one())
            if self._counted and self._counted[0] == mark and now < self._counted[1]:
                return replace(self._counted[2], pending=pending, first=first)
            found = Queued(
                pending=pending,
                first=first,
                dead=await _count_dead(connection) if mark[0] else (),
                unidentified=await unidentified.chats(connection, now) if mark[0] else (),
            )
        self._counted = mark, now + COUNTED_EVERY, found
        return found

    async def dead_letter(self, number: int) -> DeadLetter | None:
        query = _letters().where(DELIVERIES.c.id == number)
        return next(iter(await self._letters(query)), None)

    async def _letters(self, query: Select[Any]) -> list[DeadLetter]:
        async with self._database.reading() as (connection, _):
            found = await connection.execute(query)
            return [DeadLetter(**row._asdict()) for row in found]

    async def replay(self, first: int, last: int, receivers: Collection[str]) -> list[Replayed]:
        """Queue dead letters again. Each keeps its id, and so its place in its partition."""
        if first == last:
            await self._require_owner_of(first)
        # those a person chooses one by one
        some = true() if first == last else _OF_STATE[DeadLetterState.DEAD]
        return await self._replay(DEAD & DELIVERIES.c.id.between(first, last) & some, receivers)

    async def _replay(
        self, chosen: ColumnElement[bool], receivers: Collection[str]
    ) -> list[Replayed]:
        own = DELIVERIES.c
        async with self._turn, self._database.writing() as work:
            query = (
                select(own.id, own.endpoint, own.session_id, own.lane, own.event)
                .where(chosen, own.endpoint.in_(sorted(receivers)))
                .order_by(own.id)
            )
            query = owned.only(self._database.owning(), query, own.session_id)
            found = (await work.connection.execute(query.limit(REPLAYED_AT_ONCE))).all()
            lost = await work.lost(row.session_id for row in found)
            self._chosen = replayed = [
                Replayed(row.endpoint, row.session_id, _partition(row), row.id)
                for row in found
                if row.session_id not in lost
            ]
            for it in replayed:
                same = update(DELIVERIES).where(own.id == it.id)
                await work.connection.execute(same.values(self._again() | {"lane": it.partition}))
            return replayed

    def chosen(self) -> list[Replayed]:
        return self._chosen

    async def release_restored(
        self, receivers: Collection[str], *, pending: bool
    ) -> list[Replayed]:
        """See ``ports.messages.MessageStore``."""
        of_lids = DEAD & (_CAUSE == Cause.RESTORED) & DELIVERIES.c.lane.endswith(LID)
        async with self._turn, self._database.writing() as work:
            if work.owning is not None:
                whose = select(DELIVERIES.c.session_id).where(of_lids).distinct()
                found = set((await work.connection.scalars(whose)).all())
                ours = found - await work.lost(found)
                of_lids &= DELIVERIES.c.session_id.in_(sorted(ours))
            parked = unidentified.parked(self._database.wall())
            await work.connection.execute(update(DELIVERIES).where(of_lids).values(parked))
        some = DEAD | PENDING if pending else DEAD
        return await self._replay(some & (_CAUSE == Cause.RESTORED), receivers)

    def _again(self) -> dict[str, Any]:
        """What its row says then."""
        now, gone = (
            self._database.wall(),
            ("cause", "last_error", "died_at", "tried_since", "held_since"),
        )
        fresh = {"state": "pending", "attempts": 0, "next_at": now, "created_at": now}
        return fresh | dict.fromkeys(gone)

    async def discard(self, number: int) -> bool:
        async with self._turn, self._database.writing() as work:
            if work.owning is not None and (whose := await _session_of(work.connection, number)):
                await work.own(whose)
            gone = await work.connection.execute(
                delete(DELIVERIES).where(DEAD, DELIVERIES.c.id == number)
            )
            return bool(gone.rowcount)

    async def unidentified(self) -> list[UnidentifiedChat]:
        async with self._database.reading() as (connection, _):
            return await unidentified.chats(connection, self._database.wall())

    async def replay_unidentified(
        self, session_id: str, chat: str, receivers: Collection[str]
    ) -> list[Replayed]:
        owned.require(self._database.owning(), session_id)
        return await self._replay(unidentified.of_chat(session_id, chat), receivers)

    async def discard_unidentified(self, session_id: str, chat: str) -> int:
        waits = delete(DELIVERIES).where(unidentified.of_chat(session_id, chat))
        async with self._turn, self._database.writing() as work:
            await work.own(session_id)
            return (await work.connection.execute(waits)).rowcount

    async def _require_owner_of(self, number: int) -> None:
        if self._database.owning() is None:
            return
        async with self._database.reading() as (connection, _):
            whose = await _session_of(connection, number)
        if whose is not None:
            owned.require(self._database.owning(), whose)


async def _session_of(connection: AsyncConnection, number: int) -> str | None:
    query = select(DELIVERIES.c.session_id).where(DELIVERIES.c.id == number)
    found: str | None = await connection.scalar(query)
    return found


def _partition(row: Any) -> str:
    """A session's event outdates nothing, and is not outdated, once it was a dead letter."""
    return REPLAYED if row.event in SESSION_EVENTS else str(row.lane)


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
    for row in (await connection.execute(query.where(DEAD).group_by(own.endpoint, cause))).all():
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


def _letters() -> Select[Any]:
    own = DELIVERIES.c
    names = ("id", "endpoint", "event", "event_id", "session_id", "lane", "attempts", "cause")
    return select(
        *map(column, (*names, "created_at")),
        func.coalesce(own.last_error, "").label("error"),
        func.coalesce(own.died_at, own.created_at).label("died_at"),
        func.length(own.body).label("size"),
    ).where(DEAD)
