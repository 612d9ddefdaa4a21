"""/api/messages: what became of messages; and what a request says of how its own is to be sent."""

import re
import time
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.core.messages.send_states import State
from waguard.errors import InvalidInputError, NotFoundError
from waguard.messaging.outbox.pending_sends import Options
from waguard.ports.outbox import Outgoing

KEY_LIMIT: Final = 200  # characters
LISTED: Final = 100
LISTED_AT_MOST: Final = 1_000
FARTHEST: Final = 366 * 86_400.0  # s
_UNIX_LIMIT: Final = 1e11  # s; more are milliseconds
_BULK_ID: Final = re.compile(r"[0-9a-f-]{36}")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_YES: Final = frozenset({"1", "true"})
_NO: Final = frozenset({"", "0", "false"})


def options(request: web.Request, body: dict[str, Any]) -> Options:
    """Read the options of a request to send."""
    return Options(
        key=idempotency_key(request, body),
        later=_flag(request, body, "async"),
        queue=_flag(request, body, "queue"),
        send_at=_send_at(body),
    )


async def show(request: web.Request) -> web.Response:
    """GET /api/messages/:id: waguard's number, or WhatsApp's id."""
    row = await _find(request)
    found = await request.app[DEPS].outgoing.readers(row.session_id, row.message_id)
    readers = [{"reader": r.reader, "ack": r.ack, "at": fields.iso(r.at)} for r in found]
    return web.json_response({"success": True} | _shown(row) | {"readers": readers})


async def listing(request: web.Request) -> web.Response:
    """GET /api/messages?session_id=&state=&bulk_id=&before=&limit=: the newest first."""
    query = request.query
    session_id, limit = query.get("session_id"), _limit(query.get("limit"))
    found = await request.app[DEPS].outgoing.listing(
        session_id=None if session_id is None else fields.session_id(session_id),
        state=_state(query["state"]) if "state" in query else None,
        bulk_id=_bulk_id(query["bulk_id"]) if "bulk_id" in query else None,
        before=_number(query["before"], "before") if "before" in query else None,
        limit=limit,
    )
    return web.json_response(
        {
            "success": True,
            "messages": [_shown(row) for row in found],
            "before": found[-1].id if len(found) == limit else None,
        }
    )


async def cancel(request: web.Request) -> web.Response:
    """POST …/:id/cancel: what has not begun."""
    row = await _find(request)
    await request.app[DEPS].outbox.cancel(row)
    return web.json_response({"success": True, "id": row.id, "status": State.CANCELLED})


async def _find(request: web.Request) -> Outgoing:
    given, outgoing = request.match_info["id"], request.app[DEPS].outgoing
    if _NUMBER.fullmatch(given):
        row = await outgoing.find(int(given))
    else:
        row = await outgoing.find_message(given[:KEY_LIMIT])
    if row is None:
        raise NotFoundError("there is no such message", remedy="see GET /api/messages")
    return row


def _shown(row: Outgoing) -> dict[str, Any]:
    return {
        "id": row.id,
        "session_id": row.session_id,
        "message_id": row.message_id,
        "to": row.chat,
        "type": row.kind,
        "status": row.state,
        "ack": row.ack,
        "error": row.error,
        "attempts": row.attempts,
        "bulk_id": row.bulk_id,
        "send_at": None if row.send_at is None else fields.iso(row.send_at),
        "created_at": fields.iso(row.created_at),
        "updated_at": fields.iso(row.updated_at),
    }


def idempotency_key(request: web.Request, body: dict[str, Any]) -> str | None:
    """The header, or the field."""
    given = request.headers.get("Idempotency-Key")
    named = fields.optional_text(body, "idempotency_key", most=KEY_LIMIT)
    if given is not None and named is not None and given != named:
        raise fields.bad(
            "idempotency_key", named, "the header has another one", "send one of the two"
        )
    key = named if given is None else given
    if key is not None and not (key and len(key) <= KEY_LIMIT and key.isprintable()):
        raise fields.bad(
            "Idempotency-Key", key, "invalid key", f"1 to {KEY_LIMIT} printable characters"
        )
    return key


def _flag(request: web.Request, body: dict[str, Any], name: str) -> bool:
    """In the body or in the query."""
    value = body.get(name, request.query.get(name, ""))
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if value is None or text in _NO:
        return False
    if text in _YES:
        return True
    raise fields.bad(name, value, f"invalid {name}", "true or false")


def _send_at(body: dict[str, Any]) -> float | None:
    value = body.get("send_at")
    if value is None or value == "":
        return None
    moment = _moment(value)
    if moment is None or moment < 0:
        raise fields.bad(
            "send_at", value, "not a time", "2026-11-25T18:00:00+07:00, or unix time in seconds"
        )
    if moment > time.time() + FARTHEST:
        raise fields.bad("send_at", value, "it is too far from now", "a time within a year")
    return moment


def _moment(value: Any) -> float | None:
    """Unix time; None: it is none, or has no zone."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < _UNIX_LIMIT else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        raise fields.bad("state", text, "no such state", ", ".join(State)) from None


def _bulk_id(text: str) -> str:
    if _BULK_ID.fullmatch(text):
        return text
    raise fields.bad("bulk_id", text, "not the id of a bulk", "as bulk-send answered it")


def _limit(text: str | None) -> int:
    if text is None:
        return LISTED
    number = _number(text, "limit")
    if not 1 <= number <= LISTED_AT_MOST:
        raise fields.bad("limit", text, "invalid limit", f"1 to {LISTED_AT_MOST}")
    return number


def _number(text: str, field: str) -> int:
    if _NUMBER.fullmatch(text):
        return int(text)
    raise InvalidInputError("not a number", field=field, value=text, remedy="an integer")
