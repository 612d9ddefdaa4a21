"""What came of a send: sent, refused, or uncertain. Never "send again"."""

import time
from pathlib import Path
from typing import Any, Final

import msgspec
from loguru import logger

from waguard.core.messages.message_ids import parse
from waguard.core.messages.people import People
from waguard.core.messages.send_states import ACK_ERROR, ACK_SERVER
from waguard.core.session.page_errors import own_fault
from waguard.errors import WaguardError
from waguard.wire.calls import (
    Acks,
    Failed,
    Send,
    SendContent,
    SendFile,
    SendMedia,
    SendText,
    SendViewOnce,
    Sent,
    Value,
)
from waguard.worker.browser.devtools import (
    DevToolsError,
    DevToolsTimeoutError,
    ElsewhereError,
    EvaluationError,
)
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_answers import SendOutcome
from waguard.worker.page.page_errors import (
    PAGE_LOST,
    NotSendableError,
    NotTransmittedError,
    PageLoadingError,
)
from waguard.worker.timings import TIMINGS, Timings


def evaluate(outcome: SendOutcome, message_id: str, now: int) -> Sent:
    """Read wa-js's answer: a refusal *resolves* too, so both fields count."""
    at = outcome.at or now
    ack = 0 if outcome.ack is None else outcome.ack
    if ack >= ACK_SERVER:
        return Sent(outcome="sent", message_id=message_id, timestamp=at)
    if ack <= ACK_ERROR:
        error = outcome.result or "ERROR"
        return Sent(outcome="refused", message_id=message_id, timestamp=at, error=error)
    if outcome.result == "OK":
        return Sent(outcome="sent", message_id=message_id, timestamp=at)
    # pending: WhatsApp's page keeps it and sends it by itself after a reconnect
    return Sent(
        outcome="uncertain",
        message_id=message_id,
        timestamp=at,
        error=outcome.result,
        ack=outcome.ack,
    )


async def acks(
    page: WhatsAppPage, call: Acks, people: People, *, timings: Timings = TIMINGS
) -> Value:
    """The acks of those that stand in their chats; one that cannot be looked up costs no other. ``unread`` are those
    without an answer in time, their own or that of all. Raises ``WaguardError`` where the page is lost: nothing is
    known of any then."""
    found: dict[str, int] = {}
    unread: list[str] = []
    until = time.monotonic() + timings.call
    for message_id in call.ids:
        if time.monotonic() >= until:
            unread.append(message_id)
            continue
        aliases = dict.fromkeys((*call.aliases.get(message_id, ()), *_lids(message_id, people)))
        try:
            ack = await page.ack_of(message_id, tuple(aliases), timeout=timings.find)
        except PAGE_LOST:
            raise
        except DevToolsTimeoutError:
            unread.append(message_id)
            continue
        except EvaluationError:
            continue
        if ack is not None:
            found[message_id] = ack
    return Value(acks=found, unread=tuple(unread))


def _lids(message_id: str, people: People) -> tuple[str, ...]:
    key = parse(message_id)
    return people.lids(key.chat) if key else ()


async def send(
    page: WhatsAppPage,
    call: Send,
    people: People | None = None,
    *,
    timings: Timings = TIMINGS,
) -> Sent | Failed:
    """Send with the call's deadline and its chosen id; look the id up when no answer comes, also
    under what ``people`` know of its chat by then."""
    outcome = await _outcome(page, call, people or People(), timings)
    chat_state = page.chat_state_of(call.message_id)
    return msgspec.structs.replace(outcome, standing=chat_state)


async def _outcome(
    page: WhatsAppPage, call: Send, people: People, timings: Timings
) -> Sent | Failed:
    try:
        answer = await _transmit(page, call, people, timings.first_contact_check)
    except (NotTransmittedError, ElsewhereError, PageLoadingError) as error:
        return Failed(kind="not_ready", error=str(error))
    except NotSendableError as error:
        return _not_sent(call, error)
    except EvaluationError as error:
        found = await _find(page, call, people, str(error), timings.find)
        outcome = _after_exception(found, str(error))
        is_sent = isinstance(outcome, Sent) and outcome.outcome == "sent"
        thrown = None if is_sent else own_fault(error.text)
        return msgspec.structs.replace(outcome, thrown=thrown)
    except DevToolsError as error:
        return await _find(page, call, people, str(error), timings.find)
    return evaluate(answer, call.message_id, int(time.time()))


