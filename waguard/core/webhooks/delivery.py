"""What to do after an attempt to deliver a webhook. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from waguard.core.webhooks.circuit import CircuitPolicy

TOO_MANY: Final = 429
# answers after which the same request may succeed
RETRIED: Final = frozenset({408, 425, TOO_MANY})
SERVER_ERROR: Final = 500
SUCCESS: Final = range(200, 300)

# what a newer event of the same session makes outdated
SESSION_EVENTS: Final = frozenset(
    {
        "qr_code_generated",
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
# the names that the old service used: a receiver that names no events gets these
OLD_SERVICE: Final = (
    "qr_code_generated",
    "session_authenticated",
    READY,
    "session_disconnected",
    "session_error",
    HELD,
    "message_sent",
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
        "call_received",
        "message_error",
    }
)


class Cause(StrEnum):
    """What kind of dead letter it is."""

    REFUSED = "refused"
    """The receiver refuses it for good, or its address may not be called."""
    EXPIRED = "expired"
    """The receiver did not accept it in time."""
    UNCERTAIN = "uncertain"
    """The receiver answered 2xx, and may have dropped it."""
    REMOVED = "removed"
    """Its receiver was removed."""
    OTHER_NUMBER = "other_number"
    """Its session is linked to another number now, or was removed."""
    UNIDENTIFIED = "unidentified"
    """It is about a LID whose number is unknown: the receiver would lose it."""
    UNDECRYPTABLE = "undecryptable"
    """It is about a message that WhatsApp Web could not decrypt."""


DECIDED: Final = frozenset({Cause.REMOVED, Cause.OTHER_NUMBER})
"""Causes that follow from what a person did: such dead letters are kept, and are no condition."""


class DeadLetterState(StrEnum):
    """How a dead letter is listed."""

    DEAD = "dead"
    UNCERTAIN = Cause.UNCERTAIN.value
    """A person replays or discards it, one at a time."""
    UNIDENTIFIED = Cause.UNIDENTIFIED.value
    """The same; it is queued by itself when the number is known."""
    UNDECRYPTABLE = Cause.UNDECRYPTABLE.value
    """A person reads the message on the phone, then discards it, or replays it alone."""


def dead_letter_state(cause: str | None) -> DeadLetterState:
    """``cause`` is a ``Cause``, or None."""
    return (
        DeadLetterState.DEAD
        if cause is None or cause not in set(DeadLetterState)
        else DeadLetterState(cause)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """Retries: uniformly within [0, min(max_delay, base_delay · 2ⁿ)] s, for ``give_up_after`` s."""

    base_delay: float = 1.0
    max_delay: float = 3600.0
    longest_retry_after: float = 3600.0
    """A Retry-After of the receiver is followed up to this many seconds."""
    give_up_after: float = 86_400.0
    too_many_pause: float = 65.0
    """After a 429: the application's limiter says no Retry-After, and every request renews its minute."""
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of an attempt. ``status`` None: time-out or no connection, ``error`` says which."""

    status: int | None = None
    retry_after: float | None = None
    error: str = "no answer"
    refused: bool = False
    """The address may not be called at all."""

    @property
    def works(self) -> bool:
        """Whether the receiver works: it understood the request."""
        return self.status is not None and self.status < SERVER_ERROR

    def summary(self) -> str:
        """For a log and a dead letter; without any text of the receiver's."""
        return self.error if self.status is None else f"the receiver answered {self.status}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver accepted it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay`` seconds; ``everyone``: no other delivery either until then.

    ``asked``: the receiver named the time itself.
    """

    delay: float
    everyone: bool = False
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """It is a dead letter: not tried again until a person says so."""

    why: str
    cause: Cause = Cause.REFUSED


def decide(
    policy: DeliveryPolicy, *, attempt: int, age: float, answer: Answer, jitter: float
) -> Delivered | Retry | Dead:
    """What follows from the ``attempt``-th answer (from 1) for a delivery that has been tried for ``age`` s.

    ``jitter`` is uniform in [0, 1).
    """
    status = answer.status
    if status is not None and status in SUCCESS:
        return Delivered()
    passing = status is None or status in RETRIED or status >= SERVER_ERROR
    if answer.refused or not passing:
        return Dead(answer.summary())
    if age >= policy.give_up_after:
        return Dead(given_up(policy, attempt, answer.summary()), Cause.EXPIRED)
    too_many = status == TOO_MANY
    if answer.retry_after is not None:
        delay = min(max(answer.retry_after, 0.0), policy.longest_retry_after)
        return Retry(delay, everyone=too_many, asked=True)
    if too_many:
        return Retry(policy.too_many_pause, everyone=True, asked=True)
    # the exponent is bounded before the power is: 2.0 ** 1024 would raise
    ceiling = min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 64))
    return Retry(ceiling * jitter)


def given_up(policy: DeliveryPolicy, attempts: int, last: str) -> str:
    """Why a dead letter expired, in words."""
    hours = policy.give_up_after / 3600
    return f"not accepted within {hours:g} h, {attempts} attempts, the last: {last}"


def pause(policy: DeliveryPolicy, *, attempts: int, next_at: float, now: float) -> float:
    """Seconds until a queued webhook may be tried. Times are unix time; where the clock was set back the
    longest possible pause is the limit."""
    if attempts == 0:
        return 0.0
    return min(max(0.0, next_at - now), max(policy.max_delay, policy.longest_retry_after))


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
