"""Sentinels in the worker: sent, kept from the daemon when the page reports them, and deleted on this side."""

import asyncio
import contextlib
from collections.abc import Iterator

import msgspec
from loguru import logger

from waguard.core.messages.message_ids import MessageKey, parse
from waguard.core.messages.people import People
from waguard.core.messages.sentinel import is_sentinel
from waguard.errors import WaguardError
from waguard.wire.calls import Failed, SendText, Sent
from waguard.wire.events import InboundMessage
from waguard.worker.messages.sending import send
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.timings import TIMINGS, Timings


class Sentinels:
    """Those that were sent and that the page has not reported yet, by stem."""

    def __init__(self) -> None:
        self._awaited: dict[str, asyncio.Event] = {}

    @contextlib.contextmanager
    def awaits(self, message_id: str) -> Iterator[asyncio.Event]:
        """Set as soon as the page reports this sentinel, which is ours."""
        key = parse(message_id)
        stem = key.stem if key else message_id
        self._awaited[stem] = asyncio.Event()
        try:
            yield self._awaited[stem]
        finally:
            del self._awaited[stem]

    def is_one(self, item: InboundMessage, key: MessageKey | None) -> bool:
        """Whether our own message is a sentinel, also of a worker or a daemon before this one. ``key``: of its id."""
        if not is_sentinel(item.body):
            return False
        if key and (awaited := self._awaited.get(key.stem)):
            awaited.set()
        return True


async def send_sentinel(
    page: WhatsAppPage,
    call: SendText,
    sentinels: Sentinels,
    people: People,
    *,
    timings: Timings = TIMINGS,
) -> Sent | Failed:
    """Send a sentinel, see whether the page reports it, and delete it on this side."""
    with sentinels.awaits(call.message_id) as reported:
        outcome = await send(page, call, people, timings=timings)
        if not isinstance(outcome, Sent) or outcome.outcome != "sent":
            return outcome
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timings.find):
                await reported.wait()
    try:
        await page.call("forget", call.message_id)
    except WaguardError as error:
        logger.warning("a sentinel stays in its chat", event="sentinel_kept", why=error.line())
    return msgspec.structs.replace(outcome, seen=reported.is_set())
