"""Messages in the database: what one transaction writes, and what is deleted for its age.

Ids only grow, and one process writes what is about a session: who has read up to an id misses nothing of those
sessions by asking for what comes after it, while it owns them.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, and_, delete, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.send_states import State
from waguard.core.messages.undecryptable import EXPIRED
from waguard.core.webhooks.delivery import OLD_SERVICE, TOO_LONG, Cause
from waguard.core.webhooks.pending import DeliveryResult, Hold
from waguard.ports.messages import Written
from waguard.ports.outbox import NewMessage, StateUpdate, Withdrawal
from waguard.store import (
    deferred_files,
    deliveries,
    derived_events,
    inbox,
    naming,
    outbox,
    undecryptable,
    unidentified,
    unread_sends,
)
from waguard.store import group_readers as readers
from waguard.store.database import Database
from waguard.store.dead_letters import DEAD, SqlDeadLetters
from waguard.store.deferred_files import SqlDeferredFiles
from waguard.store.deliveries import PENDING, SqlDeliveries
from waguard.store.derived_events import DerivedEvents
from waguard.store.endpoints import SqlEndpoints
from waguard.store.group import Group
from waguard.store.models import DELIVERIES, FILES, INBOX, NUMBERS, READERS, UNDECRYPTABLE
from waguard.store.newest import NewestRow
from waguard.store.undecryptable import SqlUndecryptables
from waguard.store.unheard import Unheard
from waguard.store.work import Work

if TYPE_CHECKING:
    from waguard.store.epochs import Allowed

_ANNOUNCEMENTS: Final = (Kind.SENT.value, Kind.FAILED.value)


class SqlMessages(SqlDeliveries, SqlDeadLetters, SqlEndpoints, SqlUndecryptables, SqlDeferredFiles):
    """``ports.messages.MessageStore``; a part of ``SqlStore``."""

    def __init__(self, database: Database) -> None:
        turn = asyncio.Lock()  # ids are given and committed in the same order
        SqlDeliveries.__init__(self, database, turn)
        SqlDeadLetters.__init__(self, database, turn)
        SqlUndecryptables.__init__(self, database, turn)
        self._newest = Group(database, self._read_newest)
        self._unread = Group(database, self._read_unread)
        self._unheard = Unheard()
        self._last = NewestRow()

    async def write(
        self,
        received: Sequence[InboxRecord],
        results: Sequence[DeliveryResult | Hold] = (),
        *,
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal] = (),
        for_global: Collection[str] = OLD_SERVICE,
    ) -> Written:
        """As the port says; a second writer on the same database costs one repetition."""
        try:
            return await self._write(received, results, outgoing, for_global)
        except IntegrityError:  # somebody else stored one of them a moment ago: now it is seen
            return await self._write(received, results, outgoing, for_global)

    async def _write(
        self,
        received: Sequence[InboxRecord],
        results: Sequence[DeliveryResult | Hold],
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal],
        for_global: Collection[str],
    ) -> Written:
        alone = len(outgoing) == 1 and not (received or results)
        if alone and isinstance(draft := outgoing[0], NewMessage):
            async with self._turn:  # a request waits for it: in half the time
                number = await self._database.write_at_once(partial(self._keep, draft))
            return Written(news=(), endpoints=frozenset(), kept=(number,))
        sessions = {one.session_id for one in received}
        written: Written | None = None
        try:
            async with self._turn, self._database.writing() as work:
                connection = work.connection
                allowed = await _allowed(work, received, results, outgoing)
                if allowed is not None:
                    some = allowed.batch
                    received, results, outgoing = some.received, some.results, some.outgoing
                kept = await outbox.write(connection, outgoing, self._database.wall())
                await deliveries.record_results(connection, results, self._database.wall())
                written = await self._store(connection, received, outgoing, kept, for_global)
        except BaseException:
            self.forget(sessions)
            if written is not None:  # only the commit's answer is missing
                self._unheard.add(written)
            raise
        self._unheard.remove(written)
        return written if allowed is None else allowed.said(written)

    def _keep(self, draft: NewMessage, connection: Connection) -> int | None:
        owning = self._database.owning()
        if owning is not None:
            from waguard.store import epochs  # noqa: PLC0415 - one host alone has none

            if not epochs.allowed(connection, owning, epochs.Batch((), (), (draft,))).kept[0]:
                self._database.refusals.count += 1
                return None
        return outbox.keep(connection, draft, self._database.wall(), is_last=True)

    def forget(self, sessions: Collection[str]) -> None:
        self._people.forget(sessions)
        self._undecryptable.forget(sessions)

    async def _store(
        self,
        connection: AsyncConnection,
        received: Sequence[InboxRecord],
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal],
        kept: tuple[int, ...],
        for_global: Collection[str],
    ) -> Written:
        """What was received, and what the application hears of both ways."""
        now = self._database.wall()
        sessions = dict.fromkeys(one.session_id for one in received)
        people = await self._people.of_all(connection, sessions)
        acquainted = [one for one in received if one.kind is Kind.PEOPLE]
        learned = await self._people.learn(connection, acquainted, now)
        identified = await unidentified.queue_known(connection, learned, people, now)
        given, waiting = await naming.named(connection, received, people)
        reported = derived_events.reported_by(outgoing)
        known = await inbox.known_keys(connection, derived_events.keys(given, reported))
        unheard = self._unheard.reported(known)
        direct = derived_events.direct_in(outgoing)
        also = DerivedEvents(connection, known, direct, now)
        await also.read(given, reported)
        unread = [one for one in given if one.kind is Kind.UNDECRYPTABLE]
        remembered = await self._undecryptable.remember(connection, unread, people, now)
        await self._undecryptable.resolve(connection, given, people)
        is_fresh = [also.is_news(one) for one in given]
        fresh = list(compress(given, is_fresh))
        news = tuple(
            it or (one.session_id, one.key) in remembered or self._unheard.is_news(one)
            for one, it in zip(given, is_fresh, strict=True)
        )
        await readers.record(connection, [one for one in given if one.kind is Kind.ACK])
        await outbox.apply_acks(connection, [one for one in fresh if one.kind is Kind.ACK], now)
        await outbox.claim(connection, [one for one in fresh if one.kind is Kind.SESSION])
        made = await also.make(fresh, reported)
        if rows := [inbox.row(one, now) for one in (*made, *fresh)]:
            await connection.execute(insert(INBOX), rows)
        await deferred_files.remember(connection, [one for one in fresh if one.deferred], now)
        queued = await deliveries.queue(connection, also.in_order(fresh), for_global, waiting, now)
        return Written(
            news=news,
            endpoints=queued | identified,
            kept=kept,
            reported=(*unheard, *made),
            received=tuple(given),
        )

    async def try_outbox(self) -> None:
        async with self._turn, self._database.writing() as work:
            await work.connection.execute(outbox.KEEPS_NONE)

    async def rewound(self) -> bool:
        if self._database.owning() is not None:
            self._last.may_be_tidied_elsewhere(self._database.wall())
        async with self._database.reading() as (connection, _):
            found = await self._last.is_gone(connection)
        if found:
            self._people.forget_all()
            self._undecryptable.forget_all()
            self._counted = None
        return found

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        return await self._newest.do((session_id, after))

    async def unread(self, session_id: str, *, after: float) -> Mapping[str, State]:
        return await self._unread.do((session_id, after))

    async def _read_unread(self, asked: Sequence[tuple[str, float]]) -> list[Mapping[str, State]]:
        sessions = {session_id for session_id, _ in asked}
        async with self._database.reading() as (connection, _):
            after = min(at for _, at in asked)
            found = await unread_sends.by_session(connection, sessions, after)
        return [found.get(session_id, {}) for session_id, _ in asked]

    async def has_file(self, name: str, sessions: Collection[str]) -> bool:
        async with self._database.reading() as (connection, _):
            return await inbox.has_file(connection, name, sessions)

    async def _read_newest(self, asked: Sequence[tuple[str, float]]) -> list[Mapping[str, float]]:
        """Each may ask from another moment on."""
        sessions = {session_id for session_id, _ in asked}
        async with self._database.reading() as (connection, _):
            found = await inbox.newest_by_chat(connection, sessions, min(at for _, at in asked))
        return [
            {chat: at for chat, at in found.get(session_id, {}).items() if at >= after}
            for session_id, after in asked
        ]

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
        self._last.tidied_before = max(self._last.tidied_before, inbox_before)
        too_old = PENDING & (DELIVERIES.c.created_at < inbox_before)
        given_up = await self.give_up_pending(
            too_old, TOO_LONG, Cause.EXPIRED, limit, of_all_hosts=True
        )
        count = len(given_up)
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
            (DELIVERIES.c.id, DEAD & (DELIVERIES.c.died_at < dead_before)),
            (READERS.c.id, READERS.c.at < inbox_before),
            (NUMBERS.c.id, NUMBERS.c.asked_at < inbox_before),
            (FILES.c.id, FILES.c.at < inbox_before),
        ):
            async with self._database.reading() as (connection, _):
                found = (await connection.scalars(select(column).where(old).limit(limit))).all()
            if found:
                async with self._turn, self._database.writing() as work:
                    gone = await work.connection.execute(
                        delete(column.table).where(column.in_(found), old)
                    )
                count += gone.rowcount
        return count


async def _allowed(
    work: Work,
    received: Sequence[InboxRecord],
    results: Sequence[DeliveryResult | Hold],
    outgoing: Sequence[NewMessage | StateUpdate | Withdrawal],
) -> "Allowed | None":
    """None: there is no cluster, and all of it is."""
    if work.owning is None:
        return None
    from waguard.store import epochs  # noqa: PLC0415 - one host alone has none

    batch = epochs.Batch(received, results, outgoing)
    allowed = await work.connection.run_sync(epochs.allowed, work.owning, batch)
    work.refusals.count += allowed.refused
    return allowed
