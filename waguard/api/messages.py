"""/api/messages: send a text, a file or something else, and whether a session can."""

from functools import partial
from typing import Any, ClassVar

from aiohttp import web
from msgspec import UNSET, UnsetType

from waguard.api import contents, problems, send_content
from waguard.api.deps import CONFIRMATIONS, DEPS
from waguard.api.fields import SessionId, Text
from waguard.api.file_type import require_form
from waguard.api.local_socket import is_of_a_person
from waguard.api.route import Done, OfSession, json_reply, route
from waguard.api.send_content import How, Once, Sending, SendMedia, TextOnly
from waguard.core.keys import Right
from waguard.core.replace import replace
from waguard.messaging.outbox import commands
from waguard.messaging.outbox.commands import Command
from waguard.messaging.outbox.pending_sends import Options, PendingSend
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain
from waguard.ports.sessions import SessionView


class SendText(Sending, kw_only=True):
    """A text to send."""

    type: TextOnly | None = None
    message: Text


class Sent(Done, kw_only=True):
    """WhatsApp's server acknowledged the message."""

    message_id: str
    timestamp: int


class Accepted(Done, kw_only=True):
    """The message is kept and goes later."""

    STATUS: ClassVar[int] = 202
    id: int
    message_id: str
    status: str = "accepted"


class SendUncertain(Done, kw_only=True):
    """The message may have been sent: it must not be repeated. ``message_id`` null: the host that knows it is away."""

    STATUS: ClassVar[int] = 202
    success: bool = False
    outcome: str = "uncertain"
    message_id: str | None
    error: str
    remedy: str = "do not send it again; check the chat on the phone"


class SendRefused(Done, kw_only=True):
    """WhatsApp, or the page, refuses it."""

    STATUS: ClassVar[int] = 422
    success: bool = False
    outcome: str = "refused"
    error: str
    remedy: str
    field: str | UnsetType = UNSET


Outcomes = Sent | Accepted | SendUncertain | SendRefused | web.StreamResponse


@route(Right.SEND, 404, 409, 507)
async def send(request: web.Request, query: How, headers: Once, body: SendText) -> Outcomes:
    """Send a text."""
    command = commands.text(body.recipient_phone, body.message, send_content.context(body))
    how = send_content.options(body, query, headers)
    view = await session_for(request, body.session_id)
    return await reply(request, view, command, how)


@route(Right.SEND, 404, 409, 507)
async def send_location(
    request: web.Request, query: How, headers: Once, body: contents.SendLocation
) -> Outcomes:
    """Send a location."""
    return await _send_content(request, query, headers, body, "location", contents.location(body))


@route(Right.SEND, 404, 409, 507)
async def send_contact(
    request: web.Request, query: How, headers: Once, body: contents.SendContact
) -> Outcomes:
    """Send contact cards."""
    return await _send_content(request, query, headers, body, "contact", contents.contact(body))


@route(Right.SEND, 404, 409, 507)
async def send_poll(
    request: web.Request, query: How, headers: Once, body: contents.SendPoll
) -> Outcomes:
    """Send a poll."""
    return await _send_content(request, query, headers, body, "poll", contents.poll(body))


async def _send_content(
    request: web.Request, query: How, headers: Once, body: Sending, kind: str, said: dict[str, Any]
) -> web.StreamResponse:
    command = commands.content(body.recipient_phone, kind, said, send_content.context(body))
    how = send_content.options(body, query, headers)
    view = await session_for(request, body.session_id)
    return await reply(request, view, command, how)


@route(Right.SEND, 404, 409, 507)
async def send_media(request: web.Request, query: How, headers: Once, body: SendMedia) -> Outcomes:
    """Send a file."""
    deps, chat = request.app[DEPS], body.recipient_phone
    file = await send_content.file(body, deps.outgoing_files)
    media = send_content.media(file)
    if not file.url:
        require_form(media)
    context, how = send_content.context(body), send_content.options(body, query, headers)
    view = await session_for(request, body.session_id)

    async def fetch() -> Command:
        found = media
        if file.url:
            brought = await send_content.fetched(file, deps.fetcher, view.session_id)
            found = send_content.media(brought)
            require_form(found)
        if found.kind == "voice":
            found = await deps.voices.voice_note(found, file.name)
        return commands.file(chat, found, context)

    if file.url or media.kind == "voice":
        how = replace(how, scope=file.url or "", fetch=fetch)
    return await reply(request, view, commands.file(chat, media, context), how)


class Validity(OfSession, kw_only=True):
    """Whether a session can send."""

    can_send: bool
    is_healthy: bool
    status: str
    recommendations: list[str]


@route(Right.READ)
async def validate(request: web.Request, session_id: SessionId) -> Validity:
    """Whether a session can send."""
    view = await request.app[DEPS].sessions.view(session_id)
    can_send = view.status == "connected"
    advice = {
        "connected": [view.degraded] if view.degraded else [],
        "authenticated": ["wait: it is being paired"],
        "qr_scanning": ["scan its QR code"],
    }.get(view.status, [view.disconnect_details or "reconnect it"])
    return Validity(
        session_id=view.session_id,
        can_send=can_send,
        is_healthy=can_send and view.degraded is None,
        status=view.status,
        recommendations=advice,
    )


async def session_for(request: web.Request, session_id: str) -> SessionView:
    """What need not go at once can be accepted for one that no host has now."""
    return await request.app[DEPS].sessions.view(session_id, elsewhere=True)


async def reply(
    request: web.Request, view: SessionView, command: Command, how: Options
) -> web.StreamResponse:
    """Write the reply here, to know whether it could be written."""
    outbox, chat = request.app[DEPS].outbox, (view.session_id, command.chat)
    confirmations = None if how.key else request.app.get(CONFIRMATIONS)
    if confirmations:
        await confirmations.decided(chat)
    pending = outbox.accept(view.session_id, view.workspace_id, command, how)
    written = False
    try:
        response = _response(pending, await outbox.result(pending))
        confirmed = confirmations.expect(request, response, chat) if confirmations else None
        await response.prepare(request)
        await response.write_eof()  # raises ConnectionError where nobody is left to read it
        written = True
    finally:  # however this ends, also by a cancellation
        if not written:
            outbox.unanswered(pending)
    # after the reply: for a message_sent before it the application would store a second row
    answered = partial(outbox.answered, pending, direct=not is_of_a_person(request))
    if confirmed:
        confirmed.add_done_callback(
            lambda it: answered() if it.result() else outbox.unanswered(pending)
        )
    else:
        answered()
    return response


def _response(pending: PendingSend, outcome: Outcome | None) -> web.Response:
    match outcome:
        case None:
            return json_reply(Accepted(id=pending.id, message_id=pending.message_id))
        case Acked(message_id=message_id, timestamp=timestamp):
            return json_reply(Sent(message_id=message_id, timestamp=timestamp))
        case Refused(error):
            remedy = error.remedy or "change the message or the recipient; do not repeat it"
            field = error.field or UNSET
            return json_reply(SendRefused(error=error.message, remedy=remedy, field=field))
        case Uncertain(why):
            return json_reply(SendUncertain(message_id=pending.message_id, error=why))
        case NotSent(error):
            return problems.answer(error)
