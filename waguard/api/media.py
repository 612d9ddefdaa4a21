"""GET /api/media/:sha256: a file that was received."""

import asyncio
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from waguard.api import scope
from waguard.api.deps import DEPS
from waguard.api.fields import AS_IT_IS
from waguard.api.route import route
from waguard.api.scope import Narrowing
from waguard.core.keys import Right
from waguard.errors import NotFoundError

Sha256 = Annotated[str, AS_IT_IS, Meta(pattern="^[0-9a-f]{64}$")]


@route(Right.READ, media=("*/*",), narrows=Narrowing.OWN)
async def show(request: web.Request, sha256: Sha256) -> web.StreamResponse:
    """A received file, to be saved.

    Whoever sent it chose its type: it is never shown in a browser, only saved.
    """
    # first, so that nobody can time whether another session has the file
    names = await scope.sessions_seen(request)
    own = names is None or await request.app[DEPS].messages.has_file(sha256, names)
    found = await asyncio.to_thread(request.app[DEPS].media.find, sha256)
    if found is None or not own:
        raise NotFoundError(
            "there is no such file", remedy="it may be too old: see media.keep_days"
        )
    path, mimetype = found
    headers = {"Content-Type": mimetype, "Content-Disposition": "attachment"}
    return web.FileResponse(path, headers=headers)
