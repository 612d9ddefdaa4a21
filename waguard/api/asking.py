"""What is asked of a session's page: its chats, people and groups. Every answer is the page's, and read strictly."""

from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.api.fields import Kind
from waguard.core.messages.naming import phone_of
from waguard.core.messages.people import People
from waguard.errors import WaguardError
from waguard.supervision.session.answers import uncertain
from waguard.wire.bounds import Chat, Count, Digits
from waguard.wire.calls import Ask, Value

TIMEOUT: Final = 15.0  # s for the page
CHANGE_TIMEOUT: Final = 30.0
LISTED: Final = 100
OFFSET_LIMIT: Final = 1_000_000
LISTED_AT_MOST: Final = 1_000

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item
P = TypeVar("P", bound="Person")


Offset = Annotated[int, Kind(fields.integer(0, OFFSET_LIMIT)), Meta(ge=0, le=OFFSET_LIMIT)]
Limit = Annotated[int, Kind(fields.integer(1, LISTED_AT_MOST)), Meta(ge=1, le=LISTED_AT_MOST)]


class Part(Struct, kw_only=True):
    """Which entries of a list."""

    offset: Offset = 0
    limit: Limit = LISTED

    def given(self) -> dict[str, int]:
        """For the page."""
        return {"offset": self.offset, "limit": self.limit}


class Found(Struct, Generic[I], kw_only=True):
    """A part of a list as the page says it; ``total`` is the length of the whole."""

    total: Count
    items: list[I]


class Person(Struct, kw_only=True):
    """``id`` is the page's; ``phone`` are the digits of the number that it belongs to, null: nobody knows them."""

    id: Chat
    phone: Digits | None


def named(found: list[P], people: People) -> list[P]:
    """With the numbers that waguard knows and the page does not."""
    return [
        msgspec.structs.replace(it, phone=it.phone or phone_of(people.number(it.id)))
        for it in found
    ]


async def ask(
    request: web.Request,
    session_id: str,
    name: str,
    *given: Any,
    into: type[T],
    changes: bool = False,
) -> T:
    """The page's answer. Raises ``WaguardError``: the page is away, busy, or says odd things; ``UncertainError`` for a
    change that it has answered with such."""
    value = await call(request, session_id, name, *given, changes=changes)
    try:
        return msgspec.json.decode(value.answer or "", type=into)
    except (ValueError, RecursionError):
        odd = "the page answered what cannot be read"
        raise (uncertain(odd) if changes else WaguardError(odd)) from None


async def call(
    request: web.Request, session_id: str, name: str, *given: Any, changes: bool = False
) -> Value:
    """As the worker read it."""
    question = Ask(
        name=name,
        given=msgspec.json.encode(given).decode(),
        timeout=CHANGE_TIMEOUT if changes else TIMEOUT,
        changes=changes,
    )
    return await request.app[DEPS].sessions.call(session_id, question, wait=0)


async def people_of(request: web.Request, session_id: str) -> People:
    """Whose LIDs are known; without the database nobody's, for the page knows most."""
    try:
        return await request.app[DEPS].messages.people(session_id)
    except WaguardError:
        return People()
