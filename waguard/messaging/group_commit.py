"""Group commit: everything that waits for the database is one transaction, and while that is on its way
to the disk what comes in gathers for the next.

A database that is locked or gone, or has not what it has to have, is asked again. A record that it always refuses is
tried alone, so that it holds up nobody else, and is logged.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Final

from loguru import logger

from waguard.core.messages.inbox import InboxRecord
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.announcer import Announcer
from waguard.messaging.left_events import LeftEvents
from waguard.messaging.refused_sends import RefusedSends
from waguard.messaging.write_queue import Batch, Keep, Put, Save, WriteQueue
from waguard.ports.messages import MessageStore, Written

# s that what nobody waits for stays for company: one commit less is in the way of the next send
LINGER: Final = 0.02
RETRY: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # s; the last one repeats


class GroupCommit:
    """Writes ``queue`` into ``store`` from ``start`` to ``close``; ``announcer`` hears what was written.
    ``for_global``: the events that webhook.url gets; ``staged``: puts that will be added soon; ``left`` gets what is
    not stored, for another host owns its session."""

    def __init__(
        self,
        store: MessageStore,
        queue: WriteQueue,
        announcer: Announcer,
        *,
        for_global: Callable[[], Collection[str]],
        staged: Callable[[], int],
        left: LeftEvents,
        sends: RefusedSends,
    ) -> None:
        self._store = store
        self._queue = queue
        self._announcer = announcer
        self._for_global = for_global
        self._staged = staged
        self._left = left
        self._sends = sends
        self.refusal: str | None = None
        """Why the last write was refused; None: it was not."""
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = asyncio.Event()
        self._urgent = asyncio.Event()
        """Set by the end too: nobody waits for the next try any more."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._work(), name="journal")

    async def close(self) -> Sequence[InboxRecord]:
        """Store what still waits, if the database takes it at once; what was received and is not stored."""
        self._closing.set()
        self._urgent.set()
        self._some.set()
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
        if left := self._queue.cancel():
            logger.error("not stored before the stop", event="inbox_not_stored", count=left)
        return self._queue.received

    def add(self, item: Keep | Put | Save) -> None:
        """Write it; at once where somebody waits for it, else soon."""
        self._queue.add(item)
        self.expect()
        if isinstance(item, Keep) and not item.urgent:
            asyncio.get_running_loop().call_later(LINGER, self._wake)
            return
        self._some.set()
        if isinstance(item, Keep):
            self._urgent.set()

    def expect(self) -> None:
        """Something will be added: what is flushed waits for it."""
        self._empty.clear()

    async def flushed(self) -> None:
        """Wait until nothing waits any more."""
        await self._empty.wait()

    def _wake(self) -> None:
        if self._queue.keeps:  # it may have gone with others meanwhile
            self._some.set()

    async def _work(self) -> None:
        failures, said = 0, None
        while True:
            await self._some.wait()
            if not (batch := self._queue.next()):
                return
            try:
                await self._write(batch)
            except DatabaseUnavailableError as error:
                delay = RETRY[min(failures, len(RETRY) - 1)]
                self._refuse(batch, error)
                # a table may be missing after an outage
                if failures == 0 or said is not type(error):
                    said = type(error)
                    self._report(batch, error)
                failures += 1
                self.refusal = error.message
                if await self._closes_within(delay):
                    return
                continue
            except Exception as error:  # noqa: BLE001 - it must not hold up everybody else
                self._suspect(batch, error)
            failures = 0
            if batch.outgoing:
                self._sends.end()
            if self.refusal:
                self.refusal = None
                self._announcer.resumed()

    async def _closes_within(self, delay: float) -> bool:
        """Wait before the next try; not where somebody wants to know at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._urgent.wait()
        return self._closing.is_set()

    def _report(self, batch: Batch, error: DatabaseUnavailableError) -> None:
        """After ``_refuse``."""
        waiting, refused = len(self._queue), sum(keep.urgent for keep in batch.keeps)
        said = (
            "nothing can be stored, retrying"
            if waiting
            else "sends cannot be stored, and are refused"
        )
        logger.error(said, event="writes_wait", why=error.line(), waiting=waiting, refused=refused)

    def _refuse(self, batch: Batch, error: DatabaseUnavailableError) -> None:
        if batch.outgoing:
            self._sends.begin(error)
        self._queue.refuse(batch, error)
        if not self._closing.is_set() and not self._queue.urgent:
            self._urgent.clear()
        self._rest_if_empty()

    async def _write(self, batch: Batch) -> None:
        received = [record for put in batch.puts for record in put.records]
        results = [save.result for save in batch.saves]
        outgoing = batch.outgoing
        written = Written(news=(), endpoints=frozenset())
        if received or results or outgoing:
            written = await self._store.write(
                received, results, outgoing=outgoing, for_global=self._for_global()
            )
        self._remove(batch)
        batch.succeed(written)
        if written.lost:
            names = sorted(written.lost)
            said = "not stored: this host does not own these sessions any more"
            logger.warning(said, event="sessions_not_owned", sessions=names)
        fresh = zip(written.received, written.news, strict=True)
        for put in batch.puts:
            some = [it for it in put.records if it.session_id not in written.lost]
            own = itertools.islice(fresh, len(some))
            news = [record for record, is_news in own if is_news]
            if not put.records and put.after and self._left.of(put.after):
                continue  # it would acknowledge what was refused before it
            if len(some) == len(put.records):
                self._announcer.stored(put.stored, news)
            else:  # nobody acknowledges it
                self._left.keep([it for it in put.records if it.session_id in written.lost])
        for record in written.reported:
            self._announcer.announce(record)
        for endpoint in sorted(written.endpoints):
            self._announcer.queued(endpoint)

    def _suspect(self, batch: Batch, error: Exception) -> None:
        if len(batch) > 1:
            self._queue.try_alone(batch)
            logger.opt(exception=error).error(
                "a write failed, each record is retried alone", event="write_failed"
            )
            return
        self._remove(batch)
        logger.opt(exception=error).critical(
            "a record cannot be stored and is lost", event="message_lost"
        )
        for put in batch.puts:
            self._announcer.stored(put.stored, [])
        batch.fail(error)

    def _remove(self, batch: Batch) -> None:
        self._queue.remove(batch)
        self._rest_if_empty()

    def _rest_if_empty(self) -> None:
        if not self._queue:
            if not self._closing.is_set():
                self._some.clear()
            if not self._staged():
                self._empty.set()
