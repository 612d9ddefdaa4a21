"""/api/sessions/:id/passkey: a linking that WhatsApp confirms with the account's passkey, which a browser elsewhere has.

The options of the page's request stand in the reply to ``start`` and nowhere else.
"""

from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.auth import caller
from waguard.api.deps import BODY, DEPS
from waguard.errors import InvalidInputError
from waguard.ports.passkeys import PasskeyView

REQUEST_LIMIT: Final = 128  # characters
CODE_LIMIT: Final = 32


async def show(request: web.Request) -> web.Response:
    """GET: how far it is."""
    return await _shown(request)


async def start(request: web.Request) -> web.Response:
    """POST …/start: have the page ask, and hold its request; again: the one that is held."""
    session_id, passkeys = fields.path_session(request), request.app[DEPS].passkeys
    started = await passkeys.start(session_id, by=caller(request))
    return web.json_response(
        {
            "success": True,
            "session_id": session_id,
            "request": started.request,
            "options": started.options,
            "expires_in": round(started.expires_in),
        }
    )


async def answer(request: web.Request) -> web.Response:
    """POST …/answer ``{"request", "assertion"}``: give the page what the passkey signed."""
    session_id, body = fields.path_session(request), request[BODY]
    name = _text(body, "request", REQUEST_LIMIT)
    passkeys, assertion = request.app[DEPS].passkeys, body.get("assertion")
    await passkeys.answer(session_id, name, assertion, by=caller(request))
    return await _shown(request, status=202)


async def confirm(request: web.Request) -> web.Response:
    """POST …/confirm ``{"code"}``: the phone shows the same code as the page."""
    session_id, code = fields.path_session(request), _text(request[BODY], "code", CODE_LIMIT)
    await request.app[DEPS].passkeys.confirm(session_id, code, by=caller(request))
    return await _shown(request, status=202)


async def cancel(request: web.Request) -> web.Response:
    """DELETE ``{"request"}``, which may be missing: refuse the request that is held."""
    session_id, body = fields.path_session(request), request[BODY]
    name = _text(body, "request", REQUEST_LIMIT) if "request" in body else None
    await request.app[DEPS].passkeys.cancel(session_id, name, by=caller(request))
    return await _shown(request)


def _text(body: dict[str, Any], field: str, most: int) -> str:
    """What is sent in a wrong place may be an answer: it is not quoted."""
    value = body.get(field)
    if isinstance(value, str) and 0 < len(value) <= most:
        return value
    raise InvalidInputError(
        f"{field} is missing or no text", field=field, remedy=f"send 1 to {most} characters"
    )


async def _shown(request: web.Request, *, status: int = 200) -> web.Response:
    session_id = fields.path_session(request)
    view = await request.app[DEPS].passkeys.view(session_id)
    body = {"success": True, "session_id": session_id, **shown(view)}
    return web.json_response(body, status=status)


def shown(view: PasskeyView) -> dict[str, Any]:
    """The linking's stage, and for how long that lasts."""
    return {
        "stage": None if view.stage is None else str(view.stage),
        "until": _moment(view.until),
        "expires_in": None if view.expires_in is None else round(view.expires_in),
        "unattended_until": _moment(view.unattended_until),
        "code": view.code,
        "error": view.error,
    }


def _moment(at: float | None) -> str | None:
    return None if at is None else fields.iso(round(at))
