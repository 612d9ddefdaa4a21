"""How much is done at a time: requests, their bodies, event streams."""

from typing import Final

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.problems import Handler
from waguard.errors import UnavailableError

STREAMS: Final = 64  # event streams; each may lag by 4,000 events
BODY_BYTES: Final = 128 << 20  # of all requests; a body takes up to four times its size
RETRY_AFTER: Final = 2.0  # s


class Load:
    """What is under way."""

    def __init__(self) -> None:
        self.requests = 0
        self.streams = 0
        self.bytes = 0


LOAD: Final = web.AppKey("load", Load)


@web.middleware
async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what would be too much, before its body is read. Who asks for health is answered."""
    load = request.app[LOAD]
    if request.path.startswith("/health"):
        return await handler(request)
    if request.path == "/api/events":
        return await _stream(load, request, handler)
    most, size = request.app[DEPS].config().limits.requests, _size(request)
    if load.requests >= most:
        raise _busy(f"{load.requests} requests are under way", "limits.requests")
    if size and load.bytes + size > BODY_BYTES:
        raise _busy("too many large requests are under way", "body")
    load.requests += 1
    load.bytes += size
    try:
        return await handler(request)
    finally:
        load.requests -= 1
        load.bytes -= size


async def _stream(load: Load, request: web.Request, handler: Handler) -> web.StreamResponse:
    if load.streams >= STREAMS:
        raise _busy(f"{load.streams} event streams are open", "GET /api/events")
    load.streams += 1
    try:
        return await handler(request)
    finally:
        load.streams -= 1


def _size(request: web.Request) -> int:
    """Bytes that its body may take; one that does not say so may be as large as any."""
    if request.content_length is not None and "Content-Encoding" not in request.headers:
        return min(request.content_length, request.client_max_size)  # beyond, it is refused
    return request.client_max_size if request.can_read_body else 0


def _busy(why: str, field: str) -> UnavailableError:
    return UnavailableError(
        f"waguard is busy: {why}", field=field, remedy="try again", retry_after=RETRY_AFTER
    )
