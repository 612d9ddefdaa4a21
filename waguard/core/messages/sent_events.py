"""Which webhooks the application gets about messages that it sends, and in which order. Pure.

The application knows a message by its id, from the reply to its request or from ``message_sent``. It drops a status
that arrives before that, and a ``message_sent`` that arrives before the reply makes a second row. So
``message_sent`` waits for the reply, and every status waits for ``message_sent``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from waguard.core.messages import phone_use
from waguard.core.messages.inbox import (
    EventPayload,
    InboxRecord,
    Kind,
    event_id,
    failed_key,
    sent_key,
)
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import ACK_PLAYED, ACTIONS, AT_SERVER, State
from waguard.core.text.encoded import encoded
from waguard.core.webhooks import delivery
from waguard.core.webhooks.delivery import Doubt

# WhatsApp's acks -1 to 3; the application's ack_level is one more, and "read" is its highest
_STATUS: Final = {-1: "failed", 0: "pending", 1: "sent", 2: "delivered", 3: "read"}
_OWN_EVENT: Final = {2: "message_delivered", 3: "message_read"}
_WORDS: Final = {"text": "chat", "voice": "ptt", "contact": "vcard", "poll": "poll_creation"}
_WITHOUT_FILE: Final = frozenset({"text", "location", "contact", "poll"})
NOT_SENT: Final = frozenset({State.FAILED, State.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A webhook to queue: one event for every endpoint that it concerns."""

    event: str
    event_id: str
    partition: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A stored message, as far as webhooks need it. Times are unix time."""

    session_id: str
    workspace_id: int
    message_id: str
    chat: str
    kind: str
    text: str = field(repr=False)
    """Or the caption."""
    state: State
    error: str | None
    key: str | None
    answered: bool
    bulk_id: str | None
    sent_at: int | None
    created_at: float


def notices(received: InboxRecord) -> tuple[Notice, ...]:
    """The webhooks of an inbox record."""
    return tuple(
        Notice(
            event=payload.event,
            event_id=event_id(received.session_id, received.key, payload.event),
            partition=delivery.partition_of(payload.event, payload.data),
            body=encoded(_body(received, payload)),
        )
        for payload in received.events
    )


def _body(received: InboxRecord, payload: EventPayload) -> dict[str, Any]:
    """The body of a webhook, in the application's format."""
    identity = {"workspace_id": received.workspace_id, "session_id": received.session_id}
    data = identity | dict(payload.data)
    marks = {"backfilled": received.backfilled, "restored": received.repeated is not Doubt.NONE}
    body = {
        "event": payload.event,
        "data": data | {name: True for name, has in marks.items() if has},
    }
    # there the application reads it beside the data
    return body | ({"session_id": received.session_id} if payload.event == phone_use.EVENT else {})


def of_ack(message_id: str, ack: int, at: float) -> tuple[EventPayload, ...]:
    """The events of an ack; "played" is an event of its own, without a status."""
    data = {
        "message_id": message_id,
        "status": "played" if ack >= ACK_PLAYED else _STATUS.get(ack, "unknown"),
        "ack_level": ack + 1,
        "timestamp": int(at),
    }
    if ack >= ACK_PLAYED:
        return (EventPayload("message_played", data),)
    names = ["message_status_updated", *([_OWN_EVENT[ack]] if ack in _OWN_EVENT else [])]
    return tuple(EventPayload(name, data) for name in names)


def ack_of(received: InboxRecord) -> tuple[str, int]:
    """The message of an ack, and WhatsApp's number for it."""
    data = received.events[0].data
    return data["message_id"], data["ack_level"] - 1


def of_stored_ack(payload: Mapping[str, Any]) -> tuple[EventPayload, ...]:
    """As ``of_ack``, from a stored ack."""
    return of_ack(payload["message_id"], payload["ack_level"] - 1, payload.get("timestamp", 0))


def may_be_reported(message: Message, now: float) -> bool:
    """Whether its reply was written, or no repeated request will ask for it any more."""
    return (
        message.answered or message.bulk_id is not None or now - message.created_at >= REPEATED_FOR
    )


def of_outcome(
    message: Message, now: float, *, due: bool = False, direct: bool = False
) -> InboxRecord | None:
    """The record for the application about the message's outcome; None: there is none, or not yet. ``due``: do not
    wait for its reply any more; ``direct``: that was written a moment ago."""
    if message.kind in ACTIONS or (not due and not may_be_reported(message, now)):
        return None
    if message.state in AT_SERVER:
        key, kind = sent_key(message.message_id), Kind.SENT
        payload = EventPayload("message_sent", _sent(message, int(now)))
    elif message.state in NOT_SENT:
        key, kind = failed_key(message.message_id), Kind.FAILED
        payload = EventPayload("message_failed", _failed(message))
    else:
        return None
    return InboxRecord(
        session_id=message.session_id,
        workspace_id=message.workspace_id,
        key=key,
        kind=kind,
        at=now,
        chat=message.chat,
        events=(payload,),
        direct=direct,
    )


def _sent(message: Message, now: int) -> Mapping[str, Any]:
    at = now if message.sent_at is None else message.sent_at
    flat = {"to": message.chat, "type": message.kind, "status": "sent", "timestamp": at}
    return {
        "message_id": message.message_id,
        **flat,
        "message": {
            "id": message.message_id,
            **whence(message.chat),
            "from": message.chat,  # under which the application files it, whoever wrote it
            "to": message.chat,
            "body": message.text,
            "timestamp": at,
            "from_me": True,
            "type": word_of(message.kind),
            "has_media": message.kind not in _WITHOUT_FILE,
        },
    }


def _failed(message: Message) -> Mapping[str, Any]:
    known = {"idempotency_key": message.key, "bulk_id": message.bulk_id}
    return {
        "message_id": message.message_id,
        "to": message.chat,
        "type": message.kind,
        "status": str(message.state),
        "error": message.error,
        "message": {"id": message.message_id, **whence(message.chat), "to": message.chat},
        **{name: value for name, value in known.items() if value is not None},
    }


def word_of(kind: str) -> str:
    """WhatsApp's word for a kind of message."""
    return _WORDS.get(kind, kind)


def whence(chat: str) -> dict[str, Any]:
    """The fields about its chat that every message has."""
    group = chat.endswith("@g.us")
    return {
        "chat_id": chat,
        "chat_type": "group" if group else "private",
        "group_id": chat if group else None,
    }
