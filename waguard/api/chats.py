"""/api/sessions/:id/chats: the chats that the session's page has, and their messages there."""

from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.asking import Found, Part, Person, ask, call, named, people_of
from waguard.api.fields import ChatId, Kind, SessionId, short
from waguard.api.route import OfSession, route
from waguard.core.keys import Right
from waguard.core.messages.message_ids import canonical, parse
from waguard.core.messages.people import People
from waguard.supervision.session.application_events import inbound
from waguard.wire.bounds import AtSecond, Count, Name
from waguard.wire.events import InboundMessage

ID_LIMIT: Final = 256  # characters
MESSAGES: Final = 50
MESSAGES_AT_MOST: Final = 100


class Chat(Person, kw_only=True):
    """A chat; ``timestamp`` is that of its newest message, in unix time."""

    name: Name | None
    is_group: bool
    timestamp: AtSecond | None
    unread: Count
    archived: bool


class Chats(OfSession, kw_only=True):
    """Chats that the page has, the last active first; ``total`` counts all."""

    total: int
    chats: list[Chat]


@route(Right.READ, 409)
async def listing(request: web.Request, session_id: SessionId, query: Part) -> Chats:
    """List the session's chats, as its page has them."""
    found = await ask(request, session_id, "chats", query.given(), into=Found[Chat])
    chats = named(found.items, await people_of(request, session_id))
    return Chats(session_id=session_id, total=found.total, chats=chats)


class Place(Struct, kw_only=True):
    """Which messages: those before one of them (``before`` of the page before), else the newest."""

    before: Annotated[str, short(ID_LIMIT), Meta(max_length=ID_LIMIT)] | None = None
    limit: Annotated[
        int, Kind(fields.integer(1, MESSAGES_AT_MOST)), Meta(ge=1, le=MESSAGES_AT_MOST)
    ] = MESSAGES


class ChatMessages(OfSession, kw_only=True):
    """Messages as ``message_received`` has them, the newest first, without their files.

    ``before`` is for the next page; null: the page has no older ones. ``source``: the page, not waguard's inbox.
    """

    chat_id: str
    source: str = "page"
    messages: list[dict[str, Any]]
    before: str | None


@route(Right.READ, 404, 409)
async def messages(
    request: web.Request, session_id: SessionId, chat_id: ChatId, query: Place
) -> ChatMessages:
    """Messages of a chat, as far as the session's page has them."""
    people = await people_of(request, session_id)
    ids = people.aliases(chat_id)  # the page may not know whose LID it has
    found = await call(request, session_id, "messages", ids, query.before, query.limit)
    return ChatMessages(
        session_id=session_id,
        chat_id=chat_id,
        messages=[_shown(it, people) for it in found.messages],
        before=found.before,
    )


def _shown(message: InboundMessage, people: People) -> dict[str, Any]:
    """Under the ids that the application knows; ``raw_id`` is the page's own."""
    key = parse(message.id)
    known = msgspec.structs.replace(
        message,
        id=str(canonical(key, people)) if key else message.id,
        chat=people.number(message.chat),
        sender=people.number(message.sender),
    )
    shown: dict[str, Any] = inbound(known)["message"]
    return {**shown, "raw_id": message.id}
