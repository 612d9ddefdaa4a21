"""/api/messages/bulk-send: a text to many, and how far it has come."""

from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import BODY, DEPS
from waguard.api.messages import session_for, text_only
from waguard.api.outbox import idempotency_key
from waguard.core.messages.send_states import State
from waguard.errors import InvalidInputError
from waguard.messaging.outbox.bulk import LIMIT
from waguard.messaging.outbox.commands import text
from waguard.wire.calls import SendText

NAMED: Final = 20  # wrong recipients that an answer names
_OPEN: Final = frozenset({State.ACCEPTED, State.SENDING})


async def send(request: web.Request) -> web.Response:
    """POST /api/messages/bulk-send ``{session_id, recipients: [...], message?}``."""
    body = request[BODY]
    session_id = fields.session_id(body.get("session_id"))
    text_only(body)
    commands, wrong = _commands(body)
    key = idempotency_key(request, body)
    view = await session_for(request, session_id, body)
    if wrong:
        return _refused(wrong, len(commands) + len(wrong))
    once = list({(command.chat, command.text): command for command in commands}.values())
    bulk_id = await request.app[DEPS].bulks.accept(session_id, view.workspace_id, once, key)
    answer = {
        "success": True,
        "bulk_id": bulk_id,
        "total": len(once),
        "duplicates": len(commands) - len(once),
        "status": "accepted",
    }
    return web.json_response(answer, status=202)


async def show(request: web.Request) -> web.Response:
    """GET /api/messages/bulk/:bulk_id."""
    return await _progress(request)


async def cancel(request: web.Request) -> web.Response:
    """POST …/cancel: what has not begun."""
    await request.app[DEPS].bulks.cancel(request.match_info["bulk_id"])
    return await _progress(request)


async def _progress(request: web.Request) -> web.Response:
    bulk_id = request.match_info["bulk_id"]
    counts = await request.app[DEPS].bulks.counts(bulk_id)
    return web.json_response(
        {
            "success": True,
            "bulk_id": bulk_id,
            "total": sum(counts.values()),
            "counts": {state: counts.get(state, 0) for state in State},
            "done": not _OPEN & counts.keys(),
        }
    )


def _commands(body: dict[str, Any]) -> tuple[list[SendText], list[tuple[int, InvalidInputError]]]:
    """A command for each recipient, and what is wrong with the others."""
    recipients = body.get("recipients")
    if not isinstance(recipients, list) or not 1 <= len(recipients) <= LIMIT:
        count = len(recipients) if isinstance(recipients, list) else recipients
        raise fields.bad(
            "recipients", count, "not a list of recipients", f"a list of 1 to {LIMIT} recipients"
        )
    is_shared = any(_own_message(one) is None for one in recipients)
    shared = fields.text(body, "message") if is_shared else ""
    commands, wrong = [], []
    for index, one in enumerate(recipients):
        try:
            commands.append(_command(one, shared, f"recipients[{index}]"))
        except InvalidInputError as error:
            wrong.append((index, error))
    return commands, wrong


def _own_message(one: Any) -> Any:
    return one.get("message") if isinstance(one, dict) else None


def _command(one: Any, shared: str, name: str) -> SendText:
    """``one`` is a number, or an object with ``recipient_phone`` and perhaps its own ``message``."""
    if not isinstance(one, dict):
        return text(fields.chat_id(one, name), shared)
    chat = fields.chat_id(one.get("recipient_phone"), f"{name}.recipient_phone")
    own = _own_message(one)
    return text(chat, shared if own is None else fields.text_of(own, f"{name}.message"))


def _refused(wrong: list[tuple[int, InvalidInputError]], total: int) -> web.Response:
    """Nothing is sent: who reads that sends the rest again, and nobody gets two."""
    _, first = wrong[0]
    answer = {
        "error": f"{len(wrong)} of {total} recipients cannot be used: {first.message}",
        "field": first.field,
        "remedy": first.remedy,
        "recipients": [
            {"index": index, "field": error.field, "error": error.message}
            for index, error in wrong[:NAMED]
        ],
    }
    return web.json_response(answer, status=400)
