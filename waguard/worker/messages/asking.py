"""What the page is asked about chats, people and groups, by ``page/asking.js``. Of its answers nothing is trusted: they are
texts of a bounded length, and what they say is read into values by whoever asked."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from waguard.core.messages.undecryptable import CIPHERTEXT
from waguard.wire.bounds import ANSWER_LIMIT
from waguard.wire.calls import Ask, Failed, Value
from waguard.wire.events import InboundMessage, Undecryptable
from waguard.worker.browser.devtools import (
    DevToolsError,
    ElsewhereError,
    EvaluationError,
    PageSession,
)
from waguard.worker.page import page_answers, page_reports
from waguard.worker.page.page_errors import PageLoadingError
from waguard.worker.page.page_reports import ERROR_LIMIT, ID_LIMIT
from waguard.worker.page.values import word

MESSAGES: Final = "messages"
"""The question whose answer has messages."""
MESSAGES_LIMIT: Final = 100
UNAVAILABLE: Final = "unavailable"

_BY_THEN: Final = 0.9
"""The part of the timeout behind which the page begins nothing, and asks WhatsApp for no further number."""
_SCRIPT: Final = (Path(__file__).parents[1] / "page/asking.js").read_text()
_KINDS: Final = frozenset({"absent", "error", "later", "refused", "too_often", "uncertain"})


async def answer(session: PageSession, call: Ask, *, now: float) -> Value | Failed:
    """Have the page answer; ``now`` is unix time. Raises ``EvaluationError`` where its answer is odd."""
    try:
        until = now + call.timeout * _BY_THEN
        reported = await session.evaluate(_expression(call, until), timeout=call.timeout)
        return _read(call, reported, now)
    except (DevToolsError, EvaluationError) as error:
        return _failed(call, error)


async def set_presence(session: PageSession, *, timeout: float) -> None:
    """Have the page say that nobody looks at it. Raises as ``PageSession.evaluate``."""
    await session.evaluate("window.WPP.conn.markUnavailable()", timeout=timeout)


def _expression(call: Ask, until: float) -> str:
    loading = json.dumps(PageLoadingError.TEXT)
    return (
        f"(async () => {{ if (!window.__waguard) throw {loading};"
        f" if (window.__waguardAsking?.wpp !== window.__waguard.wpp) {{ {_SCRIPT}; }}"
        f" return window.__waguardAsking.answer({json.dumps(call.name)}, {call.given}, {until * 1000}); }})()"
    )


def _read(call: Ask, reported: Any, now: float) -> Value | Failed:
    said = reported if isinstance(reported, str) else ""
    text = said[1:].encode(errors="replace").decode()
    if not (said.startswith(("=", "!")) and len(text) <= ANSWER_LIMIT):
        raise EvaluationError("no answer")
    if said.startswith("=") and call.name != MESSAGES:
        return Value(answer=text)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise EvaluationError("an answer that cannot be read") from None
    return _messages(found, now) if said.startswith("=") else _failure(call, found)


def _failure(call: Ask, reported: Any) -> Failed:
    reported = reported if isinstance(reported, dict) else {}
    kind = reported.get("kind")
    known = kind in _KINDS and (kind != "uncertain" or call.changes)
    return Failed(
        kind=kind if known else "uncertain" if call.changes else "error",
        error=word(reported.get("error"), ERROR_LIMIT) or "the page did not say why",
        field=word(reported.get("field")),
    )


def _messages(reported: Any, now: float) -> Value:
    found = page_answers.listed(reported, MESSAGES)[:MESSAGES_LIMIT]
    read = [it for one in found for it in page_reports.read("message", one, now=now)]
    return Value(
        messages=tuple(message for it in read if (message := _message(it))),
        before=word(reported.get("before"), ID_LIMIT),
    )


def _message(it: Any) -> InboundMessage | None:
    """None: what could not be read, and has no content."""
    match it:
        case InboundMessage():
            return msgspec.structs.replace(it, participants=(), backfilled=True)
        case Undecryptable(id=name, chat=chat, sender=sender, timestamp=at):
            own = name.startswith("true_")
            return InboundMessage(
                id=name,
                chat=chat,
                sender=sender,
                to="",
                body="",
                timestamp=at,
                from_me=own,
                kind=CIPHERTEXT,
            )
        case _:
            return None


def _failed(call: Ask, error: DevToolsError | EvaluationError) -> Failed:
    """A call that got no answer. Where nothing was evaluated it was certainly not begun."""
    is_loading = isinstance(error, EvaluationError) and error.text == PageLoadingError.TEXT
    if is_loading or isinstance(error, ElsewhereError):
        return Failed(kind="not_ready", error="the page is just being loaded")
    why = str(error)[:ERROR_LIMIT]
    if call.changes:
        return Failed(kind="uncertain", error=why)
    return Failed(kind="timeout" if isinstance(error, DevToolsError) else "error", error=why)
