"""GET /api/events: everything that happens, as server-sent events."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final

from aiohttp import web
from loguru import logger
from msgspec import Meta, Struct, field

from waguard.api import fields
from waguard.api.deps import CALLER, DEPS
from waguard.api.fields import AS_IT_IS
from waguard.api.rights import Narrowing
from waguard.api.route import route
from waguard.api.timings import TIMINGS, Timings
from waguard.core.keys import Caller, Right
from waguard.core.webhooks.delivery import QR_CODE
from waguard.ports.bus import BusEvent

ID_LIMIT: Final = 2**63
_ID: Final = re.compile(r"[0-9]{1,19}")
EventId = Annotated[str, AS_IT_IS, Meta(pattern="^([0-9]{1,18})?$")]


class Last(Struct, kw_only=True):
    """The last event that is known: what came after it is replayed."""

    last_event_id: EventId = field(default="", name="Last-Event-ID")


class After(Struct, kw_only=True):
    """As ``Last-Event-ID``, which counts."""

    last_event_id: EventId = ""


@route(Right.READ, media=("text/event-stream",), narrows=Narrowing.LIST)
async def stream(request: web.Request, query: After, headers: Last) -> web.StreamResponse:
    """Everything that happens, as server-sent events, until the client leaves or its key ends.

    ``Last-Event-ID`` replays what is still known of the last 1,000 to 2,000.
    """
    last_id = _last_id(headers.last_event_id or query.last_event_id)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    deps = request.app[DEPS]
    try:
        async with (
            deps.issued_keys.lasting(request[CALLER]),
            deps.events.subscribe(last_id) as events,
        ):
            await response.prepare(request)
            await _feed(request, response, _allowed(request[CALLER], events))
    except TimeoutError:
        pass  # the key has ended
    return response


async def _allowed(caller: Caller, events: AsyncIterator[BusEvent]) -> AsyncGenerator[BusEvent]:
    """Those that the caller may know of: others do not even delay a comment."""
    async for it in events:
        if _may_know(caller, it):
            yield it


def _may_know(caller: Caller, it: BusEvent) -> bool:
    if it.event == QR_CODE and not caller.right.includes(Right.OPERATE):
        return False
    if it.session_id is None:  # it is about all of them
        return caller.sees_all
    return caller.sees(it.session_id, it.workspace_id)


async def _feed(
    request: web.Request, response: web.StreamResponse, events: AsyncIterator[BusEvent]
) -> None:
    """What goes wrong here cannot become an answer any more: the headers are out."""
    timings = request.app[TIMINGS]
    try:
        async with contextlib.aclosing(_chunks(events, timings)) as chunks:
            async for chunk in chunks:
                async with asyncio.timeout(timings.event_write):
                    await response.write(chunk)
    except TimeoutError:
        logger.info(
            "a listener of the event stream does not read; it is disconnected",
            event="listener_dropped",
        )
        _hang_up(request)
    except ConnectionError:
        pass  # it left
    except Exception:  # noqa: BLE001 - the boundary of this stream
        logger.exception("the event stream ended in a bug", event="bug")
        _hang_up(request)


def _hang_up(request: web.Request) -> None:
    if request.transport:
        request.transport.abort()


async def _chunks(events: AsyncIterator[BusEvent], timings: Timings) -> AsyncGenerator[bytes]:
    """Events as text, and a comment whenever nothing happened for a while."""
    yield b"retry: 2000\n: waguard\n\n"
    upcoming: asyncio.Task[BusEvent] | None = None
    pause, comment = timings.all_said_after, b": that is all so far\n\n"
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({upcoming}, timeout=pause)
            if not done:
                yield comment
                pause, comment = timings.comment_every, b": still here\n\n"
                continue
            try:
                happened = upcoming.result()
            except StopAsyncIteration:
                # waguard stops, or this listener lagged too far behind
                yield b": the end; come back with Last-Event-ID\n\n"
                return
            upcoming = None
            yield encode(happened)
    finally:
        if upcoming:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


def encode(event: BusEvent) -> bytes:
    """One event in the stream's format."""
    data = {
        "id": event.id,
        "event": event.event,
        "session_id": event.session_id,
        "at": fields.iso(event.at),
        "data": {"workspace_id": event.workspace_id, **event.data},
    }
    return f"id: {event.id}\nevent: {event.event}\ndata: {json.dumps(data)}\n\n".encode()


def _last_id(given: str) -> int | None:
    if not given:
        return None
    if _ID.fullmatch(given) and int(given) < ID_LIMIT:
        return int(given)
    raise fields.bad(
        "Last-Event-ID", given, "invalid event id", "the id of an event of this stream"
    )
