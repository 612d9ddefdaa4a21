"""/api/sessions/:id/qr: the code to be scanned, as JSON, PNG, SVG or text."""

import time
from typing import Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.errors import NotYetError, UnavailableError
from waguard.wire import qr
from waguard.wire.reports import QrCode

LONGEST_WAIT: Final = 50.0  # s; below the deadline of a request
REGENERATE_WAIT: Final = 20.0  # s; the application waits 30
_FORMATS: Final = {"json", "png", "svg", "raw"}
# for clients that say what they want in Accept; the first that they name counts
_ACCEPTED: Final = {
    "application/json": "json",
    "image/png": "png",
    "image/*": "png",
    "image/svg+xml": "svg",
    "text/plain": "raw",
    "*/*": "json",
}


async def show(request: web.Request) -> web.Response:
    """GET, POST …/qr."""
    session_id = fields.path_session(request)
    form = _format(request)
    wait = fields.seconds(request, "wait", most=LONGEST_WAIT)
    code = await _code(request, session_id, wait=wait)
    match form:
        case "png":
            return web.Response(body=qr.png(code.raw), content_type="image/png")
        case "svg":
            return web.Response(body=qr.svg(code.raw), content_type="image/svg+xml")
        case "raw":
            return web.Response(text=code.raw, content_type="text/plain")
        case _:
            return web.json_response(_shown(code))


async def regenerate(request: web.Request) -> web.Response:
    """POST …/regenerate-qr: a new code; starts a session that had given up."""
    session_id = fields.path_session(request)
    code = await _code(request, session_id, wait=REGENERATE_WAIT, refresh=True)
    return web.json_response({"success": True, **_shown(code)})


async def _code(
    request: web.Request, session_id: str, *, wait: float, refresh: bool = False
) -> QrCode:
    """The code. "Not yet" is 425 for who only looks; a 4xx would be final for the others."""
    try:
        return await request.app[DEPS].sessions.qr(session_id, wait=wait, refresh=refresh)
    except NotYetError as error:
        if request.method != "POST":
            raise
        raise UnavailableError(
            error.message, remedy=error.remedy, retry_after=error.retry_after
        ) from None


def _shown(code: QrCode) -> dict[str, object]:
    return {
        "qr_code": qr.data_url(code.raw),
        "raw": code.raw,
        "expires_in": max(0, round(code.expires_at - time.time())),
    }


def _format(request: web.Request) -> str:
    given = request.query.get("format")
    if given is None:
        kinds = (k.partition(";")[0].strip() for k in request.headers.get("Accept", "").split(","))
        return next((_ACCEPTED[kind] for kind in kinds if kind in _ACCEPTED), "json")
    if given not in _FORMATS:
        raise fields.bad("format", given, "unknown format", "json, png, svg or raw")
    return given
