"""The one writer of inbox, outbox and webhook queue: everything that waits is one transaction.

Nothing is acknowledged before it is stored: while the database is locked or gone the workers keep
what they reported. A file is on the disk before the message that it came with; one that the disk
refuses is fetched later.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, Self

from loguru import logger

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.people import People
from waguard.core.metrics.tally import Tally
from waguard.core.webhooks.pending import DeliveryResult, Hold
from waguard.messaging.announcer import Announcer, Publish
from waguard.messaging.database_backlog import Backlog, JournalLimits
from waguard.messaging.file_stage import FileStage, MediaWriter
from waguard.messaging.group_commit import GroupCommit
from waguard.messaging.left_events import LeftEvents
from waguard.messaging.records import fetched_later, size_of, without_file
from waguard.messaging.refused_sends import RefusedSends
from waguard.messaging.write_queue import Keep, Put, Save, WriteQueue
from waguard.ports.inbox import MediaStore, Stored
from waguard.ports.messages import MessageStore
from waguard.ports.outbox import NewMessage, StateUpdate, Withdrawal

RELEASE: Final = 5.0  # s


class Journal:
    """Fills ``ports.inbox.Inbox``; an async context manager. ``for_global``: the events that webhook.url
    gets; ``base``: of the addresses of files; ``publish`` gets the events of what is stored;
    ``barred``: whether nothing may be written now; ``marked``: a record with what is known about it here."""

    def __init__(  # noqa: PLR0913 - the seams, as a port each
        self,
        store: MessageStore,
        files: MediaStore,
        *,
        base: str,
        for_global: Callable[[], Collection[str]],
        publish: Publish = lambda *_, **__: None,
        barred: Callable[[], bool] = lambda: False,
        marked: Callable[[InboxRecord], InboxRecord] = lambda record: record,
        limits: JournalLimits | None = None,
        tally: Tally | None = None,
    ) -> None:
        limits = limits or JournalLimits()
        self.store = store
        self.files = files
        self._base = base
        self._barred = barred
        self._marked = marked
        self.announcer = Announcer(publish, tally)
        """Calls its listeners after each commit."""
        self._queue = queue = WriteQueue()
        self.left = LeftEvents()
        """What was received of sessions that are another host's now, and is not stored."""
        self._lost: set[str] = set()
        """Those sessions, also while the database has not refused it yet."""
        # with nothing to write: else ``failing`` stays until something is written
        self.sends = RefusedSends(store, lambda: self._writer.add(Put((), lambda _: None, 0)))
        self._writer = GroupCommit(
            store,
            queue,
            self.announcer,
            for_global=for_global,
            staged=lambda: len(self._stage),
            left=self.left,
            sends=self.sends,
        )
        writer = MediaWriter(files, deadline=limits.file_deadline)
        self._stage = FileStage(writer, self._writer.add, base=base)
        self.backlog = Backlog(queue, self._stage, limits)

    async def __aenter__(self) -> Self:
        self._writer.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Store what still waits, if the database takes it at once."""
        await self._stage.close()
        unwritten = await self._writer.close()
        self.left.keep([it for it in unwritten if it.session_id in self._lost])

    @property
    def refusal(self) -> str | None:
        """Why the last write was refused; None: it was not."""
        return self._writer.refusal

    @property
    def can_write(self) -> bool:
        """Whether a write would be taken now, as far as is known."""
        return not self.refusal and not self._barred()

    async def flushed(self, timeout: float) -> bool:
        """See ``ports.inbox.Inbox``."""
        try:
            async with asyncio.timeout(timeout):
                await self._writer.flushed()
        except TimeoutError:
            return False
        return True

    async def caught_up(self) -> None:
        """Return when all that was to be written before is written, or was refused; what still waits for its file is left
        out. Raises ``DatabaseUnavailableError``."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer.add(Put((), lambda _: written.set_result(None), 0))
        while not written.done():
            await self.keep_all(())

    # ---- sessions that come and go, as ``ports.cluster.OwnedSessions`` has it ----

    async def acquire(self, sessions: Collection[str]) -> None:
        """Store what was left here, and read again what memory has of them. A repetition of what is stored has the
        same key. What waits already is not added again: it is acquired until that works."""
        self.store.forget(sessions)
        self._lost.difference_update(sessions)
        waiting = {id(it) for it in self._queue.received}
        for session_id in sessions:
            left = self.left.of(session_id)
            if records := tuple(it for it in left if id(it) not in waiting):
                stored = partial(self._left_stored, session_id, records)
                self._writer.add(Put(records, stored, size_of(records)))

    def _left_stored(
        self, session_id: str, records: Sequence[InboxRecord], _: Sequence[InboxRecord]
    ) -> None:
        self.left.remove(session_id, records)

    async def release(self, session_id: str) -> None:
        """Return when what the session reported is stored; after its worker's end. What the database does not take
        within ``RELEASE`` s is left here."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.put((), lambda _: written.set_result(None))  # behind what waits for its file, too
        await asyncio.wait((written,), timeout=RELEASE)
        await self.lose((session_id,))

    async def lose(self, sessions: Collection[str]) -> None:
        """What waits for the database is refused by it, and left here."""
        self._lost.update(sessions)
        self.store.forget(sessions)

    # ---- the outbox ----

    async def keep(self, item: NewMessage | StateUpdate) -> int:
        """As ``ports.messages.Written`` has it; returns after the commit.

        Raises ``DatabaseUnavailableError`` when the database is not there: then it may have been
        kept all the same, if the commit's answer was lost.
        """
        [number] = await self.keep_all((item,))
        return number

    async def keep_all(self, items: Sequence[NewMessage | StateUpdate]) -> tuple[int, ...]:
        """Keep some messages, all in one transaction."""
        keep = Keep(items, urgent=True)
        self._writer.add(keep)
        return await asyncio.shield(keep.done)

    def update(self, item: StateUpdate | Withdrawal) -> "asyncio.Future[tuple[int, ...]]":
        """Keep what has to be kept, however long it takes, for who does not wait."""
        keep = Keep((item,), urgent=False)
        self._writer.add(keep)
        return keep.done

    # ---- the inbox ----

    def put(
        self, received: Sequence[InboxRecord], stored: Stored, *, after: str | None = None
    ) -> None:
        """See ``ports.inbox.Inbox``."""
        if self.full and received:
            logger.error(
                "not stored: too much waits for the database",
                event="event_not_stored",
                session=received[0].session_id,
                kind=str(received[0].kind),
            )
            return
        records = tuple(self._about_its_file(self._marked(one)) for one in received)
        self._writer.expect()
        self._stage.put(Put(records, stored, size_of(records), after))

    def _about_its_file(self, record: InboxRecord) -> InboxRecord:
        """The record with what is known of its file already."""
        if record.file and not self.backlog.has_room_for(len(record.file.content)):
            return without_file(record, "too much waits for the database", base=self._base)
        return fetched_later(record, base=self._base)

    @property
    def full(self) -> bool:
        """See ``ports.inbox.Inbox``."""
        return self.backlog.full

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        """See ``ports.inbox.Inbox``."""
        return await self.store.newest(session_id, after=after)

    async def people(self, session_id: str) -> People:
        """See ``ports.inbox.Inbox``."""
        return await self.store.people(session_id)

    # ---- webhooks ----

    def save_later(self, result: DeliveryResult | Hold) -> "asyncio.Future[None]":
        """Store what became of a webhook, done after the commit; an error is logged by the writer."""
        save = Save(result)
        self._writer.add(save)
        return save.done
