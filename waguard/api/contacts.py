"""/api/sessions/:id/contacts and numbers: who is in the page's address book, and whom WhatsApp knows."""

import re
import time
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.asking import Found, Part, Person, ask, named, people_of
from waguard.api.deps import DEPS
from waguard.api.fields import ChatId, Kind, SessionId
from waguard.api.route import OfSession, route
from waguard.core.keys import Right
from waguard.errors import UnavailableError
from waguard.wire.bounds import Chat, Name, Words

NUMBERS_LIMIT: Final = 20  # of one request
_NUMBERS: Final = rf"\+?[0-9]{{5,15}}(,\+?[0-9]{{5,15}}){{0,{NUMBERS_LIMIT - 1}}}"


def _numbers(value: Any, field: str) -> str:
    if re.fullmatch(_NUMBERS, value):
        return str(value)
    allowed = f"1 to {NUMBERS_LIMIT} numbers with the country code, separated by commas"
    raise fields.bad(field, value, "invalid numbers", allowed)


NumbersText = Annotated[
    str,
    Kind(_numbers),
    Meta(
        pattern=f"^{_NUMBERS}$", description="numbers, separated by commas", examples=["62812345"]
    ),
]


class Contact(Person, kw_only=True):
    """A person; ``name`` is the address book's, ``push_name`` their own."""

    name: Name | None
    push_name: Name | None
    is_my_contact: bool
    is_business: bool


class Contacts(OfSession, kw_only=True):
    """People whom the page knows, by id; ``total`` counts all."""

    total: int
    contacts: list[Contact]


@route(Right.READ, 409)
async def listing(request: web.Request, session_id: SessionId, query: Part) -> Contacts:
    """List the people whom the session's page knows; one may be there by number and by LID."""
    found = await ask(request, session_id, "contacts", query.given(), into=Found[Contact])
    contacts = named(found.items, await people_of(request, session_id))
    return Contacts(session_id=session_id, total=found.total, contacts=contacts)


class _PictureFound(Struct, kw_only=True):
    url: Words | None


class Picture(OfSession, kw_only=True):
    """The address of a picture at WhatsApp, which ends after some days; null: there is none, or it is not shown to us."""

    id: str
    url: str | None


@route(Right.READ, 404, 409)
async def picture(request: web.Request, session_id: SessionId, chat_id: ChatId) -> Picture:
    """The address of the profile picture of a person or a group whom the session's page knows."""
    ids = (await people_of(request, session_id)).aliases(chat_id)
    found = await ask(request, session_id, "picture", ids, into=_PictureFound)
    return Picture(session_id=session_id, id=chat_id, url=found.url)


class Checked(Struct, kw_only=True):
    """A number, and whether WhatsApp knows it; null: WhatsApp failed to say. ``asked`` false: it said so earlier."""

    number: str
    chat_id: str
    exists: bool | None
    asked: bool


class Numbers(OfSession, kw_only=True):
    """Each number once, in the order of the request."""

    numbers: list[Checked]


@route(Right.SEND, 409)
async def numbers(request: web.Request, session_id: SessionId, numbers: NumbersText) -> Numbers:
    """Whether numbers have WhatsApp.

    WhatsApp is asked for what it has not said of late, one number after the other: accounts that ask too much are banned.
    """
    chats = {fields.chat_id(one, "numbers"): one.removeprefix("+") for one in numbers.split(",")}
    await request.app[DEPS].sessions.view(session_id)
    people, now = await people_of(request, session_id), time.time()
    known = {chat: people.exists(chat, now) for chat in chats}
    unknown = [chat for chat, exists in known.items() if exists is None]
    if unknown:
        answers = list[tuple[Chat, bool | None]]
        known |= dict(await ask(request, session_id, "numbers", unknown, into=answers))
    if all(exists is None for exists in known.values()):
        raise UnavailableError("WhatsApp did not say whether it knows them", remedy="try again")
    return Numbers(
        session_id=session_id,
        numbers=[
            Checked(number=number, chat_id=chat, exists=known[chat], asked=chat in unknown)
            for chat, number in chats.items()
        ],
    )
