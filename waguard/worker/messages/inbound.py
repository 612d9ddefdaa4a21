"""What the page reports of messages, in the wire's words, in order, each once."""

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeGuard

import msgspec
from loguru import logger

from waguard.core.messages.people import People
from waguard.core.messages.received_media import DEFERRED, MEDIA_LIMIT
from waguard.core.messages.undecryptable import Outcome
from waguard.errors import TooLargeError, WaguardError, one_line
from waguard.wire.events import (
    Ack,
    BackfillGap,
    InboundMessage,
    Incoming,
    MessageError,
    Undecryptable,
)
from waguard.worker.messages.holding import LIMIT, Holding
from waguard.worker.messages.report_filter import ReportFilter, remember
from waguard.worker.page import page_reports
from waguard.worker.page.page import WhatsAppPage

AT_ONCE: Final = 4  # files
BACKFILLED_AT_ONCE: Final = (
    2  # files of what is read back: those of live messages do not wait for them
)
CHAT_WAITS: Final = 15.0  # s from a file's arrival, also for its turn
UNASKED: Final = 86_400  # s for which a chat is read back where the daemon had not said since when
REMEMBERED: Final = 5_000  # ids; wa-js can report a message twice within seconds


class Inbound:
    """What follows a file in its chat waits for it; other chats do not."""

    def __init__(
        self,
        emit: Callable[[Incoming | BackfillGap], None],
        left_out: tuple[str, ...] = (),
        people: People | None = None,
        *,
        inline_limit: int = MEDIA_LIMIT,
        file_limit: int = MEDIA_LIMIT,
        remembered: int = REMEMBERED,
    ) -> None:
        """``left_out``: how the ids of chats end of which nothing is reported; ``remembered``: how many ids.
        Files of more than ``inline_limit`` bytes are deferred, those of more than ``file_limit`` left out."""
        self._inline_limit = min(inline_limit, file_limit, MEDIA_LIMIT)
        self._file_limit = file_limit
        self._remembered = remembered
        self._people = people or People()
        self.filter = ReportFilter(left_out, self._people, remembered=remembered)
        self._emit = emit
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._queue: asyncio.Queue[Incoming] = asyncio.Queue()
        self._holding = Holding(self._enqueue, self._on_overdue, self._people)
        self._backfilled_since: Mapping[str, int] = {}
        self._unlisted_since: int | None = None
        """Where the chats could not be listed: since when what came before a new message of one is owed; unix time."""
        self.owed: dict[str, int] = {}
        """By chat: since when its older messages are to be read, where newer ones were reported before, or they were
        dropped; unix time."""
        self._repaid: dict[str, dict[str, int]] = {}
        """By chat that is read now: what was owed of it until then."""
        self._unread: str | None = None
        """A chat of which nothing is fetched now."""
        self._waiting: dict[str, deque[tuple[float, Incoming]]] = {}
        """By chat, what waits for the file of the first one, and since when (the loop's time) …"""
        self._fetching: dict[str, asyncio.Task[None]] = {}
        """… and what fetches it."""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._places_of_backfill = asyncio.Semaphore(BACKFILLED_AT_ONCE)

    def hold(self) -> None:
        """Keep back what is live: older messages of its chat may have to be reported before."""
        self._unlisted_since = None
        self._holding.hold()

    def hold_only(self, since: Mapping[str, int], *, unread: str | None = None) -> None:
        """Go on, but for chats that are read back, from these unix times on; of the chat that stays ``unread``
        no file is fetched, either."""
        self._backfilled_since, self._unlisted_since, self._unread = since, None, unread
        self._holding.hold_only(since)

    def hold_none(self, since: Mapping[str, int], floor: int, *, unread: str | None = None) -> None:
        """Go on, though the chats could not be listed. A chat in which a message comes now is owed what came before, from
        these unix times on, another one from ``floor``; ``unread`` as in ``hold_only``."""
        self._backfilled_since, self._unlisted_since, self._unread = since, floor, unread
        self._holding.hold_only(())

    def release(self, chat: str) -> None:
        """The backfill of this chat is reported: go on with what came meanwhile."""
        self._repaid.pop(chat, None)
        self._holding.release(chat)

    @contextlib.contextmanager
    def repaid(self, chat: str) -> Iterator[Mapping[str, int]]:
        """The body reads this chat, from what is owed of it on; that is owed again where it does not ``release`` it. What is
        dropped meanwhile may have been read before."""
        ids = self._people.aliases(chat)
        repaid = self._repaid[chat] = {one: self.owed.pop(one) for one in ids if one in self.owed}
        try:
            yield repaid
        finally:
            for one, since in self._repaid.pop(chat, {}).items():
                self.owed[one] = min(since, self.owed.get(one, since))

    def drain(self) -> None:
        """Emit what waits, for the worker ends: files are fetched after their messages, and messages that wait for a
        backfill are read back later."""
        self._holding.drain()
        waiting = [item for some in self._waiting.values() for _, item in some]
        for fetch in self._fetching.values():
            fetch.cancel()
        self._waiting.clear()
        self._fetching.clear()
        while not self._queue.empty():
            waiting.append(self._queue.get_nowait())
        for item in map(self._checked, waiting):
            self._emit(_deferred(item) if _has_file(item) else item)

    def handle(self, kind: str, reported: Any) -> None:
        """Handle what the page reports as this kind. Never raises."""
        for item in page_reports.read(kind, reported, now=time.time()):
            if self.filter.includes(item):
                self._holding.handle(_key(item), item)

    async def decrypted(self, reported: Any, page: WhatsAppPage) -> Outcome:
        """Report a message that could not be decrypted before, if it can be read now."""
        (read,) = page_reports.read("message", reported, now=time.time())
        if isinstance(read, Undecryptable):
            return Outcome.UNDECRYPTABLE
        if not self.filter.includes(read):
            return Outcome.NO_MESSAGE
        await self.backfilled(reported, page)
        return Outcome.READABLE if isinstance(read, InboundMessage) else Outcome.NO_MESSAGE

    async def backfilled(self, reported: Any, page: WhatsAppPage) -> None:
        """Report what was read back from its chat, unless it is reported already. Its file is fetched before."""
        for read in page_reports.read("message", reported, now=time.time()):
            key = _key(read)
            if not self.filter.includes(read) or key in self._seen:
                continue
            item = self._holding.find(read.chat, key) or _backfilled(read)
            item = self._checked(item)
            if _has_file(item):
                async with self._places_of_backfill:
                    item = await self._with_media(page, item)
            # what waits for a file in this chat came before what is read back
            ids = self._people.aliases(item.chat)
            if before := [self._fetching[one] for one in ids if one in self._fetching]:
                await asyncio.wait(before)
            if key not in self._seen:  # its chat may have been released meanwhile
                remember(self._seen, key, self._remembered)
                self._emit(item)

    def _on_overdue(self, chat: str) -> None:
        floor = int(time.time() - UNASKED)
        self._overtake(chat, floor, f"the backfill took over {LIMIT:g} s")

    def _overtake(self, chat: str, floor: int, because: str, *, only_news: bool = False) -> None:
        """A new message of this chat goes before those that are still to be read back: these are owed now.
        ``only_news``: unless they were owed before; one line in the log has said it of all chats."""
        ids = self._people.aliases(chat)
        known = (self._backfilled_since[one] for one in ids if one in self._backfilled_since)
        since = min(known, default=floor)
        owed = next((self._repaid[one] for one in ids if one in self._repaid), self.owed)
        if only_news and any(owed.get(one, since + 1) <= since for one in ids):
            return
        if not only_news:
            logger.error(
                "messages of a chat are out of order", event="chat_out_of_order", chat=chat
            )
        owed[chat] = min(since, owed.get(chat, since))  # its newest one is the daemon's mark
        why = f"new messages were reported before backfilled ones: {because}"
        self._emit(BackfillGap(chat=chat, why=why, since=since))

    def owe(self, gap: BackfillGap) -> None:
        """Have its chat read back since then by the next backfill, also where another daemon asks for that."""
        if gap.since is not None:
            self.owed[gap.chat] = min(gap.since, self.owed.get(gap.chat, gap.since))

    def _enqueue(self, key: str, item: Incoming) -> None:
        if not isinstance(item, Ack):
            if key in self._seen:
                return
            remember(self._seen, key, self._remembered)
        if self._unlisted_since is not None and isinstance(item, InboundMessage):
            because = "the chats could not be listed"
            self._overtake(item.chat, self._unlisted_since, because, only_news=True)
        self._queue.put_nowait(item)

    async def run(self, page: Callable[[], WhatsAppPage]) -> None:
        """Emit forever. ``page``: the current one, it is opened again after a pairing."""
        now = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as files:
            while True:
                item = self._checked(await self._queue.get())
                # it may have got another id meanwhile, or its LID a number
                ids = self._people.aliases(item.chat)
                waiting = (self._waiting[one] for one in ids if one in self._waiting)
                if (behind := next(waiting, None)) is not None:
                    behind.append((now(), item))
                elif _has_file(item):
                    self._waiting[item.chat] = deque(((now(), item),))
                    fetch = self._fetch(item.chat, page)
                    self._fetching[item.chat] = files.create_task(fetch, name="files")
                else:
                    self._emit(item)

    async def _fetch(self, chat: str, page: Callable[[], WhatsAppPage]) -> None:
        """Emit what waits in this chat, until nothing does."""
        waiting = self._waiting[chat]
        while waiting:
            since, item = waiting[0]
            if _has_file(item):
                item = await self._fetched(page, item, since + CHAT_WAITS)
            self._emit(item)
            waiting.popleft()
        del self._waiting[chat], self._fetching[chat]

    async def _fetched(
        self, page: Callable[[], WhatsAppPage], message: InboundMessage, until: float
    ) -> InboundMessage:
        """With its file, if that comes until then (the loop's time)."""
        try:
            async with asyncio.timeout_at(until), self._places:
                await asyncio.sleep(0)  # the page is not asked when it is too late already
                return await self._with_media(page(), message)
        except TimeoutError:
            _log_not_fetched(message, f"its chat waited {CHAT_WAITS:g} s")
            return _deferred(message)

    def _checked(self, item: Incoming) -> Incoming:
        """The message whose file does not come with it says why."""
        if not _has_file(item):
            return item
        if item.chat == self._unread:
            return _without_media(item, "not fetched so soon after the pairing")
        if (size := item.size) is None or size <= self._inline_limit:
            return item
        if size > self._file_limit:
            return _without_media(item, _too_large(size, self._file_limit))
        return _deferred(item)

    async def _with_media(self, page: WhatsAppPage, message: InboundMessage) -> InboundMessage:
        try:
            content = await page.media(message.id, self._inline_limit)
        except (WaguardError, ValueError, TypeError) as error:  # what came may be no base64 at all
            _log_not_fetched(message, one_line(error))
            if isinstance(error, TooLargeError) or not isinstance(error, WaguardError):
                return _without_media(message, str(error))
            return _deferred(message)  # it takes longer, or the page is loaded again
        return msgspec.structs.replace(message, media=content)


def _key(item: Incoming) -> str:
    """What makes it the same when it is reported again."""
    match item:
        case InboundMessage():
            return item.id
        case Ack():
            return f"ack:{item.ack}:{item.ids}"
        case MessageError():
            return f"error:{item.what}:{item.id or item.digest}"
        case _:
            return f"{type(item).__name__}:{item.id}"


def _backfilled(item: Incoming) -> Incoming:
    if isinstance(item, InboundMessage):
        return msgspec.structs.replace(item, backfilled=True)
    return item


def _has_file(item: Incoming) -> TypeGuard[InboundMessage]:
    """Whether a file is still to be fetched."""
    return isinstance(item, InboundMessage) and bool(item.mimetype) and not item.media_error


def _log_not_fetched(message: InboundMessage, why: str) -> None:
    logger.warning("a file could not be fetched", event="media_not_fetched", id=message.id, why=why)


def _too_large(size: int, limit: int) -> str:
    return f"the file is said to have {size} bytes, the limit is {limit}"


def _deferred(message: InboundMessage) -> InboundMessage:
    return msgspec.structs.replace(message, deferred=True, media_error=DEFERRED)


def _without_media(message: InboundMessage, why: str) -> InboundMessage:
    return msgspec.structs.replace(message, media_error=why)
