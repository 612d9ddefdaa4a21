"""The one writer of inbox, outbox and webhook queue: everything that waits is one transaction.

Group commit: while a transaction is on its way to the disk, what comes in gathers for the next; the
outbox first, for somebody waits for it. A database that is locked or gone is asked again, and
nothing is acknowledged meanwhile: the workers keep what they reported. What the database will never
take is tried alone, so that it holds up nobody else, and is said. A file is on the disk before the
message that it came with; one that the disk does not take is left out, its message is not.
"""

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from loguru import logger

from waguard.core import delivery
from waguard.core.identity import People
from waguard.core.inbox import EventPayload, InboxRecord, Kind, fitting
from waguard.core.media import with_media
from waguard.core.news import notices
from waguard.errors import DatabaseUnavailableError, UnavailableError
from waguard.messaging.received_files import NO_ANSWER, MediaWriter
from waguard.ports.bus import BusEvent
from waguard.ports.inbox import MediaStore, Stored
from waguard.ports.messages import (
    DeliveryResult,
    Entry,
    Hold,
    MessageStore,
    NewMessage,
    StateUpdate,
    Withdrawal,
    Written,
)

BATCH: Final = 500  # rows a transaction, and no more than …
BATCH_BYTES: Final = 32 << 20  # … of bodies and files, but for a single one
WAITING_LIMIT: Final = 50_000  # puts that wait for the database; a worker keeps 10,000
WAITING_BYTES: Final = 128 << 20  # of bodies and files; beyond, files are left out
# above any of these no new work is begun: it would have to be stored too
BEHIND_COUNT: Final = WAITING_LIMIT // 10
BEHIND_BYTES: Final = WAITING_BYTES // 2
BEHIND_AGE: Final = 60.0  # s of the oldest
# s that what nobody waits for stays for company: one commit less is in the way of the next send
LINGER: Final = 0.02
RETRY: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # s; the last one repeats


@dataclass(slots=True, eq=False)
class _Put:
    entries: tuple[Entry, ...]
    stored: Stored
    size: int
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class _Settle:
    settlement: DeliveryResult | Hold
    done: "asyncio.Future[None]"
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class _Keep:
    items: Sequence[NewMessage | StateUpdate | Withdrawal]
    done: "asyncio.Future[tuple[int, ...]]"
    urgent: bool
    """It is to fail, not to wait, when the database is gone."""

    @property
    def size(self) -> int:
        drafts = [item for item in self.items if isinstance(item, NewMessage)]
        return sum(len(draft.body) + len(draft.content or b"") for draft in drafts)


@dataclass(slots=True)
class _Batch:
    keeps: list[_Keep] = field(default_factory=list)
    puts: list[_Put] = field(default_factory=list)
    settles: list[_Settle] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keeps) + len(self.puts) + len(self.settles)


