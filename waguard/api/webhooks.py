"""A session's own receiver of webhooks, and the dead letters of all."""

import json
import re
import time
from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import BODY, DEPS
from waguard.core import outgoing_address as address
from waguard.core.webhooks.delivery import EVENTS, OLD_SERVICE, DeadLetterState, dead_letter_state
from waguard.errors import NotFoundError
from waguard.ports.webhooks import GLOBAL, DeadLetter, Endpoint

SECRET_LIMIT: Final = 1_000  # characters
SECRET_LENGTH: Final = 16  # characters; a shorter one could be guessed
LISTED: Final = 100  # dead letters at a time
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


async def show(request: web.Request) -> web.Response:
    """GET /api/sessions/:id/webhook. The secret is never shown."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    found = await request.app[DEPS].webhooks.endpoints.find(view.session_id)
    if found is None:
        raise NotFoundError("the session has no webhook of its own", remedy="set one by PUT")
    return web.json_response({"success": True} | _shown(found))


async def put(request: web.Request) -> web.Response:
    """PUT …/webhook ``{url, secret?, hold?, events?}``; without a secret its deliveries are not
    signed."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    body = request[BODY]
    url, secret = body.get("url"), fields.optional_text(body, "secret", most=SECRET_LIMIT)
    allow = request.app[DEPS].config().webhook.allow_private
    if not isinstance(url, str):
        raise fields.bad("url", url, "not an address", "http://host/… or https://host/…")
    if why := address.url_refusal(url, allow_private=allow):
        raise fields.bad("url", None, f"the address is refused: {why}", "use another address")
    if address.has_user(url):
        raise fields.bad("url", None, "it has a user or password", "use a secret instead")
    if secret is not None and (len(secret) < SECRET_LENGTH or not secret.isprintable()):
        raise fields.bad(
            "secret", None, "the secret cannot be used", f"{SECRET_LENGTH} printable characters"
        )
    endpoint = Endpoint(
        session_id=view.session_id, url=url, secret=secret, hold=_hold(body), events=_events(body)
    )
    await request.app[DEPS].webhooks.endpoints.put(endpoint)
    return web.json_response({"success": True} | _shown(endpoint))


async def delete(request: web.Request) -> web.Response:
    """DELETE …/webhook: what it still should have got are dead letters."""
    session_id = fields.path_session(request)
    if not await request.app[DEPS].webhooks.delete_endpoint(session_id):
        raise NotFoundError("the session has no webhook of its own")
    return web.json_response({"success": True, "session_id": session_id})


async def listing(request: web.Request) -> web.Response:
    """GET /api/webhooks/dead?session_id=&state=dead|uncertain|unidentified|undecryptable|stored&before=: the newest,
    without their bodies."""
    query = request.query
    given, state = query.get("session_id"), query.get("state")
    if state not in {None, *DeadLetterState}:
        raise fields.bad("state", state, "no such state", " or ".join(DeadLetterState))
    found = await request.app[DEPS].messages.dead(
        session_id=None if given is None else fields.session_id(given),
        state=None if state is None else DeadLetterState(state),
        before=_number(query["before"], "before") if "before" in query else None,
        limit=LISTED,
    )
    return web.json_response(
        {
            "success": True,
            "dead": [_letter(letter) for letter in found],
            "before": found[-1].id if len(found) == LISTED else None,
        }
    )


async def held(request: web.Request) -> web.Response:
    """GET /api/webhooks/held: chats whose next message waits until its session is connected."""
    found = sorted(request.app[DEPS].webhooks.queues.held(), key=lambda one: one.since)
    return web.json_response(
        {
            "success": True,
            "held": [
                {
                    "session_id": one.session_id,
                    "chat_id": one.partition,
                    "since": fields.iso(one.since),
                    "reason": one.why,
                }
                for one in found
            ],
        }
    )


async def discard_held(request: web.Request) -> web.Response:
    """POST /api/webhooks/held/discard ``{session_id}``: its received messages that wait are dead
    letters."""
    session_id = fields.session_id(request[BODY].get("session_id"))
    count = await request.app[DEPS].webhooks.dead_letters.add_session(
        session_id, "a person discarded what waited", before=time.time()
    )
    return web.json_response({"success": True, "discarded": count})


async def unidentified(request: web.Request) -> web.Response:
    """GET /api/webhooks/unidentified: private chats whose LID has no known number, the longest
    wait first."""
    found = await request.app[DEPS].messages.unidentified()
    return web.json_response(
        {
            "success": True,
            "unidentified": [
                {
                    "session_id": one.session_id,
                    "chat_id": one.chat,
                    "since": fields.iso(one.since),
                    "count": one.count,
                }
                for one in found
            ],
        }
    )


