"""GET /api/events: everything that happens, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.ports import BusEvent

COMMENT_EVERY: Final = 15.0  # s; so that a proxy keeps the connection


async def stream(request: web.Request) -> web.StreamResponse:
    """Until the client leaves; ``Last-Event-ID`` replays what is still known after it."""
    last_id = _last_id(request)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    async with request.app[DEPS].events.subscribe(last_id) as events:
        await response.prepare(request)
        await response.write(b": waguard\n\n")
        async for chunk in _with_comments(events):
            await response.write(chunk)
    return response


async def _with_comments(events: AsyncIterator[BusEvent]) -> AsyncIterator[bytes]:
    """Events as text, and a comment whenever nothing happened for a while."""
    upcoming: asyncio.Task[BusEvent] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({upcoming}, timeout=COMMENT_EVERY)
            if not done:
                yield b": still here\n\n"
                continue
            try:
                yield encode(upcoming.result())
            except StopAsyncIteration:
                return
            upcoming = None
    finally:
        if upcoming:
            upcoming.cancel()


def encode(event: BusEvent) -> bytes:
    """One event in the stream's format."""
    data = {
        "id": event.id,
        "event": event.event,
        "session_id": event.session_id,
        "at": datetime.fromtimestamp(event.at, UTC).isoformat().replace("+00:00", "Z"),
        "data": {"workspace_id": event.workspace_id, **event.data},
    }
    return f"id: {event.id}\nevent: {event.event}\ndata: {json.dumps(data)}\n\n".encode()


def _last_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    if given is None:
        return None
    if given.isascii() and given.isdigit() and len(given) < 20:  # noqa: PLR2004 - below 2**63
        return int(given)
    raise fields.bad(
        "Last-Event-ID", given, "invalid event id", "the id of an event of this stream"
    )
