"""Dead letters, and webhooks that wait."""

import json
import time
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from waguard.api import fields, rights
from waguard.api.deps import DEPS, SESSION
from waguard.api.fields import ChatId, Kind, SessionId
from waguard.api.rights import Narrowing
from waguard.api.route import Done, Reply, route
from waguard.core.keys import Right
from waguard.core.webhooks.delivery import QR_CODE, DeadLetterState, dead_letter_state
from waguard.errors import InvalidInputError, NotFoundError, UnavailableError
from waguard.ports import webhooks
from waguard.ports.webhooks import GLOBAL

LISTED: Final = 100  # dead letters at a time
RETRY_AFTER: Final = 5.0  # s
_LISTS: Final = "see `waguard webhooks list` (GET /api/webhooks/dead)"


def _state(value: str, field: str) -> DeadLetterState:
    if value in {*DeadLetterState}:
        return DeadLetterState(value)
    raise fields.bad(field, value, "no such state", " or ".join(DeadLetterState))


def _number(value: str, field: str) -> int:
    try:
        return fields.number(value, field)
    except InvalidInputError:
        wrong = "not the number of a dead letter"
        raise fields.bad(field, value, wrong, _LISTS) from None


Number = Annotated[int, Kind(_number), Meta(ge=0, le=10**18 - 1)]


class WantedLetters(Struct, kw_only=True):
    """Which dead letters."""

    state: Annotated[DeadLetterState, Kind(_state)] | None = None
    session_id: SessionId | None = None
    before: Number | None = None


class DeadLetter(Reply, kw_only=True):
    """A webhook that was given up; ``success`` and ``body`` where it is asked for alone."""

    success: bool | UnsetType = UNSET
    id: int
    endpoint: str
    event: str
    event_id: str
    session_id: str
    chat_id: str | None
    attempts: int
    state: DeadLetterState
    cause: str | None
    error: str
    created_at: str
    died_at: str
    size: int
    body: Any = UNSET


class DeadLetters(Done, kw_only=True):
    """Dead letters, the newest first; ``before`` asks for the next page."""

    dead: list[DeadLetter]
    before: int | None


@route(Right.READ, narrows=Narrowing.LIST)
async def listing(request: web.Request, query: WantedLetters) -> DeadLetters:
    """List dead letters, without their bodies."""
    sessions = [query.session_id] if query.session_id else await rights.sessions_seen(request)
    found = await request.app[DEPS].messages.dead(
        sessions=sessions, state=query.state, before=query.before, limit=LISTED
    )
    before = found[-1].id if len(found) == LISTED else None
    return DeadLetters(dead=[_letter(it) for it in found], before=before)


@route(Right.READ, narrows=Narrowing.OWN)
async def letter(request: web.Request, number: Number) -> DeadLetter:
    """One dead letter, with its body."""
    found = await _own(request, number)
    body = await request.app[DEPS].messages.body(number, found.event_id, pending=False)
    if body is None:
        raise _no_such(number)
    if found.event == QR_CODE:
        rights.require_right(request, Right.OPERATE)
    return _letter(found, success=True, body=json.loads(body))


class Replayed(Done, kw_only=True):
    """How many are delivered again."""

    replayed: int


@route(Right.OPERATE, 409, narrows=Narrowing.OWN)
async def replay(request: web.Request, number: Number) -> Replayed:
    """Deliver a dead letter once more, before what waits in its chat."""
    await _own(request, number)
    if not await request.app[DEPS].webhooks.dead_letters.replay(number):
        raise _no_such(number)
    return Replayed(replayed=1)


@route(Right.OPERATE)
async def replay_all(request: web.Request) -> Replayed:
    """Deliver all dead letters again, but uncertain and restored ones."""
    return Replayed(replayed=await request.app[DEPS].webhooks.dead_letters.replay())


@route(Right.OPERATE, narrows=Narrowing.OWN)
async def discard(request: web.Request, number: Number) -> Done:
    """Discard a dead letter."""
    await _own(request, number)
    if not await request.app[DEPS].messages.discard(number):
        raise _no_such(number)
    return Done()


class HeldChat(Struct, kw_only=True):
    """A chat whose next message waits."""

    session_id: str
    chat_id: str
    since: str
    reason: str


class Held(Done, kw_only=True):
    """Chats whose received messages wait until their session is connected."""

    held: list[HeldChat]


