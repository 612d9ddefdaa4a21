"""What the application is sent, and the keys under which the inbox knows it: the same event has the same id."""

from pathlib import Path
from typing import Any, Final

import msgspec

from tests.golden.formats import Format
from waguard.core.messages.inbox import InboxRecord, failed_key
from waguard.core.messages.sent_events import notices
from waguard.ports.store import SessionRow
from waguard.supervision.session import application_events as translate
from waguard.wire.events import (
    Ack,
    Edit,
    InboundMessage,
    IncomingCall,
    MessageError,
    Reaction,
    Revoke,
    Undecryptable,
)
from waguard.wire.reports import QrCode

AT: Final = 1_790_000_000.5
ROW: Final = SessionRow(
    session_id="alpha", workspace_id=7, status="connected", desired_up=True, generation=9
)
GROUP: Final = "120363000000000001@g.us"
ANNA: Final = "628123@c.us"
WHO: Final[dict[str, Any]] = {"chat": GROUP, "sender": ANNA, "timestamp": 1_789_999_990}
TEXT: Final = InboundMessage(
    id=f"false_{ANNA}_3A",
    chat=ANNA,
    sender=ANNA,
    to="628999@c.us",
    body="hé 👋",
    timestamp=1_789_999_990,
    from_me=False,
    kind="chat",
    sender_name="Anna",
)
PICTURE: Final = msgspec.structs.replace(
    TEXT,
    id=f"false_{GROUP}_3B_{ANNA}",
    chat=GROUP,
    kind="image",
    group_name="Us",
    participants=(ANNA, "628999@c.us"),
    caption="see",
    mimetype="image/png",
    filename="a.png",
    size=5,
    quoted_id=TEXT.id,
    mentioned=("7@lid",),
    media=b"\x89PNG\0",
    backfilled=True,
)
ON_PHONE: Final = msgspec.structs.replace(TEXT, id=f"true_{ANNA}_3C", from_me=True)
SENT: Final = f"true_{GROUP}_3EB0"


def _records() -> dict[str, tuple[InboxRecord, ...]]:
    at = AT
    return {
        "text": translate.received(ROW, TEXT, at),
        "picture": translate.received(ROW, PICTURE, at),
        "on the phone": translate.received(ROW, ON_PHONE, at),
        "edit": translate.happened(ROW, Edit(id="e", message_id=TEXT.id, body="b", **WHO), at),
        "revoke": translate.happened(ROW, Revoke(id="r", message_id=TEXT.id, **WHO), at),
        "reaction": translate.happened(
            ROW, Reaction(id="x", message_id=TEXT.id, text="👍", **WHO), at
        ),
        "call": translate.happened(ROW, IncomingCall(id="c", video=True, group=False, **WHO), at),
        "error": translate.unreadable(
            ROW, MessageError(what="ack", id=None, chat="", error="e", raw="{}", digest="d"), at
        ),
        "undecryptable": translate.undecryptable(ROW, Undecryptable(id=TEXT.id, **WHO), at),
        **{
            f"ack {ack}": translate.acks(ROW, Ack(ids=(f"{SENT}_{ANNA}",), chat=GROUP, ack=ack), at)
            for ack in range(-1, 5)
        },
    }


def _write(folder: Path) -> bytes:
    del folder
    said: dict[str, Any] = {
        name: [
            {
                "key": it.key,
                "kind": it.kind,
                "payload": it.payload() if it.events else None,
                "webhooks": {
                    one.event_id: [one.event, one.partition, msgspec.json.decode(one.body)]
                    for one in notices(it)
                },
            }
            for it in records
        ]
        for name, records in _records().items()
    }
    said["failed"] = failed_key(SENT)
    said["qr"] = translate.qr_code(QrCode(raw="2@code", count=2, expires_at=AT + 20), AT)
    return msgspec.json.format(msgspec.json.encode(said), indent=1)


FORMATS: Final = (
    Format(
        name="webhooks.json",
        write=_write,
        read=lambda content, _: sorted(msgspec.json.decode(content)),
        means=sorted([*_records(), "failed", "qr"]),
        own=frozenset({"qr_code"}),  # a picture, which another library may pack otherwise
    ),
)
