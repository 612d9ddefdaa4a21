"""The part of the database that keeps messages: one transaction for what comes in, goes out and is delivered."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.people import People
from waguard.core.messages.send_states import State
from waguard.core.messages.undecryptable import Waiting
from waguard.core.webhooks.delivery import OLD_SERVICE, Cause, DeadLetterState
from waguard.core.webhooks.pending import DeliveryResult, Hold, Pending
from waguard.ports.outbox import NewMessage, StateUpdate, Withdrawal
from waguard.ports.webhooks import DeadLetter, Endpoint, Queued, Replayed, UnidentifiedChat


class Written(Struct, frozen=True, kw_only=True):
    """What a write did: which records were news, which endpoints have more to deliver, for each
    write to the outbox the new id, or how many messages it changed (or ``UNDECIDED``), and what it reports
    besides of how messages ended. In a cluster nothing was written of a session that this host does not own."""

    news: tuple[bool, ...]
    """For each record that was written."""
    endpoints: frozenset[str]
    kept: tuple[int | None, ...] = ()
    """None: it was not written, for this host may not."""
    reported: tuple[InboxRecord, ...] = ()
    received: tuple[InboxRecord, ...] = ()
    """The records as the application gets them: with numbers for LIDs, under known ids."""
    lost: frozenset[str] = frozenset()
    """Sessions of records that were not written."""
    unrecorded: frozenset[int] = frozenset()
    """Ids of webhooks of which it was not written what became of them."""


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


class FileState(StrEnum):
    """The state of a file that is fetched after its message."""

    WAITING = "waiting"
    KEPT = "kept"
    FAILED = "failed"


class DeferredFile(Struct, frozen=True, kw_only=True):
    """A file that is fetched after its message. ``at`` is unix time, since when it waits."""

    session_id: str
    message_id: str
    """The message's id, as the page has it."""
    handle: str
    """The name by which the application asks for it."""
    mimetype: str
    size: int | None
    """Bytes, as its sender says."""
    state: FileState
    tries: int
    sha256: str | None
    """The name under which it is kept."""
    error: str | None
    at: float


class NamedFile(Struct, frozen=True, kw_only=True):
    """A message's file, as the inbox has it; ``key`` is the message's, ``message_id`` as the page has it."""

    session_id: str
    key: str
    message_id: str
    mimetype: str
    size: int | None
    sha256: str | None
    deferred: DeferredFile | None


class DeferredFiles(Protocol):
    """Files that are fetched after their messages. Errors are those of ``Store``."""

    async def deferred_file(self, handle: str) -> DeferredFile | None:
        """By its handle."""

    async def files_to_fetch(self) -> list[DeferredFile]:
        """One of each session that waits: the oldest of those that were tried least; the oldest first. In a cluster of
        sessions that this host owns."""

    async def begin_file(self, handle: str) -> None:
        """Count another try."""

    async def end_file(
        self, handle: str, *, sha256: str | None = None, error: str | None = None
    ) -> None:
        """Record that it is kept, or why it is given up."""

    async def named_file(self, message_id: str, sessions: Collection[str]) -> NamedFile | None:
        """The file of a message of one of these sessions; ``message_id`` as the application has it."""

    async def fetch_again(self, file: NamedFile) -> str:
        """Have it wait, for the first time or again; its handle."""


class FilesNamed(Protocol):
    """What the database says of received files. Errors are those of ``Store``."""

    async def files_awaited(self) -> Collection[str]:
        """The names of the files that webhooks name which still wait, whichever host delivers them: what it leaves out is
        deleted from this one's disk."""

    async def has_file(self, name: str, sessions: Collection[str]) -> bool:
        """Whether a message of one of these sessions came with the file, as far as the inbox goes back."""


class Remembered(Protocol):
    """What is kept in memory of the database: whose LIDs sessions know, which messages they could not decrypt, which dead
    letters were replayed last."""

    def forget(self, sessions: Collection[str]) -> None:
        """Read again what memory has of these sessions: another host may have written since."""

    def chosen(self) -> list[Replayed]:
        """What the newest replay of dead letters has chosen: where that raised,
        it may be pending."""


