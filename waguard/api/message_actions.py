"""What is done with messages and chats that are there: react, edit, delete for all; mark as seen, show typing."""

from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields, send_content
from waguard.api.deps import DEPS
from waguard.api.fields import ChatId, Kind, SessionId, Text, short
from waguard.api.messages import Outcomes, reply, session_for
from waguard.api.outbox import NUMBER, MessageId
from waguard.api.problems import no_message
from waguard.api.route import Done, route
from waguard.api.send_content import MESSAGE_ID, How, Once, Wanting
from waguard.core.keys import Right
from waguard.core.messages.send_states import ACTIONS
from waguard.messaging.outbox import commands
from waguard.ports.sessions import SessionView
from waguard.wire.calls import MarkSeen, ShowTyping

_REACTION_LIMIT = 64  # characters; an emoji has up to some thirty


def _state(value: Any, field: str) -> str:
    if value in ("typing", "recording", "paused"):
        return str(value)
    raise fields.bad(field, value, "no such state", "typing, recording or paused")


class React(Wanting, kw_only=True):
    """A reaction; empty: it is removed."""

    reaction: Annotated[str, Kind(short(_REACTION_LIMIT).read), Meta(max_length=_REACTION_LIMIT)]


class Edit(Wanting, kw_only=True):
    """The message's new text, or caption."""

    message: Text


class Typing(Struct, kw_only=True):
    """What the chat is shown."""

    state: Annotated[
        Literal["typing", "recording", "paused"],
        Kind(_state),
    ] = "typing"


@route(Right.SEND, 404, 409, 507)
async def react(
    request: web.Request,
    id: MessageId,  # noqa: A002 - its name in the path
    query: How,
    headers: Once,
    body: React,
) -> Outcomes:
    """React to a message."""
    return await _act(request, id, query, headers, body, "reaction", {"text": body.reaction})


@route(Right.SEND, 404, 409, 507)
async def edit(
    request: web.Request,
    id: MessageId,  # noqa: A002
    query: How,
    headers: Once,
    body: Edit,
) -> Outcomes:
    """Edit a message of ours."""
    return await _act(request, id, query, headers, body, "edit", {"text": body.message})


@route(Right.SEND, 404, 409, 507)
async def revoke(
    request: web.Request,
    id: MessageId,  # noqa: A002
    query: How,
    headers: Once,
    body: Wanting,
) -> Outcomes:
    """Delete a message for all."""
    return await _act(request, id, query, headers, body, "revoke", {})


@route(Right.SEND, 404, 409, 422)
async def mark_seen(request: web.Request, session_id: SessionId, chat_id: ChatId) -> Done:
    """Mark a chat as seen now."""
    await request.app[DEPS].sessions.call(session_id, MarkSeen(chat=chat_id), wait=0)
    return Done()


@route(Right.SEND, 404, 409, 422)
async def show_typing(
    request: web.Request, session_id: SessionId, chat_id: ChatId, body: Typing
) -> Done:
    """Show a chat that somebody types now."""
    call = ShowTyping(chat=chat_id, state=body.state)
    await request.app[DEPS].sessions.call(session_id, call, wait=0)
    return Done()


async def _act(
    request: web.Request,
    given: str,
    query: How,
    headers: Once,
    body: Wanting,
    kind: str,
    said: dict[str, Any],
) -> web.StreamResponse:
    how = send_content.options(body, query, headers)
    view = await session_for(request, body.session_id)
    target = await _target(request, given, view)
    chat = target.split("_")[1]
    return await reply(request, view, commands.action(chat, kind, target, said), how)


async def _target(request: web.Request, given: str, view: SessionView) -> str:
    """WhatsApp's id of the message."""
    if not NUMBER.fullmatch(given):
        if MESSAGE_ID.fullmatch(given):
            return given
        raise fields.bad("id", given, "not a message id", "waguard's number, or WhatsApp's id")
    row = await request.app[DEPS].outgoing.find(int(given))
    if row is None or row.session_id != view.session_id or row.kind in ACTIONS:
        raise no_message()
    return row.message_id
