"""What workers say of messages and codes."""

from typing import Any

from tests.supervision.fake_host import START
from waguard.wire.events import InboundMessage
from waguard.wire.reports import QrCode


def message(number: int = 1, **fields: Any) -> InboundMessage:
    reported: dict[str, Any] = {
        "id": f"false_49170@c.us_{number}",
        "chat": "49170@c.us",
        "sender": "49170@c.us",
        "to": "49151@c.us",
        "body": f"text {number}",
        "timestamp": int(START),
        "from_me": False,
        "kind": "chat",
    }
    return InboundMessage(**(reported | fields))


def qr(raw: str = "a,b,c,d", count: int = 1) -> QrCode:
    return QrCode(raw=raw, count=count, expires_at=START + 2_000.0)