class MessageChecks(Protocol):
    """What is asked of the database itself. Errors are those of ``MessageStore``."""

    async def try_outbox(self) -> None:
        """Keep no message. Raises ``DatabaseUnavailableError`` where one would not be kept."""

    async def rewound(self) -> bool:
        """Whether the database was put back to an older state of itself since it was asked this last."""


class SessionMessages(Undecryptables, Protocol):
    """What a session asks of its messages. Errors are those of ``Store``."""

    async def unread(self, session_id: str, *, after: float) -> Mapping[str, State]:
        """By WhatsApp's id, how far the session's newest sends since ``after`` have come, of which no receipt says that
        they were read; unix time."""


class MessageStore(SessionMessages, FilesNamed, DeferredFiles, Remembered, MessageChecks, Protocol):
    """The part of the database that keeps messages. Errors are those of ``Store``. In a cluster what is about many sessions
    is done for those that this host owns, and what is about one raises ``NotOwnedError`` where it does not; but for what
    people list, ``tidy`` and endpoints."""

    async def write(
        self,
        received: Sequence[InboxRecord],
        results: Sequence[DeliveryResult | Hold] = (),
        *,
        outgoing: Sequence[NewMessage | StateUpdate | Withdrawal] = (),
        for_global: Collection[str] = OLD_SERVICE,
    ) -> Written:
        """All of it, durably, in one transaction, with its webhooks; a record that is no news is left out.

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
        sessions: Collection[str] | None = None,
    ) -> tuple[list[Pending], dict[int, bytes]]:
        """What is to be delivered there, by id, which is the order of the writes; and the bodies of those that are small.

        ``partition``: of this session and partition only; ``until``: no higher ids; ``sessions``: of these only, None: of
        all, in a cluster of those that this host owns. Ids of different hosts are not committed in their order: what a
        session has is read from 0 when it is acquired.
        """

    async def body(self, number: int, event_id: str, *, pending: bool = True) -> bytes | None:
        """The body of a webhook that is ``pending``, or dead or not; None: there is no such webhook any more."""

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
    ) -> Sequence[int]:
        """Make dead letters of at most ``limit`` that are pending or wait for a number: of an endpoint, or the received
        messages of a session; without both, all that are pending; the oldest, queued before then (unix time). Their ids."""

    async def dead(
        self,
        *,
        sessions: Collection[str] | None = None,
        state: DeadLetterState | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """The newest dead letters, with an id below ``before``; ``sessions``, ``state``: only those. What waits
        for the number of a LID is listed after ``core.delivery.UNIDENTIFIED_AFTER``."""

    async def queued(self) -> Queued:
        """How much waits and was given up; what was given up may be a minute old."""

    async def dead_letter(self, number: int) -> DeadLetter | None:
        """One of them."""

    async def replay(self, first: int, last: int, receivers: Collection[str]) -> list[Replayed]:
        """Queue dead letters with these ids again, some of the oldest, where they are for one of
        the ``receivers``: before what waits behind them, by id. One that is uncertain, stored or
        unidentified only where it is named alone.

        []: none is left.
        """

    async def release_restored(
        self, receivers: Collection[str], *, pending: bool
    ) -> list[Replayed]:
        """Queue some of what the daemon before a restore may have delivered, where it is for one of the ``receivers``; what
        is about a LID waits for its number again. ``pending``: also what waits for its look-up.

        []: none is left.
        """

    async def discard(self, number: int) -> bool:
        """Delete a dead letter; whether there was one."""

    async def unidentified(self) -> list[UnidentifiedChat]:
        """Chats that have waited for ``core.delivery.UNIDENTIFIED_AFTER``, the longest first."""

    async def replay_unidentified(
        self, session_id: str, chat: str, receivers: Collection[str]
    ) -> list[Replayed]:
        """Queue, in its order, some of what waits in such a chat for one of the ``receivers``.

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