@route(Right.READ, narrows=Narrowing.LIST)
async def held(request: web.Request) -> Held:
    """Chats whose received messages wait for their session."""
    names, deps = await rights.sessions_seen(request), request.app[DEPS]
    if not deps.webhooks.endpoints.is_loaded:
        raise UnavailableError(
            "what waits has not been read yet",
            remedy="repeat it; `waguard status` shows whether the database answers",
            retry_after=RETRY_AFTER,
        )
    found = sorted(deps.webhooks.queues.held(), key=lambda one: one.since)
    return Held(
        held=[
            HeldChat(
                session_id=one.session_id,
                chat_id=one.partition,
                since=fields.iso(one.since),
                reason=one.why,
            )
            for one in found
            if rights.within(names, one.session_id)
        ]
    )


class ThisSession(Struct, kw_only=True):
    """Which session."""

    session_id: SessionId


class Discarded(Done, kw_only=True):
    """How many are not delivered."""

    discarded: int


@route(Right.OPERATE)
async def discard_held(request: web.Request, body: ThisSession) -> Discarded:
    """Make dead letters of a session's received messages that wait."""
    request[SESSION] = body.session_id
    count = await request.app[DEPS].webhooks.dead_letters.add_session(
        body.session_id, "a person discarded what waited", before=time.time()
    )
    return Discarded(discarded=count)


class UnidentifiedChat(Struct, kw_only=True):
    """A private chat whose LID has no known number, and how many webhooks wait there."""

    session_id: str
    chat_id: str
    since: str
    count: int


class Unidentified(Done, kw_only=True):
    """Those chats, the longest wait first."""

    unidentified: list[UnidentifiedChat]


@route(Right.READ, narrows=Narrowing.LIST)
async def unidentified(request: web.Request) -> Unidentified:
    """Private chats whose LID has no known number."""
    names = await rights.sessions_seen(request)
    found = await request.app[DEPS].messages.unidentified()
    return Unidentified(
        unidentified=[
            UnidentifiedChat(
                session_id=one.session_id,
                chat_id=one.chat,
                since=fields.iso(one.since),
                count=one.count,
            )
            for one in found
            if rights.within(names, one.session_id)
        ]
    )


class ThisChat(ThisSession, kw_only=True):
    """Which chat."""

    chat_id: ChatId


@route(Right.OPERATE, 404, 409)
async def replay_unidentified(request: web.Request, body: ThisChat) -> Replayed:
    """Deliver what waits in such a chat under the LID."""
    request[SESSION] = body.session_id
    letters = request.app[DEPS].webhooks.dead_letters
    count = await letters.replay_unidentified(body.session_id, body.chat_id)
    return Replayed(replayed=_some(count, body.chat_id))


@route(Right.OPERATE, 404)
async def discard_unidentified(request: web.Request, body: ThisChat) -> Discarded:
    """Delete what waits in such a chat."""
    request[SESSION] = body.session_id
    messages = request.app[DEPS].messages
    count = await messages.discard_unidentified(body.session_id, body.chat_id)
    return Discarded(discarded=_some(count, body.chat_id))


async def _own(request: web.Request, number: int) -> webhooks.DeadLetter:
    """The dead letter, where the caller sees its session. Raises ``NotFoundError``."""
    found = await request.app[DEPS].messages.dead_letter(number)
    if found is None or not await rights.sees(request, found.session_id):
        raise _no_such(number)
    request[SESSION] = found.session_id
    return found


def _some(count: int, chat: str) -> int:
    if count:
        return count
    raise NotFoundError(
        f"nothing waits for the number of {chat}",
        remedy="see `waguard webhooks unidentified` (GET /api/webhooks/unidentified)",
    )


def _no_such(number: int) -> NotFoundError:
    return NotFoundError(f"there is no dead letter {number}", field="number", remedy=_LISTS)


def _letter(letter: webhooks.DeadLetter, **alone: Any) -> DeadLetter:
    return DeadLetter(
        id=letter.id,
        endpoint="global" if letter.endpoint == GLOBAL else "session",
        event=letter.event,
        event_id=letter.event_id,
        session_id=letter.session_id,
        chat_id=letter.partition if "@" in letter.partition else None,
        attempts=letter.attempts,
        state=dead_letter_state(letter.cause),
        cause=letter.cause,
        error=letter.error,
        created_at=fields.iso(letter.created_at),
        died_at=fields.iso(letter.died_at),
        size=letter.size,
        **alone,
    )
