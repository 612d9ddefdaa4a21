"""/api/sessions/:id/qr: the code to be scanned, as JSON, PNG, SVG or text."""

import time
from typing import Annotated, Final

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.api.fields import Kind, SessionId
from waguard.api.route import Reply, route
from waguard.core.keys import Right
from waguard.errors import NotYetError, UnavailableError
from waguard.wire import qr
from waguard.wire.reports import QrCode

LONGEST_WAIT: Final = 50.0  # s; below the deadline of a request
REGENERATE_WAIT: Final = 20.0  # s; the application waits 30
_FORMATS: Final = ["json", "png", "svg", "raw"]
# for clients that say what they want in Accept; the first that they name counts
_ACCEPTED: Final = {
    "application/json": "json",
    "image/png": "png",
    "image/*": "png",
    "image/svg+xml": "svg",
    "text/plain": "raw",
    "*/*": "json",
}


def _format(value: str, field: str) -> str:
    if value in _FORMATS:
        return value
    raise fields.bad(field, value, "unknown format", "json, png, svg or raw")


class Wish(Struct, kw_only=True):
    """The form, by default that of Accept; and how many seconds the code is waited for."""

    format: Annotated[str, Kind(_format), Meta(extra_json_schema={"enum": _FORMATS})] | None = None
    wait: Annotated[
        float, Kind(fields.seconds(LONGEST_WAIT)), Meta(ge=0, extra_json_schema={"maximum": 9999})
    ] = 0.0


class Code(Reply, kw_only=True):
    """The code as a data URL of a PNG and as text, and the seconds for which it counts."""

    success: bool | UnsetType = UNSET
    qr_code: str
    raw: str
    expires_in: int


@route(Right.OPERATE, 409, 425, media=("image/png", "image/svg+xml", "text/plain"))
async def show(request: web.Request, session_id: SessionId, query: Wish) -> Code | web.Response:
    """The QR code.

    POST: 503 instead of 425 while there is none.
    """
    form = query.format or _accepted(request)
    code = await _code(request, session_id, wait=query.wait)
    match form:
        case "png":
            return web.Response(body=qr.png(code.raw), content_type="image/png")
        case "svg":
            return web.Response(body=qr.svg(code.raw), content_type="image/svg+xml")
        case "raw":
            return web.Response(text=code.raw, content_type="text/plain")
        case _:
            return _shown(code)


@route(Right.OPERATE, 409)
async def regenerate(request: web.Request, session_id: SessionId) -> Code:
    """A new code; starts a session that had given up."""
    code = await _code(request, session_id, wait=REGENERATE_WAIT, refresh=True)
    return _shown(code, success=True)


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


def _shown(code: QrCode, *, success: bool | UnsetType = UNSET) -> Code:
    return Code(
        success=success,
        qr_code=qr.data_url(code.raw),
        raw=code.raw,
        expires_in=max(0, round(code.expires_at - time.time())),
    )


def _accepted(request: web.Request) -> str:
    kinds = (k.partition(";")[0].strip() for k in request.headers.get("Accept", "").split(","))
    return next((_ACCEPTED[kind] for kind in kinds if kind in _ACCEPTED), "json")
