"""/api/messages: send a text or a file, and whether a session can."""

from dataclasses import replace
from typing import Any

from aiohttp import web

from waguard.api import content, fields, problems
from waguard.api.deps import BODY, DEPS
from waguard.api.local import is_trusted
from waguard.api.outbox import options
from waguard.errors import NotFoundError, WaguardError
from waguard.messaging.outbox import commands
from waguard.messaging.outbox.commands import Command
from waguard.messaging.outbox.pending_sends import Options, PendingSend
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain
from waguard.ports.sessions import SessionView


async def send(request: web.Request) -> web.StreamResponse:
    """POST /api/messages/send."""
    body = request[BODY]
    session_id = fields.session_id(body.get("session_id"))
    text_only(body)
    chat, text = fields.chat(body), fields.text(body, "message")
    command = commands.text(chat, text, content.context(body, chat))
    how = options(request, body)
    view = await session_for(request, session_id, body)
    return await _reply(request, view, command, how)


async def send_media(request: web.Request) -> web.StreamResponse:
    """POST /api/messages/send-media."""
    body = request[BODY]
    session_id = fields.session_id(body.get("session_id"))
    chat, file = fields.chat(body), content.file(body)
    context, how = content.context(body, chat), options(request, body)
    view = await session_for(request, session_id, body)

    async def fetch() -> Command:
        found = await content.fetched(file, request.app[DEPS].fetcher)
        return commands.file(chat, content.media(found), context)

    if file.url:
        how = replace(how, scope=file.url, fetch=fetch)
    return await _reply(request, view, commands.file(chat, content.media(file), context), how)


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


def text_only(body: dict[str, Any]) -> None:
    """Raises ``InvalidInputError`` for a request that wants to send something else."""
    kind = body.get("type")
    if kind is not None and kind != "text":
        raise fields.bad("type", kind, "only text here", "use /api/messages/send-media for a file")


async def session_for(request: web.Request, session_id: str, body: dict[str, Any]) -> SessionView:
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
    """Write the reply here, to know whether it could be written."""
    outbox = request.app[DEPS].outbox
    pending = outbox.accept(view.session_id, view.workspace_id, command, how)
    written = False
    try:
        response = _response(pending, await outbox.result(pending))
        await response.prepare(request)
        await response.write_eof()  # raises ConnectionError where nobody is left to read it
        written = True
    finally:  # however this ends, also by a cancellation
        if not written:
            outbox.unanswered(pending)
    # after the reply: for a message_sent before it the application would store a second row
    outbox.answered(pending, direct=not is_trusted(request))
    return response


def _response(pending: PendingSend, outcome: Outcome | None) -> web.Response:
    match outcome:
        case None:
            body: dict[str, Any] = {
                "success": True,
                "id": pending.id,
                "message_id": pending.message_id,
                "status": "accepted",
            }
            return web.json_response(body, status=202)
        case Acked(message_id=message_id, timestamp=timestamp):
            body = {"success": True, "message_id": message_id, "timestamp": timestamp}
            return web.json_response(body)
        case Refused(error):
            body = {"success": False, "outcome": "refused", "error": error.message}
            return web.json_response(body | _advice(error), status=422)
        case Uncertain(why):
            body = {
                "success": False,
                "outcome": "uncertain",
                "message_id": pending.message_id,
                "error": why,
                "remedy": "do not send it again; check the chat on the phone",
            }
            return web.json_response(body, status=202)
        case NotSent(error):
            return problems.answer(error)


def _advice(error: WaguardError) -> dict[str, str]:
    remedy = error.remedy or "change the message or the recipient; do not repeat it"
    return {"remedy": remedy} | ({"field": error.field} if error.field else {})