async def _transmit(page: WhatsAppPage, call: Send, people: People, check: float) -> SendOutcome:
    options: dict[str, Any] = {
        "messageId": call.message_id,
        "quotedMsg": call.quoted,
        "mentionedList": list(call.mentions) or None,
        "aliases": call.aliases or None,
        "firstContactCheck": int(check * 1000) if call.first_contact_check else None,
        "absent": call.absent or None,
        "hold": call.hold or None,
    }
    match call:
        case SendText():
            return await page.send(
                "sendText", call.chat, call.text, _given(options), timeout=call.timeout
            )
        case SendMedia():
            voice = call.kind == "voice"
            options |= {
                "type": "audio" if voice else call.kind,
                "isPtt": voice or None,
                "isViewOnce": isinstance(call, SendViewOnce) or None,
                "mimetype": call.mimetype,
                "filename": call.filename,
                "caption": call.caption,
            }
            file = Path(call.file) if isinstance(call, SendFile) else call.content
            return await page.send_file(call.chat, file, _given(options), timeout=call.timeout)
        case SendContent(target=str(target), kind=kind, content=content):
            aliases = list(_lids(target, people))
            return await page.send("act", kind, target, aliases, content, timeout=call.timeout)
        case SendContent():
            given = (call.chat, call.kind, call.content, _given(options))
            return await page.send("sendContent", *given, timeout=call.timeout)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


_TARGET: Final = {
    "no_target": "the page does not have the message",
    "not_editable": "WhatsApp does not allow to edit this message",
    "revoked": "the message is deleted already",
    "not_ours": "only its author, or an admin of the group, deletes a message for all",
}


def _not_sent(call: Send, why: NotSendableError) -> Failed:
    if error := _TARGET.get(why.reason):
        detail = f": {why.why}" if why.why else ""
        return Failed(kind="refused", error=error + detail, field="id")
    if why.reason == "asked_too_often":
        error = "WhatsApp was asked for too many new numbers"
        return Failed(kind="paused", error=error, field="recipient_phone")
    if why.reason == "held":
        return Failed(kind="held", error="first contacts pause", field="recipient_phone")
    if why.reason == "not_in_chat":
        error = f"the chat has no message {call.quoted}"
        return Failed(kind="refused", error=error, field="quoted_message_id")
    if why.reason == "no_chat":
        error = f"the page has no such chat: {why.why}"
        thrown = own_fault(why.why or "")
        return Failed(kind="refused", error=error, field="recipient_phone", thrown=thrown)
    error = f"+{call.chat.partition('@')[0]} is not on WhatsApp"
    return Failed(kind="refused", error=error, field="recipient_phone")


def _after_exception(found: Sent, error: str) -> Sent | Failed:
    """wa-js refused: before transmission unless the message stands in its chat, under any alias."""
    if found.error == _NOT_FOUND:
        return Failed(kind="refused", error=error)
    return found


_NOT_FOUND: Final = "not found in its chat"


async def _find(page: WhatsAppPage, call: Send, people: People, why: str, timeout: float) -> Sent:
    now, message_id = int(time.time()), call.message_id
    if isinstance(call, SendContent) and call.target:  # it leaves nothing that has its id
        return Sent(outcome="uncertain", message_id=message_id, timestamp=now, error=why)
    try:
        lids = _lids(message_id, people)
        ack = await page.ack_of(message_id, lids, timeout=timeout)
    except WaguardError as error:
        logger.warning(
            "a send's outcome could not be looked up",
            event="send_unresolved",
            id=message_id,
            why=error.line(),
        )
        return Sent(outcome="uncertain", message_id=message_id, timestamp=now, error=why)
    if ack is None:
        return Sent(outcome="uncertain", message_id=message_id, timestamp=now, error=_NOT_FOUND)
    return evaluate(SendOutcome(ack=ack, result=why, at=None), message_id, now)
