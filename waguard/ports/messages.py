"""The part of the database that keeps messages: inbox, webhooks, outbox."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from waguard.core.conditions import DeadLetters
from waguard.core.messages.identity import People
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.news import Notice
from waguard.core.messages.outbox import State
from waguard.core.messages.undecryptable import Waiting
from waguard.core.webhooks.delivery import OLD_SERVICE, Cause, DeadLetterState

GLOBAL: Final = "*"  # the endpoint of webhook.url; every other one has its session's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something to store, with its webhooks."""

    received: InboxRecord
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A queued webhook. Times are unix time; ``body`` None: large, to be asked for."""

    id: int
    event: str
    event_id: str
    session_id: str
    partition: str
    attempts: int
    next_at: float
    created_at: float
    tried_since: float | None = None
    """When the attempts began that were not followed by a hold."""
    held_since: float | None = None
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """What became of a queued webhook: delivered (all None), to be tried again, or dead."""

    id: int
    attempts: int = 0
    next_at: float | None = None
    error: str | None = None
    """With ``next_at``: why it failed; without: why it is a dead letter."""
    tried_since: float | None = None
    """As ``Pending`` has it; for one that is to be tried again."""
    cause: Cause | None = None
    """Of a dead letter."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A queued webhook waits for its session since then (unix time), or no longer (None): either
    way its attempts count from 0 again."""

    id: int
    since: float | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdate:
    """What became of a kept message; None changes nothing, and a step that
    ``core.outbox.FROM`` does not know does nothing."""

    id: int
    state: State | None = None
    ack: int | None = None
    error: str | None = None
    sent_at: int | None = None
    answered: bool = False
    """Its reply was written."""
    phone: str | None = None
    """Step only where it belongs to this number, or to none yet; then it does."""
    reports: tuple[str, str] | None = None
    """Session and WhatsApp's id, where the application may have to hear how it ended."""
    due: bool = False
    """It is to hear it also where no reply was written."""
    queued: bool = False
    """With the step: from now on nobody waits for its outcome."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Forget a message whose keeping seemed to fail, if it was kept all the same."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write did: which entries were news, which endpoints have more to deliver, for each
    write to the outbox the new id, or how many messages it changed, and what it reports besides of
    how messages ended."""

    news: tuple[bool, ...]
    endpoints: frozenset[str]
    kept: tuple[int, ...] = ()
    reported: tuple[InboxRecord, ...] = ()
    received: tuple[InboxRecord, ...] = ()
    """The entries as the application gets them: with numbers for LIDs, under known ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who got (2), read (3) or played (4) a message to a group; ``at`` is unix time."""

    reader: str
    ack: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A session's own receiver."""

    session_id: str
    url: str
    secret: str | None = field(repr=False)
    hold: bool = True
    """It calls back while it handles ``message_received``, and drops what its session is not
    connected for: such events wait."""
    events: tuple[str, ...] = OLD_SERVICE
    """The events that it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
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


class Undecryptables(Protocol):
    """Messages that WhatsApp Web could not decrypt yet. Errors are those of ``Store``.

    One is remembered when it is put into the inbox, and no more when its message is.
    """

    async def people(self, session_id: str) -> People:
        """As ``Inbox``."""

    async def undecryptable(self, session_id: str, *, limit: int) -> tuple[list[Waiting], int]:
        """The oldest messages of a session that are remembered as undecryptable, the oldest first;
        and how many there are in all."""

    async def no_messages(self, session_id: str, message_ids: Collection[str]) -> None:
        """Remember these no more: they are no messages."""

    async def give_up(
        self,
        why: str,
        *,
        session_id: str | None = None,
        before: float | None = None,
        message_ids: Collection[str] | None = None,
        limit: int,
    ) -> list[tuple[str, str]]:
        """Make dead letters of at most ``limit`` messages that are remembered as undecryptable: of a
        session, remembered since ``before`` (unix time) or longer, of these ids; the oldest. Their
        sessions and ids."""


@dataclass(frozen=True, slots=True)
class UnidentifiedChat:
    """A chat of a LID without a known number: ``count`` webhooks wait, the first one since then
    (unix time)."""

    session_id: str
    chat: str
    since: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What the webhook queue holds: webhooks that are pending by endpoint, and dead letters."""

    pending: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadLetters] = ()
    unidentified: Sequence[UnidentifiedChat] = ()


