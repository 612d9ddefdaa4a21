"""The outbox: what is sent, as it is written and as it is read."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from msgspec import Struct
from msgspec import field as struct_field

from waguard.core.messages.send_states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to keep before it is sent. Times are unix time.

    ``body`` is the command as JSON, ``content`` its file where it may have to be sent later. A
    ``key`` of an older message is taken over.
    """

    session_id: str
    workspace_id: int
    chat: str
    kind: str
    body: bytes = field(repr=False)
    content: bytes | None = field(default=None, repr=False)
    message_id: str
    state: State
    fingerprint: str
    key: str | None = None
    queued: bool = False
    """Nobody waits for its outcome."""
    send_at: float | None = None
    expires_at: float | None = None
    """When it is too late to send it; None: never."""
    bulk_id: str | None = None
    phone: str | None = None
    """The session's number when it was accepted; None: it had none yet."""
    seen: int | None = None
    """The epoch of a session that nobody living owns, as the host saw it that accepts this for whoever will own it; None:
    this host owns the session."""


class StateUpdate(Struct, frozen=True, kw_only=True):
    """What became of a kept message; None changes nothing, and a step that
    ``core.outbox.FROM`` does not know does nothing."""

    id: int
    state: State | None = None
    ack: int | None = None
    error: str | None = None
    sent_at: int | None = None
    answered: bool = False
    """The reply was written."""
    direct: bool = False
    """The request waited for that reply: who sent it stores the message only now."""
    phone: str | None = None
    """Step only where it belongs to this number, or to none yet; then it does."""
    reports: tuple[str, str] | None = None
    """Session and WhatsApp's id, where the application may have to hear how it ended."""
    due: bool = False
    """The application is to hear it also where no reply was written."""
    queued: bool = False
    """With the step, which then may be none: from now on nobody waits for its outcome."""


UNDECIDED: Final = -1
"""What a withdrawal changed where a transaction that is still open may keep its message later."""


class Withdrawal(Struct, frozen=True):
    """Forget a message whose keeping seemed to fail, if it was kept all the same. ``seen``: as the message had it;
    ``since``: monotonic time at which it had failed."""

    message_id: str
    seen: int | None = None
    since: float = struct_field(default_factory=time.monotonic)


class Outgoing(Struct, frozen=True, kw_only=True):
    """A kept message, without its text and its file."""

    id: int
    session_id: str
    workspace_id: int
    chat: str
    kind: str
    message_id: str
    state: State
    ack: int | None
    error: str | None
    attempts: int
    key: str | None
    fingerprint: str
    queued: bool
    answered: bool
    send_at: float | None
    expires_at: float | None
    sent_at: int | None
    bulk_id: str | None
    phone: str | None
    created_at: float
    updated_at: float


class Reader(Struct, frozen=True, kw_only=True):
    """Who got (2), read (3) or played (4) a message to a group; ``at`` is unix time."""

    reader: str
    ack: int
    at: float


class OutboxStore(Protocol):
    """The reading part of the outbox; its writes are ``MessageStore.write``'s. Errors are those
    of ``Store``."""

    async def unfinished(
        self,
        *,
        uncertain_since: float,
        answered_since: float,
        sessions: Collection[str] | None = None,
    ) -> list[Outgoing]:
        """All that are accepted or sending, those that became uncertain since, and those since
        whose reply was not written; by id. Times are unix time. ``sessions``: of these only; None: of all, in a cluster of
        those that this host owns."""

    async def unreported(
        self, *, since: float, sessions: Collection[str] | None = None
    ) -> list[Outgoing]:
        """Those accepted since that WhatsApp's server has, without a ``message_sent``; and queued
        ones that it will never have, without a ``message_failed``. ``sessions`` as ``unfinished``."""

    async def find(self, number: int) -> Outgoing | None:
        """By waguard's id."""

    async def find_message(self, message_id: str) -> Outgoing | None:
        """By WhatsApp's id."""

    async def find_key(self, session_id: str, key: str) -> Outgoing | None:
        """By the idempotency key."""

    async def find_unanswered(self, fingerprint: str, *, since: float) -> Outgoing | None:
        """The newest without a key, accepted since (unix time), whose reply was not written, and that may have been sent, or
        may be yet."""

    async def readers(self, session_id: str, message_id: str) -> list[Reader]:
        """Who of a group has got or read it, by time."""

    async def load(self, number: int) -> tuple[bytes, bytes | None] | None:
        """Body and content."""

    async def listing(
        self,
        *,
        sessions: Collection[str] | None = None,
        state: State | None = None,
        bulk_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Outgoing]:
        """The newest, with an id below ``before``; ``sessions``: of these only."""

    async def counts(
        self, bulk_id: str, sessions: Collection[str] | None = None
    ) -> dict[State, int]:
        """How many of a bulk are in which state; ``sessions``: none, where it belongs to another one."""

    async def unended(self) -> dict[State, int]:
        """How many are in each state that is no end."""

    async def files_awaited(self) -> Collection[str]:
        """The names of the files that are still to be sent, whichever host owns their sessions: what it leaves out is
        deleted from this one's disk."""

    async def largest_body(self) -> int | None:
        """Bytes that the database takes at once; None: more than any message has."""

    async def tidy(self, *, before: float, limit: int) -> int:
        """Delete at most ``limit`` that were sent, or ended unsent, before (unix time); how many."""
