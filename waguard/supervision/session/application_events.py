"""From the worker's reports to the events that the application knows."""

from collections.abc import Mapping
from typing import Any

from waguard.core.messages import phone_use
from waguard.core.messages.content import CONTENT, chosen, decoded, text_of
from waguard.core.messages.inbox import (
    Deferred,
    EventPayload,
    File,
    InboxRecord,
    Kind,
    ack_key,
    fitting,
    higher_acks,
    sent_key,
)
from waguard.core.messages.message_ids import GROUP, parse
from waguard.core.messages.naming import phone_of
from waguard.core.messages.received_media import UNKNOWN
from waguard.core.messages.send_states import ACK_DEVICE, ACK_PLAYED, ACK_READ
from waguard.core.messages.sent_events import of_ack, whence
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import POLL_VOTED
from waguard.ports.store import SessionRow
from waguard.wire import qr
from waguard.wire.events import (
    Ack,
    Acquainted,
    Edit,
    InboundMessage,
    IncomingCall,
    MessageError,
    Reaction,
    Revoke,
    Undecryptable,
)
from waguard.wire.reports import QrCode


def _whence(chat: str, sender: str) -> dict[str, Any]:
    known = whence(chat)
    return {**known, "from": known["group_id"] or sender, "sender_phone": phone_of(sender)}


def inbound(message: InboundMessage) -> Mapping[str, Any]:
    """Data of ``message_received``, without the content of a file."""
    media = message.mimetype and {
        "mimetype": message.mimetype,
        "filename": message.filename,
        "size": message.size,
        "data": None,
        "error": message.media_error,
        "sha256": None,
        "url": None,
    }
    of_group = {"group_name": message.group_name, "participants": list(message.participants)}
    content = decoded(message.content)
    body = message.caption or message.body if message.mimetype else message.body
    return {
        "message": {
            "id": message.id,
            **_whence(message.chat, message.sender),
            "to": message.to,
            "body": body or ("" if message.mimetype else text_of(message.kind, content)),
            "timestamp": message.timestamp,
            "from_me": message.from_me,
            "type": message.kind,
            "has_media": bool(message.mimetype),
            # a null would be taken for it
            **{name: value for name, value in of_group.items() if value},
            "sender_name": message.sender_name,
            "quoted_id": message.quoted_id,
            "backfilled": message.backfilled,
            "media": media or None,
            **({CONTENT: content} if content else {}),
        }
    }


def on_phone(message: InboundMessage) -> Mapping[str, Any]:
    """Data of ``message_sent`` for what was written on the phone. It is from its chat: the application
    files it there."""
    return {
        "message_id": message.id,
        "to": message.chat,
        "type": message.kind,
        "status": "sent",
        "timestamp": message.timestamp,
        "source": "message_create_event",
        "message": inbound(message)["message"] | {"from": message.chat},
    }


def received(row: SessionRow, message: InboundMessage, at: float) -> tuple[InboxRecord, ...]:
    """What is stored of a message, one of our number's own too; ``at``, in unix time, is when the
    worker heard of it."""
    events: tuple[EventPayload, ...]
    if message.from_me:
        kind, key = Kind.SENT, sent_key(message.id)
        use = phone_use.activity(message.id, message.timestamp, at)
        use_events = (EventPayload(phone_use.EVENT, use),) if use else ()
        events = (EventPayload("message_sent", on_phone(message)), *use_events)
    else:
        kind, key = Kind.MESSAGE, fitting(message.id)
        events = (EventPayload("message_received", inbound(message)),)
    content, deferred = message.media, None
    if message.deferred and message.mimetype:
        deferred = Deferred(message_id=message.id, mimetype=message.mimetype, size=message.size)
    return (
        InboxRecord(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=key,
            kind=kind,
            at=float(min(message.timestamp or at, at)),
            chat=message.chat,
            backfilled=message.backfilled,
            unless_own=message.from_me,
            ref=("sent:" if message.from_me else "", message.id),
            sender=message.sender,
            mentioned=message.mentioned,
            events=events,
            deferred=deferred,
            file=None if content is None else File(content, message.mimetype or UNKNOWN),
        ),
    )


