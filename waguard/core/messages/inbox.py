"""What the inbox stores of a worker's reports: the key of each, and when it is a duplicate or outdated. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from waguard.core.messages.send_states import ACK_ERROR, ACK_PLAYED, ACK_SERVER
from waguard.core.webhooks.delivery import Doubt

KEY_LIMIT: Final = 200  # characters; longer ones are hashed
BACKFILL_LIMIT: Final = 7 * 86_400.0  # s; older messages are history, and not read back
# s; messages of a chat may arrive in another order than that of their times
OVERLAP: Final = 3_600.0
_ACKS: Final = range(
    ACK_ERROR, ACK_PLAYED + 1
)  # WhatsApp's: error, pending, server, device, read, played

# a QR code is useless after a minute, and must not be stored for a month
_NOT_KEPT: Final = frozenset({"qr_code", "raw"})
_LARGE: Final = "participants"  # 20 kB for each message of a large group


def left_out(*, broadcasts: bool, channels: bool, groups: bool) -> tuple[str, ...]:
    """The endings of the ids of chats whose messages are not received."""
    wanted = {"@broadcast": broadcasts, "@newsletter": channels, "@g.us": groups}
    return tuple(ending for ending, is_wanted in wanted.items() if not is_wanted)


class Kind(StrEnum):
    """What was received."""

    MESSAGE = "message"
    ACK = "ack"
    EDIT = "edit"
    REVOKE = "revoke"
    REACTION = "reaction"
    CALL = "call"
    VOTE = "vote"
    ERROR = "error"
    SENT = "sent"
    FAILED = "failed"
    SESSION = "session"
    PEOPLE = "people"
    """The numbers of LIDs. It is not a message, and not stored as one."""
    UNDECRYPTABLE = "undecryptable"
    """A message without its content. It is stored in a table of its own."""


class EventPayload(Struct, frozen=True):
    """An event for the application."""

    event: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class File:
    """A file that came with a message."""

    content: bytes = field(repr=False)
    mimetype: str


class Deferred(Struct, frozen=True, kw_only=True):
    """A file that is fetched after its message; ``message_id`` as the page has it, ``size`` in bytes, as its sender says."""

    message_id: str
    mimetype: str
    size: int | None


class InboxRecord(Struct, frozen=True, kw_only=True):
    """One thing that happened in a session. A second report with the same ``key`` is a duplicate; where a key of
    ``unless`` is stored the record is outdated. ``at`` is unix time."""

    session_id: str
    workspace_id: int
    key: str
    kind: Kind
    at: float
    chat: str | None = None
    events: tuple[EventPayload, ...]
    unless: tuple[str, ...] = ()
    unless_own: bool = False
    """The record is a duplicate where the outbox has the message: the outbox reports that message itself."""
    backfilled: bool = False
    file: File | None = None
    """Stored separately."""
    deferred: Deferred | None = None
    """The file is fetched after its message."""
    ref: tuple[str, str] | None = None
    """The parts of ``key``: a word, and WhatsApp's id as the page has it."""
    target: str | None = None
    """WhatsApp's id of the message that it is about, as the page has it."""
    sender: str | None = None
    """Who did it, as the page has it."""
    mentioned: tuple[str, ...] = ()
    """LIDs that its text shows as mentions."""
    reader: str | None = None
    """Who received or read a message in a group."""
    pairs: tuple[tuple[str, str], ...] = ()
    """LIDs and their numbers."""
    asked: tuple[tuple[str, bool], ...] = ()
    """Numbers, and whether WhatsApp knows them."""
    direct: bool = False
    """The record is about a message whose sender got the reply a moment ago."""
    repeated: Doubt = Doubt.NONE
    """Whether the daemon before a restore may have reported it, and what ``webhook.url``'s receiver can say about that."""

    def payload(self) -> Mapping[str, Any]:
        """The data to store: without a code that could be scanned."""
        data = self.events[0].data
        kept = {name: value for name, value in data.items() if name not in _NOT_KEPT}
        if isinstance(message := data.get("message"), Mapping):
            kept["message"] = {name: value for name, value in message.items() if name != _LARGE}
        if self.ref and fitting("".join(self.ref)) != self.key:
            kept["raw_id"] = self.ref[1]
        return kept


def fitting(key: str) -> str:
    """``key``, or its hash where it is too long for an index."""
    return key if len(key) <= KEY_LIMIT else "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def sent_key(message_id: str) -> str:
    """The key of: WhatsApp's server has the message."""
    return fitting(f"sent:{message_id}")


def failed_key(message_id: str) -> str:
    """The key of: WhatsApp's server will never have the message."""
    return fitting(f"failed:{message_id}")


def ack_key(message_id: str, ack: int) -> str:
    """The key of an ack: its message and its value."""
    return fitting(f"ack:{ack}:{message_id}")


def ack_keys(message_id: str) -> tuple[str, ...]:
    """The keys of all acks that a message can have."""
    return tuple(ack_key(message_id, ack) for ack in _ACKS)


def higher_acks(message_id: str, ack: int) -> tuple[str, ...]:
    """The keys that make an ack outdated: acks only go forward, and an error only precedes the server's ack."""
    least = 1 if ack == ACK_ERROR else ack + 1
    higher = tuple(ack_key(message_id, other) for other in _ACKS if other >= least)
    return higher if ack >= ACK_SERVER else (*higher, sent_key(message_id))


def event_id(session_id: str, key: str, event: str) -> str:
    """A stable id of an event: 32 hex digits."""
    text = f"{session_id}\0{key}\0{event}".encode(errors="replace")
    return hashlib.sha256(text).hexdigest()[:32]


def backfill_since(
    newest: Mapping[str, float], *, paired_at: float | None, oldest: float, now: float
) -> tuple[dict[str, int], int]:
    """From when on chats are read for messages that raised no event: by chat, and for all others.

    ``newest`` is the newest stored message of each chat; ``oldest``: since when the inbox certainly is
    complete: what it has forgotten would be reported twice. Messages from before the pairing are left out.
    Times are unix time.
    """
    floor = now if paired_at is None else max(paired_at, oldest)
    since = {chat: int(max(at - OVERLAP, floor)) for chat, at in newest.items()}
    return since, int(floor)
