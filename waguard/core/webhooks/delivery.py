"""Webhooks: the names of events, the causes of dead letters, what an attempt came to. Pure."""

from collections.abc import Iterable, Mapping
from enum import Enum, StrEnum, auto
from typing import Any, Final

from msgspec import Struct

TOO_MANY: Final = 429
SERVER_ERROR: Final = 500
SUCCESS: Final = range(200, 300)

QR_CODE: Final = "qr_code_generated"
# what a newer event of the same session makes outdated
SESSION_EVENTS: Final = frozenset(
    {
        QR_CODE,
        "session_authenticated",
        "session_ready",
        "session_disconnected",
        "session_error",
    }
)
# s that a webhook waits for a LID's number before a condition reports it
UNIDENTIFIED_AFTER: Final = 900.0
READY: Final = "session_ready"
# the application calls back while it handles this one, and drops it unless all is connected
HELD: Final = "message_received"
SENT: Final = "message_sent"
# s after the reply to a request that waited for it: the application commits its own row only then, and makes
# a second one of a message_sent that comes before
OWN_SEND: Final = 3.0
# s at most that its row is waited for, where it can be looked up
OWN_SEND_LONGEST: Final = 10.0
POLL_VOTED: Final = "poll_voted"
# s until a webhook is looked up again that leaves only when that shows that it was not delivered
LOOKUP_PAUSE: Final = 5.0
# the names that the old service used: a receiver that names no events gets these
OLD_SERVICE: Final = (
    QR_CODE,
    "session_authenticated",
    READY,
    "session_disconnected",
    "session_error",
    HELD,
    SENT,
    "message_status_updated",
    "message_delivered",
    "message_read",
    "mobile_activity_detected",
)
EVENTS: Final = frozenset(
    {
        *OLD_SERVICE,
        "message_played",
        "message_failed",
        "message_edited",
        "message_revoked",
        "message_reaction",
        POLL_VOTED,
        "call_received",
        "message_error",
    }
)


TOO_LONG: Final = "it waited for too long"
"""Why a webhook is a dead letter that is older than ``retention.inbox_days``."""


class MessageFields(StrEnum):
    """What a receiver gets of a message."""

    APPLICATION = "application"
    """What the old service's application knows; ``message.content`` is left out: its column holds 64 kB."""
    ALL = "all"


class Cause(StrEnum):
    """What kind of dead letter it is."""

    REFUSED = "refused"
    """The receiver refuses it for good, or its address may not be called."""
    EXPIRED = "expired"
    """The receiver did not accept it in time."""
    UNCERTAIN = "uncertain"
    """The receiver answered 2xx, and may have dropped it."""
    REMOVED = "removed"
    """The receiver was removed."""
    OTHER_NUMBER = "other_number"
    """The session is linked to another number now, or was removed."""
    UNIDENTIFIED = "unidentified"
    """The webhook is about a LID whose number is unknown: the receiver would lose it."""
    UNDECRYPTABLE = "undecryptable"
    """The webhook is about a message that WhatsApp Web could not decrypt."""
    UNSTORED = "unstored"
    """The receiver answers 2xx each time, and its table has no such row."""
    STORED = "stored"
    """The receiver's table has the row, and its answer was an error: the message's file may be missing."""
    RESTORED = "restored"
    """The daemon before a restore may have delivered it. One that is pending leaves when the receiver's table does not
    have its message."""


class Doubt(Enum):
    """What is done with a webhook that the daemon before a restore may have delivered."""

    NONE = auto()
    LOOKUP = auto()
    """The webhook leaves when the receiver's table does not have its message."""
    WAIT = auto()
    """A person releases it."""


DECIDED: Final = frozenset({Cause.REMOVED, Cause.OTHER_NUMBER})
"""Causes that follow from what a person did: such dead letters are kept, and are no condition."""


class DeadLetterState(StrEnum):
    """How a dead letter is listed."""

    DEAD = "dead"
    UNCERTAIN = Cause.UNCERTAIN.value
    """A person replays or discards it, one at a time."""
    UNIDENTIFIED = Cause.UNIDENTIFIED.value
    """A person replays or discards it, one at a time; it is queued by itself when the number is known."""
    UNDECRYPTABLE = Cause.UNDECRYPTABLE.value
    """A person reads the message on the phone, then discards it, or replays it alone."""
    STORED = Cause.STORED.value
    """A person looks up whether its file is there, then discards it. A replay would store a second row."""
    RESTORED = Cause.RESTORED.value
    """A person releases all of them, replays or discards one."""


def dead_letter_state(cause: str | None) -> DeadLetterState:
    """``cause`` is a ``Cause``, or None."""
    return (
        DeadLetterState.DEAD
        if cause is None or cause not in set(DeadLetterState)
        else DeadLetterState(cause)
    )


class Answer(Struct, frozen=True, kw_only=True):
    """The outcome of an attempt. ``status`` None: time-out or no connection, ``error`` says which."""

    status: int | None = None
    retry_after: float | None = None
    error: str = "no answer"
    refused: bool = False
    """The address may not be called at all."""
    bug: bool = False
    """A bug of waguard's: this says nothing about the receiver."""
    reached: bool = True
    """The request may have arrived; False: there was no connection."""
    stored: bool | None = None
    """Whether the receiver's table has the message; None: it was not looked up, or cannot be."""
    content: str = ""
    """Kind and length of the message, where it was looked up."""
    location: str = ""
    """The path to which a 3xx leads."""

    @property
    def accepted(self) -> bool:
        """Whether the receiver answered that it took the webhook."""
        return self.status is not None and self.status in SUCCESS

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it, as far as can be known."""
        return self.stored is True or (self.accepted and self.stored is None)

    @property
    def may_still_work(self) -> bool:
        """Whether the receiver may store it yet: it got the request, and its reply did not come."""
        return self.stored is False and self.status is None and self.reached and not self.refused

    def summary(self) -> str:
        """For a log and a dead letter; of the receiver's text only the path of a redirect."""
        if self.status is None:
            return self.error
        if self.accepted and self.stored is False:
            return f"accepted, not stored: {self.content}"
        to = f", a redirect to {self.location}" if self.location else ""
        return f"the receiver answered {self.status}{to}"


def outdated(event: str, later: Iterable[str]) -> bool:
    """Whether a later event of the same queue makes an undelivered one obsolete."""
    return event in SESSION_EVENTS and any(name in SESSION_EVENTS for name in later)


def partition_of(event: str, data: Mapping[str, Any]) -> str:
    """The partition of an event: its chat, or "" for the session. Events of one partition keep their order.

    The chat is part of the message's id (``true_<chat>_<ID>``), which a message and its acks share;
    ``call_received`` and ``message_error`` name it.
    """
    if event == "call_received":
        return str(data.get("chat_id", ""))
    if event == "message_error":  # without a chat it delays no chat and no event of the session
        return str(data.get("chat_id") or event)
    message = data.get("message")
    found = message.get("id") if isinstance(message, Mapping) else data.get("message_id")
    if event in SESSION_EVENTS or not isinstance(found, str):
        return ""
    _, _, rest = found.partition("_")
    return rest.partition("_")[0]
