"""The states of a message on its way out, and what moves it from one to the next. Pure.

A message is sent at most once: its id is chosen and stored before the command leaves, and after
that only what proves that the command never left leads back. An ack counts whenever it comes.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

ACK_ERROR: Final = -1
ACK_SERVER: Final = 1
ACK_DEVICE: Final = 2
ACK_READ: Final = 3
ACK_PLAYED: Final = 4


class State(StrEnum):
    """The state of a stored message."""

    ACCEPTED = "accepted"
    """The command has not left."""
    SENDING = "sending"
    """The command may have left: it is never sent again without a proof that it has not."""
    UNCERTAIN = "uncertain"
    """WhatsApp has not answered. Late acks still count."""
    REFUSED = "refused"
    SENT = "sent"
    """WhatsApp's server has it."""
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    """The command never left, and never will."""
    CANCELLED = "cancelled"
    """The command never left, and never will, because a cancellation was requested."""


_UNPROVEN: Final = frozenset(
    {State.ACCEPTED, State.SENDING, State.UNCERTAIN, State.REFUSED, State.FAILED}
)
FROM: Final[Mapping[State, frozenset[State]]] = {
    State.ACCEPTED: frozenset({State.SENDING}),
    State.SENDING: frozenset({State.ACCEPTED}),
    State.UNCERTAIN: frozenset({State.SENDING}),
    State.REFUSED: frozenset({State.SENDING, State.UNCERTAIN}),
    State.SENT: _UNPROVEN,
    State.DELIVERED: _UNPROVEN | {State.SENT},
    State.READ: _UNPROVEN | {State.SENT, State.DELIVERED},
    State.FAILED: frozenset({State.ACCEPTED, State.SENDING}),
    State.CANCELLED: frozenset({State.ACCEPTED}),
}
"""The states from which each state may be reached; any other change is outdated."""

ENDED: Final = frozenset(State) - {State.ACCEPTED, State.SENDING, State.UNCERTAIN}
"""Final states: such messages may be deleted when they are old."""
UNENDED: Final = tuple(it for it in State if it not in ENDED)
"""All other states."""
WITHOUT_CONTENT: Final = ENDED | {State.UNCERTAIN}
"""States of messages that are never sent again: their files are not needed any more."""
ABANDONED: Final = 0.0
"""For the time until which a message waits: its session was logged out since it was accepted. It is never begun, and
whoever has the session fails it."""
AT_SERVER: Final = frozenset({State.SENT, State.DELIVERED, State.READ})


ACTIONS: Final = frozenset({"reaction", "edit", "revoke"})
"""Kinds of what changes a message and makes none."""


def moves(before: State, after: State) -> bool:
    """Whether the one leads to the other."""
    return before in FROM[after]


def by_ack(ack: int | None) -> State | None:
    """The state after an ack; None: it changes nothing. "Pending" only means that WhatsApp's page has the message."""
    if ack is None or ack == 0:
        return None
    if ack <= ACK_ERROR:
        return State.REFUSED
    if ack == ACK_SERVER:
        return State.SENT
    return State.DELIVERED if ack == ACK_DEVICE else State.READ


def after_poll(ack: int | None) -> State:
    """The state of a message whose answer was lost, after its chat was read. That it is not there proves nothing:
    it may be on its way, or the page was loaded again."""
    return by_ack(ack) or State.UNCERTAIN
