"""A worker's answer to a call, as what came of a send, or as the error of another call. Pure."""

from typing import Final, cast

from waguard.core.messages.first_contact_pauses import ChatHistory
from waguard.core.replace import replace
from waguard.core.whatsapp_words import in_words
from waguard.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UncertainError,
    WaguardError,
)
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain
from waguard.wire.calls import Failed, Sent

RETRY_AFTER: Final = 5.0  # s
_OF_THE_CONNECTION: Final = frozenset({"ERROR_NETWORK", "ERROR_EXPIRED", "ERROR_UPLOAD"})
_DO_NOT_REPEAT: Final = "do not repeat it; look at the chat on the phone"


def outcome_of(answer: Sent | Failed) -> Outcome:
    """The outcome of a send. A 5xx would have it sent again: what is not known for certain is uncertain."""
    history = ChatHistory(answer.standing) if answer.standing in set(ChatHistory) else None
    outcome = replace(_outcome_of(answer), history=history, thrown=answer.thrown)
    return cast("Outcome", outcome)  # mypy joins what may come of a send to its base


def _outcome_of(answer: Sent | Failed) -> Outcome:
    match answer:
        case Sent(outcome="sent", message_id=message_id, timestamp=at, seen=seen):
            return Acked(message_id, at, seen)
        case Sent(outcome="refused", error=why):
            error = RefusedError(
                f"WhatsApp refused the message: {in_words(why or 'without a reason')}",
                remedy=_DO_NOT_REPEAT if why in _OF_THE_CONNECTION else None,
            )
            return Refused(error, why or "")
        case Sent(ack=0, error=why):
            return Uncertain(
                f"WhatsApp has not acknowledged it yet: {in_words(why or 'without a reason')}",
                at_page=True,
            )
        case Sent(error=why):
            return Uncertain(f"WhatsApp did not answer: {in_words(why or 'without a reason')}")
        case Failed(kind="held" | "paused" as hold):
            return NotSent(_not_yet(answer), hold)
        case Failed(kind="not_ready" | "too_often"):
            return NotSent(_not_yet(answer))
        case Failed(kind="refused"):
            return Refused(_refused(answer))
        case Failed(error=why):
            return Uncertain(_may_have_left(why))


def unanswered(why: str) -> Uncertain:
    """The outcome of a send to which no answer came."""
    return Uncertain(_may_have_left(why))


def error_of(failed: Failed) -> WaguardError:
    """The error of a call that is no send."""
    match failed.kind:
        case "not_ready" | "paused" | "held" | "too_often":
            return _not_yet(failed)
        case "refused":
            return _refused(failed)
        case "timeout" | "later":
            return lost(failed.error)
        case "absent":
            return NotFoundError(failed.error)
        case "uncertain":
            return uncertain(failed.error)
        case "no_passkey":
            return ConflictError(failed.error)
        case _:
            return WaguardError(failed.error)


def lost(why: str) -> UnavailableError:
    """The error of a call to which no answer came."""
    return UnavailableError(why, retry_after=RETRY_AFTER)


def uncertain(why: str) -> UncertainError:
    """The error of a change that may have been done."""
    return UncertainError(
        f"{why}; it may have been done", remedy="check the group on the phone; do not repeat it"
    )


def _may_have_left(why: str) -> str:
    return f"{why}; it may have been sent"


def _not_yet(failed: Failed) -> UnavailableError:
    if failed.kind == "not_ready":
        return lost(f"Session not ready: {failed.error}")
    return UnavailableError(failed.error, field=failed.field, retry_after=RETRY_AFTER)


def _refused(failed: Failed) -> RefusedError:
    error, field = failed.error, failed.field
    return RefusedError(error if field else f"WhatsApp's page refused: {error}", field=field)
