"""What came of a send: one union, from the worker's link to the API's reply."""

from typing import Literal

from msgspec import Struct

from waguard.core.messages.first_contact_pauses import ChatHistory
from waguard.core.messages.send_states import State
from waguard.errors import RefusedError, WaguardError

UNCERTAIN = "it is not known whether the message was sent"


class _OfPage(Struct, frozen=True, kw_only=True):
    """What the page said beside the outcome."""

    history: ChatHistory | None = None
    """What the chat was before the message; None: it did not say."""
    thrown: str | None = None
    """What the page's own code threw at the send."""


class Acked(_OfPage, frozen=True):
    """WhatsApp's server has it. ``timestamp`` is unix time in s."""

    message_id: str
    timestamp: int
    seen: bool | None = None
    """Whether the page reported it as a message; None: it is no sentinel."""


class Refused(_OfPage, frozen=True):
    """WhatsApp refused it: the same message is refused again. ``word``: what WhatsApp's server called it,
    empty where it gave no reason; None: the page refused it."""

    error: RefusedError
    word: str | None = None


class Uncertain(_OfPage, frozen=True):
    """The message may have been sent: the answer never came. It is never sent again. ``at_page``: the page has it and
    sends it by itself; the server has not acknowledged it."""

    why: str = UNCERTAIN
    at_page: bool = False


class NotSent(_OfPage, frozen=True):
    """The message certainly has not left: it may be sent again. ``hold``: it is a first contact, and those pause
    ("held"), or begin to, for WhatsApp was asked for too many numbers ("paused")."""

    error: WaguardError
    hold: Literal["held", "paused"] | None = None


Outcome = Acked | Refused | Uncertain | NotSent


def label_of(outcome: Outcome) -> str:
    """The outcome in metrics: one of ``core.metrics.table.OUTCOMES``."""
    match outcome:
        case Acked():
            return "acked"
        case Refused():
            return "refused"
        case Uncertain():
            return "uncertain"
        case NotSent():
            return "not_sent"


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
