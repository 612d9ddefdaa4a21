"""What the page reports of messages, in the wire's words, in order, each once."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec
from loguru import logger

from waguard.errors import WaguardError
from waguard.wire.protocol import Ack, InboundMessage
from waguard.worker.page import WhatsAppPage

MEDIA_LIMIT: Final = 16 << 20  # bytes; WhatsApp's own limit for pictures and videos
REMEMBERED: Final = 5_000  # message ids; wa-js can report one twice within seconds
# what a chat holds beside messages. A ciphertext is told again, by the same id, when it is readable
NO_MESSAGES: Final = frozenset(
    {"call_log", "ciphertext", "e2e_notification", "gp2", "notification_template", "protocol"}
)


class Inbound:
    """One task reads the queue, so that a slow file does not let a later text overtake it."""

    def __init__(
        self, emit: Callable[[InboundMessage | Ack], None], left_out: tuple[str, ...] = ()
    ) -> None:
        """``left_out``: how the ids of chats end of which nothing is told."""
        self._emit = emit
        self._left_out = left_out
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._queue: asyncio.Queue[InboundMessage | Ack] = asyncio.Queue()
        self._held: dict[str, InboundMessage] | None = None

    def hold(self) -> None:
        """Keep live messages back: older ones of their chats may have to be told before."""
        if self._held is None:
            self._held = {}

    def release(self) -> None:
        """What was missed is told: go on with what came meanwhile."""
        held, self._held = self._held or {}, None
        for message in held.values():
            self._take(message)

    def message(self, told: Any) -> None:
        """Take what the hook projected."""
        message = msgspec.convert(told, InboundMessage)
        if message.chat.endswith(self._left_out) or message.kind in NO_MESSAGES:
            return
        if self._held is None:
            self._take(message)
        elif message.backfilled:
            self._take(self._held.get(message.id, message))
        else:
            self._held.setdefault(message.id, message)

    def _take(self, message: InboundMessage) -> None:
        if message.id in self._seen:
            return
        self._seen[message.id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._queue.put_nowait(message)

    def ack(self, told: Any) -> None:
        """Take an ack; it queues behind the messages."""
        self._queue.put_nowait(msgspec.convert(told, Ack))

    async def run(self, page: Callable[[], WhatsAppPage | None]) -> None:
        """Emit for ever. ``page``: the one of the moment, it is opened anew after a pairing."""
        while True:
            item = await self._queue.get()
            if isinstance(item, InboundMessage) and item.mimetype:
                item = await _with_media(page(), item)
            self._emit(item)


async def _with_media(page: WhatsAppPage | None, message: InboundMessage) -> InboundMessage:
    if message.size is not None and message.size > MEDIA_LIMIT:
        return _without_media(message, _too_large(message.size))
    if page is None:
        return _without_media(message, "the page is not open")
    try:
        content = await page.media(message.id)
    except (WaguardError, ValueError, TypeError) as error:  # what came may be no base64 at all
        logger.warning("a file could not be fetched", message=message.id, why=str(error))
        return _without_media(message, str(error))
    if len(content) > MEDIA_LIMIT:  # the page did not say its size, or a wrong one
        return _without_media(message, _too_large(len(content)))
    return msgspec.structs.replace(message, media=content)


def _too_large(size: int) -> str:
    return f"the file has {size} bytes, the limit is {MEDIA_LIMIT}"


def _without_media(message: InboundMessage, why: str) -> InboundMessage:
    return msgspec.structs.replace(message, media_error=why)
