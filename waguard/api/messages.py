"""/api/messages: send a text or a file, and whether a session can."""

import base64
import mimetypes
import re
from typing import Any, Final

from aiohttp import web

from waguard.api import fields, problems
from waguard.api.deps import BODY, DEPS
from waguard.api.outbox import options
from waguard.errors import NotFoundError, RefusedError, UncertainError, WaguardError
from waguard.messaging import outbox as sends
from waguard.messaging.outbox import Media, Outbox
from waguard.messaging.tickets import Command, Options, Ticket
from waguard.ports import SessionView
from waguard.wire.protocol import Sent

MEDIA_LIMIT: Final = 16 << 20  # bytes; WhatsApp's own limit for pictures and videos
CAPTION_LIMIT: Final = 1_024
FILENAME_LIMIT: Final = 255
MIMETYPE_LIMIT: Final = 100
_MIMETYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.ASCII)
_KINDS: Final = {"image", "video", "audio", "document"}


async def send(request: web.Request) -> web.StreamResponse:
    """POST /api/messages/send."""
    body = request[BODY]
    session_id = fields.session_id(body.get("session_id"))
    kind = body.get("type")
    if kind is not None and kind != "text":
        raise fields.bad("type", kind, "only text here", "use /api/messages/send-media for a file")
    command = sends.text(fields.chat(body), fields.text(body, "message"))
    how = options(request, body)
    view = await _session(request, session_id, body)
    return await _reply(request, view, command, how)


async def send_media(request: web.Request) -> web.StreamResponse:
    """POST /api/messages/send-media."""
    body = request[BODY]
    session_id = fields.session_id(body.get("session_id"))
    command = sends.file(fields.chat(body), _media(body))
    how = options(request, body)
    view = await _session(request, session_id, body)
    return await _reply(request, view, command, how)


async def validate(request: web.Request) -> web.Response:
    """GET /api/messages/:session_id/validate."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    can_send = view.status == "connected"
    advice = {
        "connected": [view.degraded] if view.degraded else [],
        "authenticated": ["wait: it is being paired"],
        "qr_scanning": ["scan its QR code"],
    }.get(view.status, [view.disconnect_details or "reconnect it"])
    return web.json_response(
        {
            "success": True,
            "session_id": view.session_id,
            "can_send": can_send,
            "is_healthy": can_send and view.degraded is None,
            "status": view.status,
            "recommendations": advice,
        }
    )


async def _session(request: web.Request, session_id: str, body: dict[str, Any]) -> SessionView:
    """A session of another workspace does not exist for this caller."""
    given = body.get("workspace_id")
    wanted = None if given is None else fields.workspace_id(given)
    view = await request.app[DEPS].sessions.view(session_id)
    if wanted not in {None, view.workspace_id}:
        raise NotFoundError("Session not found")
    return view


async def _reply(
    request: web.Request, view: SessionView, command: Command, how: Options
) -> web.StreamResponse:
    """Write the reply here, to know whether it could be written; then tell the world."""
    outbox = request.app[DEPS].outbox
    ticket = outbox.accept(view.session_id, view.workspace_id, command, how)
    written = False
    try:
        outcome = await _outcome(outbox, ticket)
        response = _response(ticket, outcome)
        await response.prepare(request)
        await response.write_eof()  # raises ConnectionError where nobody is left to read it
        written = True
    finally:  # however this ends, also by a cancellation
        if not written:
            outbox.unanswered(ticket)
    if outbox.answered(ticket) and isinstance(outcome, Sent):
        # after the reply: the application would store a second row otherwise
        request.app[DEPS].events.publish(
            "message_sent", view.session_id, view.workspace_id, sends.sent_event(ticket, outcome)
        )
    return response


async def _outcome(outbox: Outbox, ticket: Ticket) -> Sent | WaguardError | None:
    try:
        return await outbox.result(ticket)
    except WaguardError as error:
        return error


def _response(ticket: Ticket, outcome: Sent | WaguardError | None) -> web.Response:
    match outcome:
        case None:
            told: dict[str, Any] = {
                "success": True,
                "id": ticket.id,
                "message_id": ticket.message_id,
                "status": "accepted",
            }
            return web.json_response(told, status=202)
        case Sent(message_id=message_id, timestamp=timestamp):
            told = {"success": True, "message_id": message_id, "timestamp": timestamp}
            return web.json_response(told)
        case RefusedError() as error:
            told = {"success": False, "outcome": "refused", "error": error.message}
            return web.json_response(told | _remedy(error), status=422)
        case UncertainError() as error:
            told = {
                "success": False,
                "outcome": "uncertain",
                "message_id": ticket.message_id,
                "error": error.message,
                "remedy": "do not send it again; look at the chat on the phone",
            }
            return web.json_response(told, status=202)
        case error:
            return problems.answer(error)


def _remedy(error: WaguardError) -> dict[str, str]:
    return {"remedy": error.remedy or "change the message or the recipient; do not repeat it"}


def _media(body: dict[str, Any]) -> Media:
    given, field = body.get("media"), "media"
    if given is None:
        given, field = body.get("media_url"), "media_url"
    if not isinstance(given, str) or not given:
        raise fields.bad(field, given, "no file", "a data: URL in media_url, or base64 in media")
    if given.startswith(("http://", "https://")):
        raise fields.bad(
            field,
            given,
            "files are not fetched from addresses",
            "send it as a data: URL or as base64 in media",
        )
    header = _DATA_URL.match(given)
    if field == "media_url" and not header:
        raise fields.bad(
            field, given, "not a data: URL with base64", "data:<type>;base64,<content>"
        )
    try:
        content = base64.b64decode(given[header.end() :] if header else given, validate=True)
    except ValueError:  # also of text that is not ASCII
        raise fields.bad(field, given, "not base64", "encode the file as standard base64") from None
    if not 0 < len(content) <= MEDIA_LIMIT:
        raise fields.bad(
            field, len(content), f"the file has {len(content)} bytes", f"1 to {MEDIA_LIMIT} bytes"
        )
    filename = fields.optional_text(body, "filename", most=FILENAME_LIMIT)
    if filename and not filename.isprintable():
        raise fields.bad(
            "filename", filename, "invalid filename", "a name without control characters"
        )
    mimetype = (header and header[1]) or _mimetype(body, filename)
    return Media(
        content=content,
        mimetype=mimetype,
        kind=_kind(body, mimetype),
        filename=filename,
        caption=fields.optional_text(body, "caption", most=CAPTION_LIMIT),
    )


def _mimetype(body: dict[str, Any], filename: str | None) -> str:
    given = fields.optional_text(body, "mimetype", most=MIMETYPE_LIMIT)
    if given and not _MIMETYPE.fullmatch(given):
        raise fields.bad("mimetype", given, "invalid mimetype", "such as image/png")
    return given or mimetypes.guess_type(filename or "")[0] or "application/octet-stream"


def _kind(body: dict[str, Any], mimetype: str) -> str:
    given = body.get("type")
    if given is None or given == "media":
        family = mimetype.partition("/")[0]
        return family if family in _KINDS else "document"
    if not isinstance(given, str) or given not in _KINDS:
        raise fields.bad("type", given, "unknown type", "image, video, audio or document")
    return given
