"""The API's reference for people and programs: an OpenAPI document, and a page that shows it."""

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from loguru import logger

from waguard.api.limits import Share
from waguard.api.page import HEADERS, static
from waguard.api.route import route
from waguard.api.timings import TIMINGS

DOCUMENT: Final = web.AppKey("document", list[bytes])
"""The document, where somebody has asked for it."""
READERS: Final = web.AppKey("readers", Share)
"""Those of the large files below."""
AT_ONCE: Final = 8
PIECE: Final = 64 << 10  # bytes
SWAGGER: Final = Path(__file__).parent / "swagger/node_modules/swagger-ui-dist"


@route(None, 503, media=("application/json",))
async def document(request: web.Request) -> web.StreamResponse:
    """Every route of this API, as OpenAPI 3.1."""
    made = request.app[DOCUMENT]
    if not made:
        # 12 ms and 0.3 MB, of an installed service 280 ms and 4.6 MB: only who is asked pays for it
        from waguard.api import openapi  # noqa: PLC0415

        made.append(msgspec.json.encode(await asyncio.to_thread(openapi.document, request.app)))
    with _place(request):
        return await _large(request, made[0], "application/json")


@route(None, media=("text/html",))
async def html(request: web.Request) -> web.Response:
    """The page that shows it."""
    return static(request, "reference.html")


@route(None, media=("text/javascript",))
async def script(request: web.Request) -> web.Response:
    """The page's own script."""
    return static(request, "reference.js")


@route(None, 503, media=("text/javascript",))
async def bundle(request: web.Request) -> web.StreamResponse:
    """The script that shows such documents, swagger-ui."""
    return await _packed(request, "swagger-ui-bundle.js", "text/javascript")


@route(None, 503, media=("text/css",))
async def style(request: web.Request) -> web.StreamResponse:
    """The style of swagger-ui."""
    return await _packed(request, "swagger-ui.css", "text/css")


async def _packed(request: web.Request, name: str, kind: str) -> web.StreamResponse:
    with _place(request):  # before it is read: each reader keeps the whole
        content = await asyncio.to_thread((SWAGGER / name).read_bytes)
        return await _large(request, content, kind)


def _place(request: web.Request) -> AbstractContextManager[None]:
    return request.app[READERS].place(AT_ONCE, f"GET {request.path}")


async def _large(request: web.Request, content: bytes, kind: str) -> web.StreamResponse:
    """Write what no buffer takes at once in pieces: who has no key and does not read is to keep neither memory nor
    a connection."""
    response = web.StreamResponse(headers=HEADERS)
    response.content_type, response.content_length = kind, len(content)
    try:
        async with asyncio.timeout(request.app[TIMINGS].request):
            await response.prepare(request)
            if request.method != "HEAD":
                for begin in range(0, len(content), PIECE):
                    await response.write(content[begin : begin + PIECE])
            await response.write_eof()
    except TimeoutError:
        logger.debug("a client that does not read {} is disconnected", request.path)
        if request.transport:
            request.transport.abort()
    return response