async def replay_unidentified(request: web.Request) -> web.Response:
    """POST …/replay ``{session_id, chat_id}``: deliver what waits there under the LID."""
    session_id, chat = _chat(request)
    count = await request.app[DEPS].webhooks.dead_letters.replay_unidentified(session_id, chat)
    if not count:
        raise _nothing_waits(chat)
    return web.json_response({"success": True, "replayed": count})


async def discard_unidentified(request: web.Request) -> web.Response:
    """POST …/discard ``{session_id, chat_id}``."""
    session_id, chat = _chat(request)
    count = await request.app[DEPS].messages.discard_unidentified(session_id, chat)
    if not count:
        raise _nothing_waits(chat)
    return web.json_response({"success": True, "discarded": count})


def _chat(request: web.Request) -> tuple[str, str]:
    body = request[BODY]
    session_id = fields.session_id(body.get("session_id"))
    return session_id, fields.chat_id(body.get("chat_id"), "chat_id")


def _nothing_waits(chat: str) -> NotFoundError:
    return NotFoundError(
        f"nothing waits for the number of {chat}", remedy="see GET /api/webhooks/unidentified"
    )


async def letter(request: web.Request) -> web.Response:
    """GET …/:number: one, with its body."""
    found = await _find(request)
    body = await request.app[DEPS].messages.body(found.id)
    if body is None:
        raise _no_such(found.id)
    return web.json_response({"success": True} | _letter(found) | {"body": json.loads(body)})


async def replay(request: web.Request) -> web.Response:
    """POST …/:number/replay: deliver it once more, before what waits in its chat."""
    number = _path_number(request)
    if not await request.app[DEPS].webhooks.dead_letters.replay(number):
        raise _no_such(number)
    return web.json_response({"success": True, "replayed": 1})


async def replay_all(request: web.Request) -> web.Response:
    """POST /api/webhooks/dead/replay."""
    count = await request.app[DEPS].webhooks.dead_letters.replay()
    return web.json_response({"success": True, "replayed": count})


async def discard(request: web.Request) -> web.Response:
    """DELETE …/:number."""
    number = _path_number(request)
    if not await request.app[DEPS].messages.discard(number):
        raise _no_such(number)
    return web.json_response({"success": True})


async def _find(request: web.Request) -> DeadLetter:
    number = _path_number(request)
    found = await request.app[DEPS].messages.dead_letter(number)
    if found is None:
        raise _no_such(number)
    return found


def _hold(body: dict[str, Any]) -> bool:
    hold = body.get("hold", True)
    if isinstance(hold, bool):
        return hold
    raise fields.bad("hold", hold, "invalid hold", "true or false")


def _events(body: dict[str, Any]) -> tuple[str, ...]:
    given = body.get("events")
    if given is None:
        return OLD_SERVICE
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise fields.bad("events", given, "not a list of events", f"names of {sorted(EVENTS)}")
    if unknown := sorted(set(given) - EVENTS):
        known = ", ".join(sorted(EVENTS))
        raise fields.bad("events", unknown[0], "there is no such event", f"known: {known}")
    return tuple(given)


def _path_number(request: web.Request) -> int:
    return _number(request.match_info["number"], "number")


def _number(text: str, field: str) -> int:
    if _NUMBER.fullmatch(text):
        return int(text)
    raise fields.bad(field, text, "not the number of a dead letter", "see GET /api/webhooks/dead")


def _no_such(number: int) -> NotFoundError:
    return NotFoundError(f"there is no dead letter {number}", remedy="see GET /api/webhooks/dead")


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "session_id": endpoint.session_id,
        "url": endpoint.url,
        "signed": endpoint.secret is not None,
        "hold": endpoint.hold,
        "events": list(endpoint.events),
    }


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "endpoint": "global" if letter.endpoint == GLOBAL else "session",
        "event": letter.event,
        "event_id": letter.event_id,
        "session_id": letter.session_id,
        "chat_id": letter.partition if "@" in letter.partition else None,
        "attempts": letter.attempts,
        "state": dead_letter_state(letter.cause),
        "cause": letter.cause,
        "error": letter.error,
        "created_at": fields.iso(letter.created_at),
        "died_at": fields.iso(letter.died_at),
        "size": letter.size,
    }