class Journal:
    """Fills ``ports.inbox.Inbox``; an async context manager. ``for_global``: the events that webhook.url
    gets; ``poke`` is told which endpoints have more to deliver, ``resumed`` that the database can be
    written again, ``acked`` of every ack that is news, ``told`` of what the application is told of
    how messages ended; ``base``: of the addresses of files."""

    def __init__(
        self,
        store: MessageStore,
        files: MediaStore,
        *,
        base: str,
        for_global: Callable[[], Collection[str]],
        poke: Callable[[str], None] = lambda _: None,
        acked: Callable[[InboxRecord], None] = lambda _: None,
        told: Callable[[InboxRecord], None] = lambda _: None,
    ) -> None:
        self.store = store
        self.files = files
        self._keeper = MediaWriter(files)
        self._base = base
        self._for_global = for_global
        self.poke = poke
        self.resumed: Callable[[], None] = lambda: None
        self.failing = False
        """The last write was not taken."""
        self.paused: Callable[[], bool] = lambda: False
        """Whether none would be taken now."""
        self.acked = acked
        self.told = told
        self._keeping: deque[_Keep] = deque()
        self._filing: deque[_Put] = deque()
        """Puts whose files are not on the disk yet, and those that came after them."""
        self._files_task: asyncio.Task[None] | None = None
        self._waiting: deque[_Put | _Settle] = deque()
        self._bytes = 0
        self._alone = 0  # so many of the first are to be tried one by one
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = asyncio.Event()
        self._urgent = asyncio.Event()
        """Set by the end too: nobody waits for the next try any more."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name="journal")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Store what still waits, if the database takes it at once."""
        assert self._task  # noqa: S101 - entered
        if self._files_task:
            await asyncio.gather(self._files_task, return_exceptions=True)
        self._closing.set()
        self._urgent.set()
        self._some.set()
        await asyncio.gather(self._task, return_exceptions=True)
        if left := [*self._keeping, *self._waiting]:
            logger.error("not stored before the stop", event="inbox_not_stored", count=len(left))
        for item in left:
            if not isinstance(item, _Put):
                item.done.cancel()

    async def keep(self, item: NewMessage | StateUpdate) -> int:
        """As ``ports.messages.Written`` has it; returns after the commit.

        Raises ``DatabaseUnavailableError`` when the database is not there: then it may have been
        kept all the same, if the commit's answer was lost.
        """
        [number] = await self.keep_all((item,))
        return number

    async def keep_all(self, items: Sequence[NewMessage | StateUpdate]) -> tuple[int, ...]:
        """The same for some, all in one transaction."""
        done = self._keep(items, urgent=True)
        self._urgent.set()
        return await asyncio.shield(done)

    def move(self, item: StateUpdate | Withdrawal) -> "asyncio.Future[tuple[int, ...]]":
        """The same for what has to be kept, however long it takes, and for who does not wait."""
        return self._keep((item,), urgent=False)

    def _keep(
        self, items: Sequence[NewMessage | StateUpdate | Withdrawal], *, urgent: bool
    ) -> "asyncio.Future[tuple[int, ...]]":
        done = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda it: it.cancelled() or it.exception())
        self._keeping.append(_Keep(items, done, urgent))
        self._empty.clear()
        if urgent:
            self._some.set()
        else:
            asyncio.get_running_loop().call_later(LINGER, self._wake)
        return done

    def _wake(self) -> None:
        if self._keeping:  # it may have gone with others meanwhile
            self._some.set()

    def put(self, received: Sequence[InboxRecord], stored: Stored) -> None:
        """See ``ports.inbox.Inbox``. Encoded at once: what is stored is what was said then."""
        if self.full and received:
            logger.error(
                "not stored: too much waits for the database",
                event="event_not_stored",
                session=received[0].session_id,
                kind=str(received[0].kind),
            )
            return
        entries = tuple(self._encoded(one) for one in received)
        put = _Put(entries, stored, _weight(entries))
        self._bytes += put.size
        if not self._filing and not any(entry.received.file for entry in entries):
            self._add(put)
            return
        self._filing.append(put)
        self._empty.clear()
        if self._files_task is None or self._files_task.done():
            self._files_task = asyncio.create_task(self._file(), name="journal files")

    async def _file(self) -> None:
        """Write files, beside the writer; what is behind them waits, in order."""
        while self._filing:
            put = self._filing[0]
            if any(entry.received.file for entry in put.entries):
                await self._keep_files(put)
            self._filing.popleft()
            self._add(put)

    @property
    def full(self) -> bool:
        """See ``ports.inbox.Inbox``."""
        return len(self._waiting) + len(self._filing) >= WAITING_LIMIT

    @property
    def backlog(self) -> tuple[int, float]:
        """How many writes wait for the database, and the first for how many seconds."""
        count = len(self._waiting) + len(self._filing) + len(self._keeping)
        first = next(iter(self._waiting or self._filing), None)
        return count, time.monotonic() - first.since if first else 0.0

    @property
    def behind(self) -> bool:
        """Whether the database is too far behind for new work."""
        count, age = self.backlog
        return count >= BEHIND_COUNT or self._bytes >= BEHIND_BYTES or age >= BEHIND_AGE

    def require_room(self) -> None:
        """Raises ``UnavailableError`` while the database is too far behind for new work."""
        if not self.behind:
            return
        count, age = self.backlog
        raise UnavailableError(
            f"the database is behind: {count} writes wait, the first for {age:.0f} s",
            field="database",
            remedy="try again; see why the database is slow or away",
            retry_after=10,
        )

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        """See ``ports.inbox.Inbox``."""
        return await self.store.newest(session_id, after=after)

    async def people(self, session_id: str) -> People:
        """See ``ports.inbox.Inbox``."""
        return await self.store.people(session_id)

    async def settle(self, settlement: DeliveryResult) -> None:
        """Store what became of a webhook; returns after the commit."""
        await self.post(settlement)

    def post(self, settlement: DeliveryResult | Hold) -> "asyncio.Future[None]":
        """The same for who does not wait."""
        done = asyncio.get_running_loop().create_future()
        # an error that nobody waits for is said by the writer
        done.add_done_callback(lambda it: it.cancelled() or it.exception())
        self._add(_Settle(settlement, done))
        return done

    async def flushed(self, timeout: float) -> bool:
        """See ``ports.inbox.Inbox``."""
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _add(self, item: _Put | _Settle) -> None:
        self._waiting.append(item)
        self._empty.clear()
        self._some.set()

    def _encoded(self, received: InboxRecord) -> Entry:
        if received.file and len(received.file.content) > WAITING_BYTES - self._bytes:
            return _entry(self._without_file(received, "too much waits for the database"))
        return _entry(received)

    def _without_file(self, received: InboxRecord, why: str) -> InboxRecord:
        logger.warning(
            "a file is left out",
            event="media_left_out",
            why=why,
            session=received.session_id,
            key=received.key,
        )
        return _with_media(received, error=why)

    # ---- the writer ----

    async def _work(self) -> None:
        failures = 0
        while True:
            await self._some.wait()
            if not (batch := self._next()):
                return
            try:
                await self._write(batch)
            except DatabaseUnavailableError as error:
                delay = RETRY[min(failures, len(RETRY) - 1)]
                log = logger.error if failures == 0 else logger.debug
                log(
                    "nothing can be stored, trying again",
                    why=error.line(),
                    waiting=len(self._waiting),
                )
                failures += 1
                self.failing = True
                self._refuse(batch, error)
                if await self._closes_within(delay):
                    return
                continue
            except Exception as error:  # noqa: BLE001 - it must not hold up everybody else
                self._suspect(batch, error)
            failures = 0
            if self.failing:
                self.failing = False
                self.resumed()

    async def _closes_within(self, delay: float) -> bool:
        """Wait before the next try; not where somebody wants to know at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._urgent.wait()
        return self._closing.is_set()

    def _refuse(self, batch: _Batch, error: DatabaseUnavailableError) -> None:
        """Those who do not wait are told; what else there is waits on."""
        refused = [keep for keep in batch.keeps if keep.urgent]
        for keep in refused:
            self._keeping.remove(keep)
            if not keep.done.done():
                keep.done.set_exception(error)
        if not self._closing.is_set() and not any(keep.urgent for keep in self._keeping):
            self._urgent.clear()
        self._rest_if_empty()

    def _next(self) -> _Batch:
        batch, rows, size = _Batch(), 0, 0
        for keep in self._keeping:
            if batch.keeps and size + keep.size > BATCH_BYTES:
                break
            batch.keeps.append(keep)
            rows += len(keep.items)
            size += keep.size
            if rows >= BATCH or self._alone:
                return batch
        for item in self._waiting:
            if isinstance(item, _Settle):
                batch.settles.append(item)
                rows += 1
            else:
                if batch and size + item.size > BATCH_BYTES:
                    break
                batch.puts.append(item)
                rows += len(item.entries)
                size += item.size
            if rows >= BATCH or self._alone:
                break
        return batch

    async def _keep_files(self, put: _Put) -> None:
        try:
            put.entries = tuple([await self._kept(entry) for entry in put.entries])
        except Exception as error:  # noqa: BLE001 - it must not hold up everybody else
            logger.opt(exception=error).critical(
                "a bug in waguard: files are left out", event="bug"
            )
            put.entries = tuple(
                _entry(self._without_file(it.received, str(error))) if it.received.file else it
                for it in put.entries
            )
        self._bytes -= put.size
        put.size = _weight(put.entries)
        self._bytes += put.size

    async def _kept(self, entry: Entry) -> Entry:
        received, file = entry.received, entry.received.file
        if file is None:
            return entry
        try:
            name = await self._keeper.keep(file)
        except TimeoutError:
            return _entry(self._without_file(received, NO_ANSWER))
        except OSError as error:
            return _entry(self._without_file(received, error.strerror or str(error)))
        url = f"{self._base}/api/media/{name}"
        return _entry(_with_media(received, sha256=name, url=url))

    async def _write(self, batch: _Batch) -> None:
        entries = [entry for put in batch.puts for entry in put.entries]
        settlements = [settle.settlement for settle in batch.settles]
        outgoing = [item for keep in batch.keeps for item in keep.items]
        written = Written(news=(), endpoints=frozenset())
        if entries or settlements or outgoing:
            written = await self.store.write(
                entries, settlements, outgoing=outgoing, for_global=self._for_global()
            )
        self._done_with(batch)
        kept = iter(written.kept)
        for keep in batch.keeps:
            numbers = tuple(itertools.islice(kept, len(keep.items)))
            if not keep.done.done():
                keep.done.set_result(numbers)
        for settle in batch.settles:
            if not settle.done.done():
                settle.done.set_result(None)
        fresh = zip(written.received, written.news, strict=True)
        for put in batch.puts:
            own = itertools.islice(fresh, len(put.entries))
            self._tell(put, [received for received, is_news in own if is_news])
        for received in written.told:
            self._say(received)
        for endpoint in sorted(written.endpoints):
            self.poke(endpoint)

    def _suspect(self, batch: _Batch, error: Exception) -> None:
        if len(batch) > 1:
            self._alone = len(batch)
            logger.opt(exception=error).error(
                "a write failed, each one is tried alone now", event="write_failed"
            )
            return
        self._done_with(batch)
        logger.opt(exception=error).critical(
            "it can never be stored and is lost", event="message_lost"
        )
        for put in batch.puts:
            self._tell(put, [])
        for keep in batch.keeps:
            if not keep.done.done():
                keep.done.set_exception(error)
        for settle in batch.settles:
            if not settle.done.done():
                settle.done.set_exception(error)

    def _done_with(self, batch: _Batch) -> None:
        for _ in batch.keeps:
            self._keeping.popleft()
        for _ in range(len(batch.puts) + len(batch.settles)):
            self._waiting.popleft()
        self._alone = max(0, self._alone - len(batch))
        self._bytes -= sum(put.size for put in batch.puts)
        self._rest_if_empty()

    def _rest_if_empty(self) -> None:
        if not self._waiting and not self._keeping:
            if not self._closing.is_set():
                self._some.clear()
            if not self._filing:
                self._empty.set()

    def _tell(self, put: _Put, news: Sequence[InboxRecord]) -> None:
        try:
            put.stored(news)
            for received in news:
                if received.kind is Kind.ACK:
                    self.acked(received)
        except Exception:  # noqa: BLE001 - one listener's bug must not end the writer
            logger.exception("a bug in waguard after a write", event="bug")

    def _say(self, received: InboxRecord) -> None:
        try:
            self.told(received)
        except Exception:  # noqa: BLE001 - as above
            logger.exception("a bug in waguard after a write", event="bug")


def of_event(event: BusEvent) -> InboxRecord:
    """What is stored of an event that no worker reported: a session's state."""
    return InboxRecord(
        session_id=event.session_id or "",
        workspace_id=event.workspace_id or 0,
        key=fitting(f"{event.event}:{event.id}"),
        kind=Kind.SESSION,
        at=event.at,
        chat=delivery.lane(event.event, event.data) or None,
        told=(EventPayload(event.event, event.data),),
    )


def _weight(entries: Sequence[Entry]) -> int:
    bodies = sum(len(notice.body) for entry in entries for notice in entry.notices)
    return bodies + sum(len(e.received.file.content) for e in entries if e.received.file)


def _with_media(received: InboxRecord, **told: Any) -> InboxRecord:
    """What became of its file."""
    data = (replace(one, data=with_media(one.data, **told)) for one in received.told)
    return replace(received, file=None, told=tuple(data))


def _entry(received: InboxRecord) -> Entry:
    return Entry(received=received, notices=notices(received))
