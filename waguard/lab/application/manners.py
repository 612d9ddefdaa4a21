"""How the application behaves: its times, its limiter, its JSON, what it takes and drops. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

STATUSES: Final = frozenset({"pending", "sent", "delivered", "read", "failed"})
"""Of a message; any other is unknown to it, ``played`` too."""
CONNECTED: Final = "connected"
QUEUED: Final[Mapping[str, str]] = {
    "qr_code_generated": "qr_scanning",
    "session_authenticated": "authenticated",
    "session_disconnected": "disconnected",
}
"""Events that it handles later, in any order, and the status that each writes."""
STATUS_EVENTS: Final = frozenset({"message_status_updated", "message_delivered", "message_read"})
ALIVE: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """Times in seconds."""

    limit: int = 1_000
    """Webhooks in a window; every request makes the window begin again."""
    window: float = 60.0
    boot: float = 0.02
    """PHP starts for each webhook."""
    call_back: float = 2.0
    """At most so long after GET /health it asks for the session's status."""
    queue: float = 2.0
    """At most so long a queued event waits."""
    slow: float = 2.0
    call_timeout: float = 10.0
    send_timeout: float = 30.0
    tries: int = 3
    """Identical ones of a send."""
    again: float = 1.0
    """Between two tries."""


@dataclass(slots=True)
class Window:
    """The limiter: ``limit`` requests, until nothing at all has come for ``seconds``."""

    limit: int
    seconds: float
    count: int = 0
    until: float = 0.0

    def admit(self, now: float) -> bool:
        """Whether it takes this request, which renews the window in any case."""
        if now >= self.until:
            self.count = 0
        self.count += 1
        self.until = now + self.seconds
        return self.count <= self.limit


def json_encode(value: Any) -> bytes:
    """As PHP writes it: ``/`` and all that is not ASCII escaped, an empty array is ``[]``."""
    return json.dumps(_array(value), separators=(",", ":")).replace("/", "\\/").encode()


def _array(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _array(inner) for name, inner in value.items()} or []
        case list() | tuple():
            return [_array(inner) for inner in value]
        case _:
            return value


def why_not(health: int | None, connected: int | None, status: str | None) -> str | None:
    """Why a message is dropped, given the answers to its two call-backs; None: it is taken.

    ``health``: the HTTP status of GET /health, ``connected`` what it counts, ``status`` the
    session's. None: the call failed.
    """
    if health is None:
        return "GET /health failed"
    if health not in ALIVE:
        return f"GET /health answered {health}"
    if not connected:
        return "no session is connected"
    if status is None:
        return "GET status failed"
    if status != CONNECTED:
        return f"the session is {status}"
    return None


def lost_sender(message: Mapping[str, Any]) -> bool:
    """Whether it cannot know who wrote a message."""
    return str(message.get("from", "")).endswith("@lid")


def is_usable_sent(data: Mapping[str, Any]) -> bool:
    """Whether ``message_sent`` has what it needs: a flat body has not."""
    message = data.get("message")
    return (
        isinstance(message, Mapping)
        and bool(message.get("id"))
        and bool(message.get("chat_type"))
        and bool(message.get("to") or message.get("from"))
    )