class MessageStore(Undecryptables, Protocol):
    """The part of the database that keeps messages. Errors are those of ``Store``."""

    async def write(
        self,
        entries: Sequence[Entry],
        results: Sequence[DeliveryResult | Hold] = (),
        *,
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal] = (),
        for_global: Collection[str] = OLD_SERVICE,
    ) -> Written:
        """All of it, durably, in one transaction; an entry that is no news is left out.

        An ack that is news moves the message that it is about, and its webhooks wait for
        ``message_sent``. How a message ended is reported here, once, when it may be
        (``core.news``). A session event takes the place of those of its session that are still
        pending; ``session_ready`` claims the messages that belong to no number yet.
        ``for_global``: the events that the receiver besides the sessions' own gets.
        """

    async def pending(
        self,
        endpoint: str,
        *,
        after: int,
        limit: int,
        partition: tuple[str, str] | None = None,
        until: int | None = None,
    ) -> list[Pending]:
        """What is to be delivered there, by id, which is the order of the writes.

        ``partition``: of this session and partition only; ``until``: no higher ids.
        """

    async def body(self, number: int) -> bytes | None:
        """The body of a webhook, dead or not; None: there is no such webhook any more."""

    async def files_awaited(self) -> Collection[str]:
        """The names of the files that webhooks name which still wait."""

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        """As ``Inbox``."""

    async def endpoints(self) -> list[Endpoint]:
        """The sessions' own receivers."""

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        """Set or replace a session's."""

    async def delete_endpoint(self, session_id: str) -> bool:
        """Whether there was one. What it still should have got is for ``dead_letter_pending``."""

    async def dead_letter_pending(
        self,
        why: str,
        cause: Cause,
        *,
        endpoint: str | None = None,
        session_id: str | None = None,
        before: float | None = None,
        limit: int,
    ) -> int:
        """Make dead letters of at most ``limit`` that are pending: of an endpoint, or the received
        messages of a session; the oldest, queued before then (unix time). How many."""

    async def dead(
        self,
        *,
        session_id: str | None = None,
        state: DeadLetterState | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """The newest dead letters, with an id below ``before``; ``state``: only those. What waits
        for the number of a LID is listed after ``core.delivery.UNIDENTIFIED_AFTER``."""

    async def queued(self) -> Queued:
        """How much waits and was given up; what was given up may be a minute old."""

    async def dead_letter(self, number: int) -> DeadLetter | None:
        """One of them."""

    async def replay(self, first: int, last: int, receivers: Collection[str]) -> list[str]:
        """Queue dead letters with these ids again, some of the oldest, where they are for one of
        the ``receivers``; the endpoint of each. One that is uncertain or unidentified only where it
        is named alone.

        []: none is left.
        """

    async def discard(self, number: int) -> bool:
        """Delete a dead letter; whether there was one."""

    async def unidentified(self) -> list[UnidentifiedChat]:
        """Chats that have waited for ``core.delivery.UNIDENTIFIED_AFTER``, the longest first."""

    async def replay_unidentified(
        self, session_id: str, chat: str, receivers: Collection[str]
    ) -> list[str]:
        """Queue, in its order, some of what waits in such a chat for one of the ``receivers``; the
        endpoint of each.

        []: none is left.
        """

    async def discard_unidentified(self, session_id: str, chat: str) -> int:
        """Delete what waits in such a chat; how many webhooks."""

    async def tidy(
        self,
        *,
        inbox_before: float,
        reported_before: float,
        dead_before: float,
        undecryptable_before: float,
        limit: int,
    ) -> int:
        """Delete at most about ``limit`` rows that are older (unix time); how many. What says how
        messages ended goes only before ``reported_before``: it must not be reported twice. What is still
        pending when its inbox entry may go is a dead letter first. A message that was undecryptable
        stays until ``undecryptable_before``."""

    async def linked_phone(self, session_id: str) -> str | None:
        """The number that the session was linked to last; None: to none."""

    async def link_phone(self, session_id: str, phone: str) -> None:
        """Note that the session is linked to this number."""


class OutboxStore(Protocol):
    """The reading part of the outbox; its writes are ``MessageStore.write``'s. Errors are those
    of ``Store``."""

    async def unfinished(self, *, uncertain_since: float, answered_since: float) -> list[Outgoing]:
        """All that are accepted or sending, those that became uncertain since, and those since
        whose reply was not written; by id. Times are unix time."""

    async def unreported(self, *, since: float) -> list[Outgoing]:
        """Those accepted since that WhatsApp's server has, without a ``message_sent``; and queued
        ones that it will never have, without a ``message_failed``."""

    async def find(self, number: int) -> Outgoing | None:
        """By waguard's id."""

    async def find_message(self, message_id: str) -> Outgoing | None:
        """By WhatsApp's id."""

    async def find_key(self, session_id: str, key: str) -> Outgoing | None:
        """By the idempotency key."""

    async def readers(self, session_id: str, message_id: str) -> list[Reader]:
        """Who of a group has got or read it, by time."""

    async def load(self, number: int) -> tuple[bytes, bytes | None] | None:
        """Body and content."""

    async def listing(
        self,
        *,
        session_id: str | None = None,
        state: State | None = None,
        bulk_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Outgoing]:
        """The newest, with an id below ``before``."""

    async def counts(self, bulk_id: str) -> dict[State, int]:
        """How many of a bulk are in which state."""

    async def largest_body(self) -> int | None:
        """Bytes that the database takes at once; None: more than any message has."""

    async def tidy(self, *, before: float, limit: int) -> int:
        """Delete at most ``limit`` that have ended and were accepted before; how many."""
