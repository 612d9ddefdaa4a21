"""From the worker's words to the events that the application knows."""

from collections.abc import Mapping
from typing import Any, Final

from waguard.policy.inbox import File, Kind, Received, Told, ack_key, fitting, higher_acks
from waguard.policy.media import UNKNOWN
from waguard.ports import SessionRow
from waguard.wire import qr
from waguard.wire.protocol import (
    Ack,
    Edit,
    InboundMessage,
    IncomingCall,
    MessageError,
    QrCode,
    Reaction,
    Revoke,
)

# WhatsApp's ack -1…4; the application's ack_level is one more
_STATUS: Final = {-1: "failed", 0: "pending", 1: "sent", 2: "delivered", 3: "read", 4: "played"}
_OWN_EVENT: Final = {2: "message_delivered", 3: "message_read"}


def _phone(wid: str) -> str | None:
    digits = wid.partition("@")[0].partition(":")[0]
    return digits if wid.endswith("@c.us") and digits.isdigit() else None


def _whence(chat: str, sender: str) -> dict[str, Any]:
    group = chat.endswith("@g.us")
    return {
        "chat_id": chat,
        "from": chat if group else sender,
        "chat_type": "group" if group else "private",
        "group_id": chat if group else None,
        "sender_phone": _phone(sender),
    }


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
    return {
        "message": {
            "id": message.id,
            **_whence(message.chat, message.sender),
            "to": message.to,
            "body": message.caption or message.body if message.mimetype else message.body,
            "timestamp": message.timestamp,
            "from_me": message.from_me,
            "type": message.kind,
            "has_media": bool(message.mimetype),
            "group_name": message.group_name,
            "sender_name": message.sender_name,
            "quoted_id": message.quoted_id,
            "backfilled": message.backfilled,
            "media": media or None,
        }
    }


def received(row: SessionRow, message: InboundMessage, at: float) -> tuple[Received, ...]:
    """What is stored of a message; ``at``, in unix time, is when the worker heard of it."""
    return (
        Received(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=fitting(message.id),
            kind=Kind.MESSAGE,
            at=float(min(message.timestamp or at, at)),
            chat=message.chat,
            backfilled=message.backfilled,
            told=(Told("message_received", inbound(message)),),
            file=File(message.media, message.mimetype or UNKNOWN) if message.media else None,
        ),
    )


def happened(
    row: SessionRow, it: Edit | Revoke | Reaction | IncomingCall, at: float
) -> tuple[Received, ...]:
    """What is stored of an edit, a revoke, a reaction or a call; ``at`` as in ``received``."""
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
        case IncomingCall():
            kind, event = Kind.CALL, "call_received"
            more = {"call_id": it.id, "is_video": it.video, "is_group_call": it.group}
    return (
        Received(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=fitting(f"{kind}:{it.id}"),
            kind=kind,
            at=at,
            chat=it.chat,
            told=(Told(event, {**more, **_whence(it.chat, it.sender), "timestamp": it.timestamp}),),
        ),
    )


def unreadable(row: SessionRow, it: MessageError, at: float) -> tuple[Received, ...]:
    """What is stored of what the page told and nobody could read; ``at`` as in ``received``."""
    data = {"message_id": it.id, "chat_id": it.chat or None, "error": f"{it.what}: {it.error}"}
    return (
        Received(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=fitting(f"error:{it.what}:{it.id or it.digest}"),
            kind=Kind.ERROR,
            at=at,
            chat=it.chat or None,
            told=(Told("message_error", {**data, "raw": it.raw, "timestamp": int(at)}),),
        ),
    )


def acks(row: SessionRow, ack: Ack, at: float) -> tuple[Received, ...]:
    """What is stored of an ack: one for each message whose ack changed."""
    return tuple(
        Received(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            key=ack_key(message_id, ack.ack),
            kind=Kind.ACK,
            at=at,
            chat=ack.chat,
            told=_told(message_id, ack.ack, at),
            unless=higher_acks(message_id, ack.ack),
        )
        for message_id in ack.ids
    )


def _told(message_id: str, ack: int, at: float) -> tuple[Told, ...]:
    data = {
        "message_id": message_id,
        "status": _STATUS.get(ack, "unknown"),
        "ack_level": ack + 1,
        "timestamp": int(at),
    }
    names = ["message_status_updated", *([_OWN_EVENT[ack]] if ack in _OWN_EVENT else [])]
    return tuple(Told(name, data) for name in names)


def qr_code(code: QrCode, now: float) -> Mapping[str, Any]:
    """Data of ``qr_code_generated``."""
    return {
        "qr_code": qr.data_url(code.raw),
        "raw": code.raw,
        "expires_in": max(0, round(code.expires_at - now)),
        "qr_count": code.count,
        "is_regeneration": code.count > 1,
    }
