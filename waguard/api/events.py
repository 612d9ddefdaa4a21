"""GET /api/events: everything that happens, as server-sent events."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final

from aiohttp import web
from loguru import logger
from msgspec import Meta, Struct, field
from msgspec import field as named

from waguard.api import fields
from waguard.api.deps import CALLER, DEPS
from waguard.api.fields import AS_IT_IS
from waguard.api.gate import lasting_as_its_key
from waguard.api.rights import Narrowing
from waguard.api.route import route
from waguard.api.timings import TIMINGS, Timings
from waguard.core.keys import Caller, Right
from waguard.core.webhooks.delivery import QR_CODE
from waguard.ports.bus import BusEvent

ID_LIMIT: Final = 2**63
_HOST: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_ONE: Final = f"{_HOST}:[0-9]{{1,18}}"
_IDS: Final = f"{_ONE}(,{_ONE}){{0,63}}"
_ID: Final = re.compile(rf"[0-9]{{1,19}}|{_IDS}")
EventId = Annotated[str, AS_IT_IS, Meta(pattern=f"^([0-9]{{1,18}}|{_IDS})?$")]
SO_FAR: Final = b": that is all so far\n\n"
STILL_HERE: Final = b": still here\n\n"


class Last(Struct, kw_only=True):
    """The last event that is known: what came after it is replayed."""

    last_event_id: EventId = named(default="", name="Last-Event-ID")


class After(Struct, kw_only=True):
    """As ``Last-Event-ID``, which counts."""

    last_event_id: EventId = ""


class Listening(Struct, frozen=True):
    """What one client of the stream gets, in the stream's format."""

    blocks: AbstractAsyncContextManager[AsyncIterator[bytes]]
    headers: Mapping[str, str] = field(default_factory=dict)
    ends_the_past: bool = False
    """Whether the blocks say themselves where that ends which was remembered."""


SEVERAL: "web.AppKey[Callable[[web.Request, str], Listening]]" = web.AppKey("several_streams")
"""The events of all hosts for a client that has given this id. Only in a cluster."""


@route(Right.READ, media=("text/event-stream",), narrows=Narrowing.LIST)
async def stream(request: web.Request, query: After, headers: Last) -> web.StreamResponse:
    """Everything that happens, as server-sent events, until the client leaves or its key ends.

    ``Last-Event-ID`` replays what is still known of the last 1,000 to 2,000. In a cluster the events are those of all
    hosts, and an id has a number for each: ``h1:7,h2:9``.
    """
    given = _checked(headers.last_event_id or query.last_event_id)
    listen = request.app.get(SEVERAL, _of_one_host)
    listening = listen(request, given)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            **listening.headers,
        }
    )
    try:
        async with lasting_as_its_key(request), listening.blocks as blocks:
            await response.prepare(request)
            await _feed(request, response, blocks, ends_the_past=listening.ends_the_past)
    except TimeoutError:
        pass  # the key has ended
    return response


def _of_one_host(request: web.Request, given: str) -> Listening:
    # what several hosts had said was of before the last start of this one, or of others
    return Listening(own_blocks(request, None if not given else 0 if ":" in given else int(given)))


@contextlib.asynccontextmanager
async def own_blocks(
    request: web.Request, last_id: int | None
) -> AsyncIterator[AsyncIterator[bytes]]:
    """This host's own events."""
    async with request.app[DEPS].events.subscribe(last_id) as events:
        yield _encoded(request[CALLER], events)


async def _encoded(caller: Caller, events: AsyncIterator[BusEvent]) -> AsyncGenerator[bytes]:
    """Those that the caller may know of: others do not even delay a comment."""
    async for it in events:
        if may_know(caller, it.event, it.session_id, it.workspace_id):
            yield encoded(it.id, shown(it))


def may_know(caller: Caller, event: str, session_id: str | None, workspace_id: int | None) -> bool:
    """Whether the caller may know of such an event."""
    if event == QR_CODE and not caller.right.includes(Right.OPERATE):
        return False
    if session_id is None:  # it is about all of them
        return caller.sees_all
    return caller.sees(session_id, workspace_id)


async def _feed(
    request: web.Request,
    response: web.StreamResponse,
    blocks: AsyncIterator[bytes],
    *,
    ends_the_past: bool,
) -> None:
    """What goes wrong here cannot become an answer any more: the headers are out."""
    timings = request.app[TIMINGS]
    try:
        paced = _chunks(blocks, timings, ends_the_past=ends_the_past)
        async with contextlib.aclosing(paced) as chunks:
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


async def _chunks(
    blocks: AsyncIterator[bytes], timings: Timings, *, ends_the_past: bool
) -> AsyncGenerator[bytes]:
    """The blocks, and a comment whenever there was none for a while."""
    yield b"retry: 2000\n: waguard\n\n"
    upcoming: asyncio.Task[bytes] | None = None
    pause, comment = timings.all_said_after, SO_FAR
    if ends_the_past:
        pause, comment = timings.comment_every, STILL_HERE
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(blocks))
            done, _ = await asyncio.wait({upcoming}, timeout=pause)
            if not done:
                yield comment
                pause, comment = timings.comment_every, STILL_HERE
                continue
            try:
                block = upcoming.result()
            except StopAsyncIteration:
                # waguard stops, or this listener lagged too far behind
                yield b": the end; come back with Last-Event-ID\n\n"
                return
            upcoming = None
            yield block
    finally:
        if upcoming:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


def shown(event: BusEvent) -> dict[str, Any]:
    """The data of an event."""
    return {
        "id": event.id,
        "event": event.event,
        "session_id": event.session_id,
        "at": fields.iso(event.at),
        "data": {"workspace_id": event.workspace_id, **event.data},
    }


def encoded(number: int | str, data: Mapping[str, Any]) -> bytes:
    """One event in the stream's format."""
    return f"id: {number}\nevent: {data['event']}\ndata: {json.dumps(data)}\n\n".encode()


def _checked(given: str) -> str:
    if not given or (_ID.fullmatch(given) and (":" in given or int(given) < ID_LIMIT)):
        return given
    raise fields.bad(
        "Last-Event-ID", given, "invalid event id", "the id of an event of this stream"
    )
