"""What the page reports of messages, in the wire's words, in order, each once."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final, TypeGuard

import msgspec
from loguru import logger

from waguard.errors import WaguardError
from waguard.wire.protocol import (
    Ack,
    Edit,
    InboundMessage,
    Incoming,
    IncomingCall,
    Reaction,
    Revoke,
)
from waguard.worker.page import WhatsAppPage

MEDIA_LIMIT: Final = 16 << 20  # bytes; WhatsApp's own limit for pictures and videos
AT_ONCE: Final = 4  # files
REMEMBERED: Final = 5_000  # ids; wa-js can report a message twice within seconds
# what a chat holds beside messages. A ciphertext is told again, by the same id, when it is readable
NO_MESSAGES: Final = frozenset(
    {"call_log", "ciphertext", "e2e_notification", "gp2", "notification_template", "protocol"}
)
GROUP: Final = "@g.us"
HAPPENINGS: Final[dict[str, type[Edit | Revoke | Reaction | IncomingCall]]] = {
    "edit": Edit,
    "revoke": Revoke,
    "reaction": Reaction,
    "call": IncomingCall,
}


class Inbound:
    """What follows a file in its chat waits for it; other chats do not."""

    def __init__(self, emit: Callable[[Incoming], None], left_out: tuple[str, ...] = ()) -> None:
        """``left_out``: how the ids of chats end of which nothing is told."""
        self._emit = emit
        self._left_out = left_out
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._queue: asyncio.Queue[Incoming] = asyncio.Queue()
        self._held: dict[str, Incoming] | None = None
        self._waiting: dict[str, deque[Incoming]] = {}
        """By chat, what waits for the file of the first one."""
        self._places = asyncio.Semaphore(AT_ONCE)

    def hold(self) -> None:
        """Keep back what is live: older messages of its chat may have to be told before."""
        if self._held is None:
            self._held = {}

    def release(self) -> None:
        """What was missed is told: go on with what came meanwhile."""
        held, self._held = self._held or {}, None
        for key, item in held.items():
            self._enqueue(key, item)

    def take(self, kind: str, told: Any) -> None:
        """Take what the page told, by the hook's word for it."""
        match kind:
            case "message":
                self.message(told)
            case "ack":
                self.ack(told)
            case _:
                self.happening(kind, told)

    def message(self, told: Any) -> None:
        """Take what the hook projected."""
        message = msgspec.convert(told, InboundMessage)
        if message.chat.endswith(self._left_out) or message.kind in NO_MESSAGES:
            return
        if message.backfilled and self._held is not None:
            self._enqueue(message.id, self._held.get(message.id, message))
        else:
            self._take_live(message.id, message)

    def happening(self, kind: str, told: Any) -> None:
        """Take an edit, a revoke, a reaction or a call (``HAPPENINGS``); in order as a message."""
        it = msgspec.convert(told, HAPPENINGS[kind])
        groups_call = isinstance(it, IncomingCall) and it.group
        if not (GROUP if groups_call else it.chat).endswith(self._left_out):
            self._take_live(f"{kind}:{it.id}", it)

    def ack(self, told: Any) -> None:
        """Take an ack; it queues behind the messages."""
        self._queue.put_nowait(msgspec.convert(told, Ack))

    def _take_live(self, key: str, item: Incoming) -> None:
        if self._held is None:
            self._enqueue(key, item)
        else:
            self._held.setdefault(key, item)

    def _enqueue(self, key: str, item: Incoming) -> None:
        if key in self._seen:
            return
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._queue.put_nowait(item)

    async def run(self, page: Callable[[], WhatsAppPage | None]) -> None:
        """Emit for ever. ``page``: the one of the moment, it is opened anew after a pairing."""
        async with asyncio.TaskGroup() as files:
            while True:
                item = await self._queue.get()
                if (behind := self._waiting.get(item.chat)) is not None:
                    behind.append(item)
                elif _has_file(item):
                    self._waiting[item.chat] = deque((item,))
                    files.create_task(self._fetch(item.chat, page), name="files")
                else:
                    self._emit(item)

    async def _fetch(self, chat: str, page: Callable[[], WhatsAppPage | None]) -> None:
        """Emit what waits in this chat, until nothing does."""
        waiting = self._waiting[chat]
        while waiting:
            item = waiting[0]
            if _has_file(item):
                async with self._places:
                    item = await _with_media(page(), item)
            self._emit(item)
            waiting.popleft()
        del self._waiting[chat]


def _has_file(item: Incoming) -> TypeGuard[InboundMessage]:
    return isinstance(item, InboundMessage) and bool(item.mimetype)


async def _with_media(page: WhatsAppPage | None, message: InboundMessage) -> InboundMessage:
    if message.size is not None and message.size > MEDIA_LIMIT:
        why = f"the file has {message.size} bytes, the limit is {MEDIA_LIMIT}"
        return _without_media(message, why)
    if page is None:
        return _without_media(message, "the page is not open")
    try:
        content = await page.media(message.id, MEDIA_LIMIT)
    except (WaguardError, ValueError, TypeError) as error:  # what came may be no base64 at all
        logger.warning("a file could not be fetched", message=message.id, why=str(error))
        return _without_media(message, str(error))
    return msgspec.structs.replace(message, media=content)


def _without_media(message: InboundMessage, why: str) -> InboundMessage:
    return msgspec.structs.replace(message, media_error=why)
