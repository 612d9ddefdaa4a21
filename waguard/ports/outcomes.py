"""What came of a send: one union, from the session's answer to the API's reply."""

from dataclasses import dataclass

from waguard.core.messages.outbox import State
from waguard.errors import RefusedError, UncertainError, WaguardError
from waguard.wire.protocol import Sent, Value

UNCERTAIN = "it is not known whether the message was sent"


@dataclass(frozen=True, slots=True)
class Acked:
    """WhatsApp's server has it. ``timestamp`` is unix time in s."""

    message_id: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class Refused:
    """WhatsApp refused it: the same message is refused again."""

    error: RefusedError


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may have been sent: the answer never came. It is never sent again."""

    error: UncertainError


@dataclass(frozen=True, slots=True)
class NotSent:
    """It certainly has not left: it may be sent again."""

    error: WaguardError


Outcome = Acked | Refused | Uncertain | NotSent


def of_answer(answer: Sent | Value, message_id: str) -> Outcome:
    """What a worker answered to a send. Whatever is no clear answer is uncertain."""
    match answer:
        case Sent(outcome="sent", message_id=sent_as, timestamp=at):
            return Acked(sent_as, at)
        case Sent(outcome="refused", error=error):
            return Refused(RefusedError(error or "WhatsApp refused the message"))
        case _:
            return uncertain(message_id)


def of_error(error: WaguardError) -> Outcome:
    """What ``Sessions.call`` raised for a send."""
    match error:
        case RefusedError():
            return Refused(error)
        case UncertainError():
            return Uncertain(error)
        case _:
            return NotSent(error)


def uncertain(message_id: str) -> Uncertain:
    """Nobody knows."""
    return Uncertain(UncertainError(UNCERTAIN, value=message_id))


def state_after(outcome: Outcome, *, waits: bool) -> State:
    """Where it leads a message that is being sent; ``waits``: it is queued, and tried again when it
    certainly has not left."""
    match outcome:
        case Acked():
            return State.SENT
        case Refused():
            return State.REFUSED
        case Uncertain():
            return State.UNCERTAIN
        case NotSent():
            return State.ACCEPTED if waits else State.FAILED
