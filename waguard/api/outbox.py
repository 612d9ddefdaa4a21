"""/api/messages: what became of messages."""

import re
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from waguard.api import fields, rights
from waguard.api.deps import DEPS, SESSION
from waguard.api.fields import AS_IT_IS, Kind, Number, SessionId
from waguard.api.problems import no_message
from waguard.api.rights import Narrowing
from waguard.api.route import Done, Reply, route
from waguard.core.keys import Right
from waguard.core.messages.send_states import State
from waguard.ports.outbox import Outgoing

ID_LIMIT: Final = 200  # characters
LISTED: Final = 100
LISTED_AT_MOST: Final = 1_000
_BULK_ID: Final = re.compile(r"[0-9a-f-]{36}")
NUMBER: Final = re.compile(r"[0-9]{1,18}")


def _state(value: str, field: str) -> State:
    try:
        return State(value)
    except ValueError:
        raise fields.bad(field, value, "no such state", ", ".join(State)) from None


def _bulk_id(value: str, field: str) -> str:
    if _BULK_ID.fullmatch(value):
        return value
    raise fields.bad(field, value, "not the id of a bulk", "as bulk-send answered it")


def _limit(value: str, field: str) -> int:
    number = fields.number(value, field)
    if not 1 <= number <= LISTED_AT_MOST:
        raise fields.bad(field, value, "invalid limit", f"1 to {LISTED_AT_MOST}")
    return number


MessageId = Annotated[str, AS_IT_IS, Meta(description="waguard's number, or WhatsApp's id")]
BulkId = Annotated[str, Kind(_bulk_id), Meta(pattern="^[0-9a-f-]{36}$")]


class Wanted(Struct, kw_only=True):
    """Which messages."""

    session_id: SessionId | None = None
    state: Annotated[State, Kind(_state)] | None = None
    bulk_id: BulkId | None = None
    before: Number | None = None
    limit: Annotated[int, Kind(_limit), Meta(ge=1, le=LISTED_AT_MOST)] = LISTED


class Reader(Struct, kw_only=True):
    """A member of a group that has the message."""

    reader: str
    ack: int
    at: str


class Message(Reply, kw_only=True):
    """A message, and what became of it; ``success`` and ``readers`` where it is asked for alone."""

    success: bool | UnsetType = UNSET
    id: int
    session_id: str
    message_id: str
    to: str
    type: str
    status: State
    ack: int | None
    error: str | None
    attempts: int
    bulk_id: str | None
    send_at: str | None
    created_at: str
    updated_at: str
    readers: list[Reader] | UnsetType = UNSET


class Messages(Done, kw_only=True):
    """Messages; ``before`` asks for the next page."""

    messages: list[Message]
    before: int | None


class Cancelled(Done, kw_only=True):
    """The message is not sent."""

    id: int
    status: State


@route(Right.READ, narrows=Narrowing.OWN)
async def show(request: web.Request, id: MessageId) -> Message:  # noqa: A002 - its name in the path
    """One message, by waguard's number or WhatsApp's id."""
    row = await _find(request, id)
    found = await request.app[DEPS].outgoing.readers(row.session_id, row.message_id)
    readers = [Reader(reader=r.reader, ack=r.ack, at=fields.iso(r.at)) for r in found]
    return _shown(row, success=True, readers=readers)


@route(Right.READ, narrows=Narrowing.LIST)
async def listing(request: web.Request, query: Wanted) -> Messages:
    """List messages, the newest first."""
    found = await request.app[DEPS].outgoing.listing(
        sessions=[query.session_id] if query.session_id else await rights.sessions_seen(request),
        state=query.state,
        bulk_id=query.bulk_id,
        before=query.before,
        limit=query.limit,
    )
    return Messages(
        messages=[_shown(row) for row in found],
        before=found[-1].id if len(found) == query.limit else None,
    )


@route(Right.SEND, 409, narrows=Narrowing.OWN)
async def cancel(request: web.Request, id: MessageId) -> Cancelled:  # noqa: A002 - its name in the path
    """Cancel a message that has not begun."""
    row = await _find(request, id)
    request[SESSION] = row.session_id
    await request.app[DEPS].outbox.cancel(row)
    return Cancelled(id=row.id, status=State.CANCELLED)


async def _find(request: web.Request, given: str) -> Outgoing:
    outgoing = request.app[DEPS].outgoing
    if NUMBER.fullmatch(given):
        row = await outgoing.find(int(given))
    else:
        row = await outgoing.find_message(given[:ID_LIMIT])
    if row is None or not await rights.sees(request, row.session_id):
        raise no_message()
    return row


def _shown(row: Outgoing, **alone: Any) -> Message:
    return Message(
        id=row.id,
        session_id=row.session_id,
        message_id=row.message_id,
        to=row.chat,
        type=row.kind,
        status=row.state,
        ack=row.ack,
        error=row.error,
        attempts=row.attempts,
        bulk_id=row.bulk_id,
        send_at=None if row.send_at is None else fields.iso(row.send_at),
        created_at=fields.iso(row.created_at),
        updated_at=fields.iso(row.updated_at),
        **alone,
    )