def happened(
    row: SessionRow, it: Edit | Revoke | Reaction | InboundMessage | IncomingCall, at: float
) -> tuple[InboxRecord, ...]:
    """What is stored of an edit, a revoke, a reaction, a vote in a poll (which comes as a message) or a call; ``at`` as in
    ``received``."""
    more: Mapping[str, Any]
    match it:
        case Edit():
            kind, event = Kind.EDIT, "message_edited"
            more = {"message_id": it.message_id, "body": it.body}
        case Revoke():
            kind, event, more = Kind.REVOKE, "message_revoked", {"message_id": it.message_id}
        case Reaction():
            kind, event = Kind.REACTION, "message_reaction"
            more = {"message_id": it.message_id, "reaction": it.text}
        case InboundMessage():
            kind, event = Kind.VOTE, POLL_VOTED
            more = {"message_id": it.quoted_id, "options": chosen(decoded(it.content))}
        case IncomingCall():
            kind, event = Kind.CALL, "call_received"
            more = {"call_id": it.id, "is_video": it.video, "is_group_call": it.group}
    return (
        InboxRecord(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=fitting(f"{kind}:{it.id}"),
            kind=kind,
            at=at,
            chat=it.chat,
            ref=(f"{kind}:", it.id),
            target=more.get("message_id"),
            sender=it.sender,
            mentioned=it.mentioned if isinstance(it, Edit) else (),
            events=(
                EventPayload(
                    event, {**more, **_whence(it.chat, it.sender), "timestamp": it.timestamp}
                ),
            ),
        ),
    )


def unreadable(row: SessionRow, it: MessageError, at: float) -> tuple[InboxRecord, ...]:
    """What is stored of what the page reported and nobody could read; ``at`` as in ``received``."""
    data = {"message_id": it.id, "chat_id": it.chat or None, "error": f"{it.what}: {it.error}"}
    return (
        InboxRecord(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=fitting(f"error:{it.what}:{it.id or it.digest}"),
            kind=Kind.ERROR,
            at=at,
            chat=it.chat or None,
            events=(EventPayload("message_error", {**data, "raw": it.raw, "timestamp": int(at)}),),
        ),
    )


def undecryptable(row: SessionRow, it: Undecryptable, at: float) -> tuple[InboxRecord, ...]:
    """What is remembered of a message that cannot be decrypted yet; ``at`` as in ``received``."""
    return (
        InboxRecord(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=fitting(f"{Kind.UNDECRYPTABLE}:{it.id}"),
            kind=Kind.UNDECRYPTABLE,
            at=float(min(it.timestamp, at)),
            chat=it.chat,
            ref=(f"{Kind.UNDECRYPTABLE}:", it.id),
            sender=it.sender,
            events=(),
        ),
    )


def acks(row: SessionRow, ack: Ack, at: float) -> tuple[InboxRecord, ...]:
    """What is stored of an ack, for each message whose ack changed. What was played was read."""
    said = (ACK_READ, ack.ack) if ack.ack == ACK_PLAYED else (ack.ack,)
    return tuple(_ack(row, ack.chat, message_id, one, at) for message_id in ack.ids for one in said)


def _ack(row: SessionRow, chat: str, raw_id: str, ack: int, at: float) -> InboxRecord:
    """In a group the page names who read it where the id names who wrote it."""
    key = parse(raw_id)
    reader = key.author if key and key.chat.endswith(GROUP) and ack >= ACK_DEVICE else None
    message_id = str(replace(key, author=None)) if key and reader else raw_id
    return InboxRecord(
        session_id=row.session_id,
        workspace_id=row.workspace_id,
        key=ack_key(message_id, ack),
        kind=Kind.ACK,
        at=at,
        chat=chat,
        ref=(f"ack:{ack}:", message_id),
        reader=reader,
        events=of_ack(message_id, ack, at),
        unless=higher_acks(message_id, ack),
    )


def acquainted(row: SessionRow, it: Acquainted, at: float) -> tuple[InboxRecord, ...]:
    """What is stored of whose LIDs they are, and of which numbers WhatsApp knows."""
    return (
        InboxRecord(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=Kind.PEOPLE,
            kind=Kind.PEOPLE,
            at=at,
            pairs=it.pairs,
            asked=it.asked,
            events=(),
        ),
    )


def qr_code(code: QrCode, now: float) -> Mapping[str, Any]:
    """Data of ``qr_code_generated``."""
    return {
        "qr_code": qr.data_url(code.raw),
        "raw": code.raw,
        "expires_in": max(0, round(code.expires_at - now)),
        "qr_count": code.count,
        "is_regeneration": code.count > 1,
    }
