"""Sends a sentinel, and deletes it on this side. ``wanted`` keeps it from the daemon."""

import asyncio
import contextlib

import msgspec
from loguru import logger

from waguard.core.messages.people import People
from waguard.errors import WaguardError
from waguard.wire.calls import Failed, SendText, Sent
from waguard.worker.messages.sending import send
from waguard.worker.messages.wanted import Wanted
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.timings import TIMINGS, Timings


async def send_sentinel(
    page: WhatsAppPage,
    call: SendText,
    wanted: Wanted,
    people: People,
    *,
    timings: Timings = TIMINGS,
) -> Sent | Failed:
    """Send a sentinel, see whether the page reports it, and delete it on this side."""
    with wanted.awaits(call.message_id) as reported:
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
