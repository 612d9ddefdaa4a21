"""The queue of webhooks: what is pending, what came of it, who gets it, what was given up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as hidden
from typing import Final, NamedTuple

from msgspec import Struct, field

from waguard.core.conditions import DeadLetters
from waguard.core.webhooks.delivery import OLD_SERVICE, MessageFields

GLOBAL: Final = "*"  # the endpoint of webhook.url; every other one has its session's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A session's own receiver."""

    session_id: str
    url: str
    secret: str | None = hidden(repr=False)
    hold: bool = True
    """The receiver calls back while it handles ``message_received``, and drops what its session is not
    connected for: such events wait."""
    events: tuple[str, ...] = OLD_SERVICE
    """The events that it gets."""
    fields: MessageFields = MessageFields.APPLICATION


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A webhook that was given up. Times are unix time, ``size`` is of the body in bytes."""

    id: int
    endpoint: str
    event: str
    event_id: str
    session_id: str
    partition: str
    """The id of its chat; for a session's own events "" or a word."""
    attempts: int
    error: str
    cause: str | None
    """A ``core.delivery.Cause``; None: it died before causes were kept."""
    created_at: float
    died_at: float
    size: int


class Replayed(NamedTuple):
    """A dead letter that is pending again."""

    endpoint: str
    session_id: str
    partition: str
    id: int


class UnidentifiedChat(Struct, frozen=True):
    """A chat of a LID without a known number: ``count`` webhooks wait, the first one since then
    (unix time)."""

    session_id: str
    chat: str
    since: float
    count: int


class Queued(Struct, frozen=True, kw_only=True):
    """What the webhook queue holds: webhooks that are pending by endpoint, the lowest id of them, and dead letters."""

    pending: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadLetters] = ()
    unidentified: Sequence[UnidentifiedChat] = ()
