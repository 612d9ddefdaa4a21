"""How the application behaves: its times, its limits, its JSON, what it takes and drops. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

STATUSES: Final = frozenset({"pending", "sent", "delivered", "read", "failed"})
"""The statuses of a message; any other is unknown to the application, ``played`` too."""
CONNECTED: Final = "connected"
QUEUED: Final[Mapping[str, str]] = {
    "qr_code_generated": "qr_scanning",
    "session_authenticated": "authenticated",
    "session_disconnected": "disconnected",
}
"""Events that it handles later, in any order, and the status that each writes."""
STATUS_EVENTS: Final = frozenset({"message_status_updated", "message_delivered", "message_read"})
ALIVE: Final = range(200, 300)
STATUS_BROADCAST: Final = "status@broadcast"
PRIVATE: Final = "@c.us"
GROUP: Final = "@g.us"


class Manners(Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes."""

    limit: int = 1_000
    """Webhooks in a window; every request makes the window begin again."""
    window: float = 60.0
    boot: float = 0.02
    """PHP starts for each webhook."""
    call_back: float = 2.0
    """At most so long after GET /health it asks for the session's status."""
    commit: float = 0.1
    """At most so long after the reply to a send its row is committed."""
    nap: float = 3.0
    """At most so long a worker of its queue sleeps after it found no job."""
    job: float = 0.05
    """A job takes so long, half as long, or half as much again."""
    workers: int = 2
    """Workers of the application's queue: two jobs of one session may change places."""
    backlog: int = 0
    """So many other jobs wait before each job of a session."""
    job_again: float = 5.0
    """After a job that failed; it has two tries."""
    slow: float = 2.0
    body_limit: int = 8 << 20
    """PHP's ``post_max_size``; what is larger is answered 413."""
    text_limit: int = 65_535
    """What ``chats.metadata`` holds."""
    id_limit: int = 128
    """Characters of a message's id."""
    call_timeout: float = 10.0
    send_timeout: float = 30.0
    tries: int = 3
    """Identical ones of a send."""
    again: float = 1.0
    """Between two tries."""


class Window(Struct):
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


def metadata(message: Mapping[str, Any]) -> str:
    """What it keeps of a webhook's message: the controller writes JSON, its model writes that as JSON."""
    kept = {name: message.get(name) for name in ("body", "type", "has_media", "from", "to")}
    return json_encode(json_encode(kept).decode()).decode()


def body_of(kept: str) -> str:
    """The text in a row's ``metadata``, of a webhook's or of its own."""
    read = json.loads(kept)
    return str((json.loads(read) if isinstance(read, str) else read).get("body") or "")


def too_long(manners: Manners, message_id: str, kept: str) -> str | None:
    """Why its table cannot hold a message; None: it can."""
    if len(message_id) > manners.id_limit:
        return "data too long for wam_id"
    return "data too long for metadata" if len(kept.encode()) > manners.text_limit else None


def why_not(health: int | None, connected: int | None, status: str | None) -> str | None:
    """Why no account is available to it, given the answers to its two call-backs; None: one is.

    ``health``: the HTTP status of GET /health, ``connected`` what it counts, None: the call failed.
    ``status``: the session's; None: the call failed, and it believes the count.
    """
    if health is None:
        return "GET /health failed"
    if health not in ALIVE:
        return f"GET /health answered {health}"
    if not connected:
        return "no session is connected"
    if status not in {None, CONNECTED}:
        return f"the session is {status}"
    return None


def contact_of(chat: str) -> str | None:
    """The phone of the contact that a chat is filed under; None: there is no such phone."""
    if chat.endswith(GROUP):
        return chat.removesuffix(GROUP)
    phone = chat.removesuffix(PRIVATE)
    return phone if phone.isdigit() else None


def chat_of_sent(message: Mapping[str, Any]) -> str:
    """The chat under which it files what was sent: ``from``, as the old service had it."""
    return str(message.get("from") or message["to"])


def is_usable_sent(data: Mapping[str, Any]) -> bool:
    """Whether ``message_sent`` has what it needs: a flat body has not."""
    message = data.get("message")
    return (
        isinstance(message, Mapping)
        and bool(message.get("id"))
        and bool(message.get("chat_type"))
        and bool(message.get("to") or message.get("from"))
    )
