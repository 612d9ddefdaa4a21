"""GET /api/media/:sha256: a file that was received."""

import asyncio

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.errors import NotFoundError


async def show(request: web.Request) -> web.StreamResponse:
    """Whoever sent it chose its type: it is never shown in a browser, only saved."""
    name = request.match_info["sha256"]
    found = await asyncio.to_thread(request.app[DEPS].media.find, name)
    if found is None:
        raise NotFoundError(
            "there is no such file", remedy="it may be too old: see media.keep_days"
        )
    path, mimetype = found
    headers = {"Content-Type": mimetype, "Content-Disposition": "attachment"}
    return web.FileResponse(path, headers=headers)
