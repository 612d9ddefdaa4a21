"""/api/messages/bulk-send: a text to many, and how far it has come."""

from typing import Annotated, Any, ClassVar, Final

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields, rights
from waguard.api.deps import DEPS, SESSION
from waguard.api.fields import AS_IT_IS, ChatId, Kind, SessionId, Text, WorkspaceId
from waguard.api.messages import SendUncertain, session_for
from waguard.api.outbox import BulkId
from waguard.api.rights import Narrowing
from waguard.api.route import Done, Reply, read, route
from waguard.api.send_content import IdempotencyKey, Once, TextOnly, idempotency_key
from waguard.core.keys import Right
from waguard.core.messages.send_states import State
from waguard.errors import InvalidInputError
from waguard.messaging.outbox.bulk import LIMIT
from waguard.messaging.outbox.commands import text
from waguard.wire.calls import SendText

NAMED: Final = 20  # wrong recipients that an answer names
_OPEN: Final = frozenset({State.ACCEPTED, State.SENDING})


class Recipient(Struct, kw_only=True):
    """A chat, and the text that it gets."""

    recipient_phone: ChatId
    message: Text | None = None


def _list(value: Any, field: str) -> list[Any]:
    if isinstance(value, list) and 1 <= len(value) <= LIMIT:
        return value
    count = len(value) if isinstance(value, list) else value
    raise fields.bad(field, count, "not a list of recipients", f"a list of 1 to {LIMIT} recipients")


# the members are read one by one, to name all that are wrong
Recipients = Annotated[list[ChatId | Recipient], Kind(_list), Meta(min_length=1, max_length=LIMIT)]


class BulkSend(Struct, kw_only=True):
    """A text to many; ``message`` is for recipients without their own."""

    session_id: SessionId
    type: TextOnly | None = None
    recipients: Recipients
    message: Annotated[
        Any, AS_IT_IS, Meta(extra_json_schema={"type": ["string", "null"]}, examples=["Hello"])
    ] = None
    idempotency_key: IdempotencyKey | None = None
    workspace_id: WorkspaceId | None = None


class BulkAccepted(Done, kw_only=True):
    """They are kept, and go one after the other."""

    STATUS: ClassVar[int] = 202
    bulk_id: str
    total: int
    duplicates: int
    status: str = "accepted"


class Progress(Done, kw_only=True):
    """How many messages of a bulk are in each state, and whether it is done."""

    bulk_id: str
    total: int
    counts: dict[State, int]
    done: bool


class WrongRecipient(Struct, kw_only=True):
    """What is wrong with one of them."""

    index: int
    field: str | None
    error: str


class BulkRefused(Reply, kw_only=True):
    """Nothing is sent: who reads that sends the rest again, and nobody gets two."""

    STATUS: ClassVar[int] = 400
    error: str
    field: str | None
    remedy: str | None
    recipients: list[WrongRecipient]


@route(Right.SEND, 404)
async def send(
    request: web.Request, headers: Once, body: BulkSend
) -> BulkAccepted | BulkRefused | SendUncertain:
    """Send a text to many."""
    commands, wrong = _commands(body)
    key = idempotency_key(headers, body.idempotency_key)
    view = await session_for(request, body.session_id)
    if wrong:
        return _refused(wrong, len(commands) + len(wrong))
    once = list({(command.chat, command.text): command for command in commands}.values())
    bulk_id = await request.app[DEPS].bulks.accept(view.session_id, view.workspace_id, once, key)
    return BulkAccepted(bulk_id=bulk_id, total=len(once), duplicates=len(commands) - len(once))


@route(Right.READ, narrows=Narrowing.OWN)
async def show(request: web.Request, bulk_id: BulkId) -> Progress:
    """How far a bulk is."""
    return await _progress(request, bulk_id)


@route(Right.SEND, narrows=Narrowing.OWN)
async def cancel(request: web.Request, bulk_id: BulkId) -> Progress:
    """Cancel what has not begun."""
    bulks, seen = request.app[DEPS].bulks, await rights.sessions_seen(request)
    for row in await request.app[DEPS].outgoing.listing(bulk_id=bulk_id, limit=1):
        request[SESSION] = row.session_id
    await bulks.cancel(bulk_id, seen)
    return await _progress(request, bulk_id)


async def _progress(request: web.Request, bulk_id: str) -> Progress:
    counts = await request.app[DEPS].bulks.counts(bulk_id, await rights.sessions_seen(request))
    return Progress(
        bulk_id=bulk_id,
        total=sum(counts.values()),
        counts={state: counts.get(state, 0) for state in State},
        done=not _OPEN & counts.keys(),
    )


def _commands(body: BulkSend) -> tuple[list[SendText], list[tuple[int, InvalidInputError]]]:
    """A command for each recipient, and what is wrong with the others."""
    is_shared = any(_own_message(one) is None for one in body.recipients)
    shared = fields.text(body.message, "message") if is_shared else ""
    commands, wrong = [], []
    for index, one in enumerate(body.recipients):
        try:
            commands.append(_command(one, shared, f"recipients[{index}]"))
        except InvalidInputError as error:
            wrong.append((index, error))
    return commands, wrong


def _own_message(one: Any) -> Any:
    return one.get("message") if isinstance(one, dict) else None


def _command(one: Any, shared: str, name: str) -> SendText:
    """``one`` is a number, or a ``Recipient``."""
    if not isinstance(one, dict):
        return text(fields.chat_id(one, name), shared)
    found = read(one, Recipient, f"{name}.")
    return text(found.recipient_phone, shared if found.message is None else found.message)


def _refused(wrong: list[tuple[int, InvalidInputError]], total: int) -> BulkRefused:
    _, first = wrong[0]
    return BulkRefused(
        error=f"{len(wrong)} of {total} recipients cannot be used: {first.message}",
        field=first.field,
        remedy=first.remedy,
        recipients=[
            WrongRecipient(index=index, field=error.field, error=error.message)
            for index, error in wrong[:NAMED]
        ],
    )
