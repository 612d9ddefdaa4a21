"""What came of a send: sent, refused, or uncertain. Never "send again"."""

import time
from typing import Any, Final

from loguru import logger

from waguard.errors import WaguardError
from waguard.wire.protocol import Failed, SendMedia, SendText, Sent
from waguard.worker.devtools import DevToolsError, ElsewhereError, EvaluationError
from waguard.worker.page import (
    NotSendableError,
    NotTransmittedError,
    SendOutcome,
    WhatsAppPage,
)

ACK_ERROR: Final = -1
ACK_SERVER: Final = 1
LOOK_UP_DEADLINE: Final = 3.0  # s
CHECK_DEADLINE: Final = 5.0  # s for whether a number has WhatsApp; without an answer it is sent


def judge(outcome: SendOutcome, message_id: str, now: int) -> Sent:
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


async def acks(page: WhatsAppPage, ids: tuple[str, ...]) -> dict[str, int]:
    """Of those that stand in their chats."""
    found = {
        message_id: await page.ack_of(message_id, timeout=LOOK_UP_DEADLINE) for message_id in ids
    }
    return {message_id: ack for message_id, ack in found.items() if ack is not None}


async def send(page: WhatsAppPage, call: SendText | SendMedia) -> Sent | Failed:
    """Send with the call's deadline and its chosen id; look the id up when no answer comes."""
    try:
        outcome = await _transmit(page, call)
    except (NotTransmittedError, ElsewhereError) as error:
        return Failed(kind="not_ready", error=str(error))
    except NotSendableError as error:
        return _refusal(call, error.reason)
    except EvaluationError as error:
        return await _after_exception(page, call, str(error))
    except DevToolsError as error:
        return await _look_up(page, call.message_id, str(error))
    return judge(outcome, call.message_id, int(time.time()))


async def _transmit(page: WhatsAppPage, call: SendText | SendMedia) -> SendOutcome:
    options: dict[str, Any] = {
        "messageId": call.message_id,
        "quotedMsg": call.quoted,
        "mentionedList": list(call.mentions) or None,
        "firstContactCheck": int(CHECK_DEADLINE * 1000) if call.first_contact_check else None,
    }
    match call:
        case SendText():
            return await page.send_text(call.chat, call.text, _given(options), timeout=call.timeout)
        case SendMedia():
            options |= {
                "type": call.kind,
                "mimetype": call.mimetype,
                "filename": call.filename,
                "caption": call.caption,
            }
            return await page.send_file(
                call.chat, call.content, _given(options), timeout=call.timeout
            )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _refusal(call: SendText | SendMedia, reason: str) -> Failed:
    if reason == "not_in_chat":
        error = f"the chat has no message {call.quoted}"
        return Failed(kind="refused", error=error, field="quoted_message_id")
    error = f"+{call.chat.partition('@')[0]} is not on WhatsApp"
    return Failed(kind="refused", error=error, field="recipient_phone")


async def _after_exception(
    page: WhatsAppPage, call: SendText | SendMedia, error: str
) -> Sent | Failed:
    """wa-js refused: before transmission unless the message stands in its chat."""
    found = await _look_up(page, call.message_id, error)
    if found.error == _NOT_FOUND:
        return Failed(kind="refused", error=error)
    return found


_NOT_FOUND: Final = "not found in its chat"


async def _look_up(page: WhatsAppPage, message_id: str, why: str) -> Sent:
    now = int(time.time())
    try:
        ack = await page.ack_of(message_id, timeout=LOOK_UP_DEADLINE)
    except WaguardError as error:
        logger.warning(
            "a send's outcome could not be looked up", message=message_id, why=str(error)
        )
        return Sent(outcome="uncertain", message_id=message_id, timestamp=now, error=why)
    if ack is None:
        return Sent(outcome="uncertain", message_id=message_id, timestamp=now, error=_NOT_FOUND)
    return judge(SendOutcome(ack=ack, result=why, at=None), message_id, now)
