"""The API's reference for people and programs: an OpenAPI document, and a page that shows it."""

from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from waguard.api.page import HEADERS, static
from waguard.api.route import route

DOCUMENT: Final = web.AppKey("document", list[bytes])
"""The document, where somebody has asked for it."""
SWAGGER: Final = Path(__file__).parent / "swagger/node_modules/swagger-ui-dist"


@route(None, media=("application/json",))
async def document(request: web.Request) -> web.Response:
    """Every route of this API, as OpenAPI 3.1."""
    made = request.app[DOCUMENT]
    if not made:
        # 12 ms, and 0.3 MB while it is made: only who is asked pays for it
        from waguard.api import openapi  # noqa: PLC0415

        made.append(msgspec.json.encode(openapi.document(request.app)))
    headers = {"Cache-Control": "no-cache"}
    return web.Response(body=made[0], content_type="application/json", headers=headers)


@route(None, media=("text/html",))
async def html(_: web.Request) -> web.Response:
    """The page that shows it."""
    return static("reference.html", "text/html")


@route(None, media=("text/javascript",))
async def script(_: web.Request) -> web.Response:
    """The page's own script."""
    return static("reference.js", "text/javascript")


@route(None, media=("text/javascript",))
async def bundle(_: web.Request) -> web.FileResponse:
    """The script that shows such documents, swagger-ui."""
    return web.FileResponse(SWAGGER / "swagger-ui-bundle.js", headers=HEADERS)


@route(None, media=("text/css",))
async def style(_: web.Request) -> web.FileResponse:
    """The style of swagger-ui."""
    return web.FileResponse(SWAGGER / "swagger-ui.css", headers=HEADERS)
