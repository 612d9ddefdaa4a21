"""What to do after an attempt to deliver a webhook. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from waguard.core.circuit import CircuitPolicy

TOO_MANY: Final = 429
# answers after which the same request may succeed
RETRIED: Final = frozenset({408, 425, TOO_MANY})
SERVER_ERROR: Final = 500
SUCCESS: Final = range(200, 300)
# the application's limiter says no Retry-After, and every request renews its minute
TOO_MANY_PAUSE: Final = 65.0  # s

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
UNIDENTIFIED_AFTER: Final = 900.0  # s; so long a LID's number is waited for before it is said
READY: Final = "session_ready"
# while it handles this one, the application calls back, and drops it unless all is connected
HELD: Final = "message_received"
# the names that the old service used: what a receiver gets that does not say what it wants
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
    """The receiver will never take it, or its address may not be called."""
    EXPIRED = "expired"
    """It was not taken in time."""
    UNCERTAIN = "uncertain"
    """The receiver said yes, and may have dropped it."""
    REMOVED = "removed"
    """Its receiver is not there any more."""
    OTHER_NUMBER = "other_number"
    """Its session is linked to another number now, or is gone."""
    UNIDENTIFIED = "unidentified"
    """It is of a LID whose number is not known: the receiver would lose it."""
    UNDECRYPTABLE = "undecryptable"
    """It tells of a message that WhatsApp Web never could decrypt."""


DECIDED: Final = frozenset({Cause.REMOVED, Cause.OTHER_NUMBER})
"""Of dead letters that follow from what a person did: no trouble, though they are kept."""


class DeadLetterState(StrEnum):
    """How a dead letter is listed."""

    DEAD = "dead"
    UNCERTAIN = Cause.UNCERTAIN.value
    """A person replays or discards it, alone."""
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
    """The receiver's own wish is followed up to here."""
    give_up_after: float = 86_400.0
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an attempt. ``status`` None: time-out or no connection, ``error`` says which."""

    status: int | None = None
    retry_after: float | None = None
    error: str = "no answer"
    refused: bool = False
    """The address may not be called at all."""

    @property
    def works(self) -> bool:
        """Whether the receiver does: it understood the request."""
        return self.status is not None and self.status < SERVER_ERROR

    def summary(self) -> str:
        """For a log and a dead letter; no word of the receiver's own."""
        return self.error if self.status is None else f"the receiver answered {self.status}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""


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
    """Judge the ``attempt``-th answer (from 1) for a delivery that is tried for ``age`` s now.

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
        return Retry(TOO_MANY_PAUSE, everyone=True, asked=True)
    # the exponent is bounded before the power is: 2.0 ** 1024 would raise
    ceiling = min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 64))
    return Retry(ceiling * jitter)


def given_up(policy: DeliveryPolicy, attempts: int, last: str) -> str:
    """The reason of a dead letter that nobody took in time."""
    hours = policy.give_up_after / 3600
    return f"not taken within {hours:g} h, {attempts} attempts, the last: {last}"


def pause(policy: DeliveryPolicy, *, attempts: int, next_at: float, now: float) -> float:
    """Seconds until a queued one may be tried; times are unix time, and a clock may be set back:
    nothing waits for longer than it ever had to."""
    if attempts == 0:
        return 0.0
    return min(max(0.0, next_at - now), max(policy.max_delay, policy.longest_retry_after))


def outdated(event: str, later: Iterable[str]) -> bool:
    """Whether an undelivered event says nothing any more, given those that wait behind it."""
    return event in SESSION_EVENTS and any(name in SESSION_EVENTS for name in later)


def partition_of(event: str, data: Mapping[str, Any]) -> str:
    """Events of one partition of a session never overtake each other: a chat, or "" for the session.

    The chat is read off the message's id (``true_<chat>_<ID>``), which a message and its acks
    share; a call and what could not be read say it.
    """
    if event == "call_received":
        return str(data.get("chat_id", ""))
    if event == "message_error":  # without a chat it holds up none, and no session's own events
        return str(data.get("chat_id") or event)
    message = data.get("message")
    found = message.get("id") if isinstance(message, Mapping) else data.get("message_id")
    if event in SESSION_EVENTS or not isinstance(found, str):
        return ""
    _, _, rest = found.partition("_")
    return rest.partition("_")[0]
