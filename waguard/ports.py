"""The seams: what supervision and the API need from the outside world."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from waguard.config import Level, Log
from waguard.core.blame import Condition
from waguard.core.conditions import DeadLetters, degraded
from waguard.core.delivery import OLD_SERVICE, Cause, Grave
from waguard.core.identity import People
from waguard.core.inbox import Received
from waguard.core.lease import Holder, Lease, Terms
from waguard.core.news import Notice
from waguard.core.outbox import State
from waguard.core.reconcile import Correction, Finding
from waguard.core.status import Verdict
from waguard.core.strays import Foreign, Seen
from waguard.core.undecryptable import Waiting
from waguard.wire.protocol import Call, QrCode, Sent, Value, WorkerRecord, WorkerSpec


class Clock(Protocol):
    """Time as an argument."""

    def wall(self) -> float:
        """Unix time in seconds."""

    def monotonic(self) -> float:
        """Seconds that never jump."""


class Ages(Protocol):
    """How old something is, whatever the wall clock was set to meanwhile (``core.lived``)."""

    def age(self, since: float) -> float:
        """Seconds since then (unix time) in which a daemon lived."""

    def ago(self, seconds: float) -> float:
        """The unix time since which so many seconds were lived."""


@dataclass(frozen=True, slots=True)
class WallAges:
    """Fills ``Ages`` where nothing is known but the clock. ``wall`` is unix time."""

    wall: Callable[[], float]

    def age(self, since: float) -> float:
        """All seconds since then."""
        return self.wall() - since

    def ago(self, seconds: float) -> float:
        """So many seconds before now."""
        return self.wall() - seconds


class LogLevels(Protocol):
    """From which level on is logged, and who asked for another one than is configured."""

    @property
    def configured(self) -> Log:
        """As it was last read."""

    @property
    def effective(self) -> Log:
        """As it is."""

    def ask(self, level: Level | None, *, by: str) -> None:
        """Log from this level on, until the restart; None: as configured. ``by``: who asked."""


class Process(Protocol):
    """A worker's process. It may be a child, or adopted from a daemon that died."""

    @property
    def pid(self) -> int:
        """Its process id, which is also its process group."""

    async def listening(self) -> None:
        """Wait until its socket can be connected to, or it is gone."""

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM to the worker alone); harmless when it is gone."""

    def kill(self) -> None:
        """End the worker's whole process group; harmless when it is gone."""

    async def stopped(self) -> None:
        """Return when it has stood still (SIGSTOP) for a second; ``terminate`` is of no use then."""

    async def wait(self) -> int | None:
        """Exit code (negative: signal), None where the kernel does not tell (adopted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a session's worker and browser use."""

    cpu_percent: float | None
    """Of one core, since the look before; None: this was the first."""
    memory: int
    """Bytes; what is shared counts in shares (PSS)."""


class Meter(Protocol):
    """Measures sessions."""

    def look(self, groups: Mapping[str, Collection[int]], now: float) -> Mapping[str, Usage]:
        """By session, of its process groups; ``now`` in monotonic seconds. It blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What ``Spawn.sweep`` found."""

    ended: tuple[Seen, ...] = ()
    """Ours, left over, and gone now."""
    foreign: tuple[Foreign, ...] = ()
    """Other people's, still there."""


class Spawn(Protocol):
    """Starts workers, and finds those that a dead daemon left."""

    async def spawn(self, spec: WorkerSpec) -> Process:
        """Start a worker. Raises ``WaguardError`` where the system refuses."""

    async def sweep(self, *, records: str, profiles: str, kept: Collection[int] = ()) -> Swept:
        """End the workers and browsers that dead instances, or dead workers, left running.

        ``records`` and ``profiles``: the folders, or the one record and profile that it is about.
        ``kept``: pids of workers that are not to be touched, nor their browsers.
        """

    def adopt(self, record: WorkerRecord) -> Process | None:
        """The living process of ``record``, or None: gone, or the pid is another's now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session as the database knows it. Times are UTC. ``desired_up`` is False also where the
    application has switched the account off (``is_active``)."""

    session_id: str
    workspace_id: int
    status: str
    desired_up: bool
    generation: int
    phone_number: str | None = None
    disconnect_reason: str | None = None
    disconnect_details: str | None = None
    connected_at: datetime | None = None
    last_activity: datetime | None = None
    account_id: int | None = None
    priority: int = 0
    removed_at: datetime | None = None
    """When it was deleted here; the row stays, and whoever wants it up brings it back."""
    unpaired: bool = False
    """It has not been connected since it was made, logged out or deleted: it has no profile to
    miss, and a QR code is what comes next."""
    limits: str | None = None
    """JSON: what WhatsApp grants no more of for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that waguard did or saw, for ``waguard why``."""

    session_id: str | None
    kind: str
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    at: float | None = None
    """Unix time; None: now."""


class Store(Protocol):
    """The database. Every call raises ``DatabaseUnavailableError`` when it cannot be reached:
    unknown is never an empty answer."""

    async def open(self) -> None:
        """Connect and migrate, once. Raises ``DatabaseUnavailableError``; may be called again."""

    async def close(self) -> None:
        """Release every connection."""

    async def ping(self) -> None:
        """Prove that the database answers."""

    async def sessions(self) -> list[SessionRow]:
        """Every session of waguard's (provider webjs, not deleted)."""

    async def session(self, session_id: str) -> SessionRow | None:
        """One of them; None: there is none."""

    async def create(
        self, session_id: str, workspace_id: int, *, account_id: int | None, priority: int
    ) -> SessionRow:
        """Insert, or take over an existing row, desired up, with a new generation.

        A removed or deleted one comes back as a new one, ``qr_scanning``. Raises ``SessionIdTakenError`` when it belongs to another workspace.
        """

    async def set_desired(self, session_id: str, *, up: bool) -> SessionRow | None:
        """Change the desired state, with a new generation when it changes to up.

        Up, a removed one comes back as a new one, ``qr_scanning``.
        """

    async def leave(self, session_id: str, *, removed: bool) -> SessionRow | None:
        """It was logged out, or also ``removed``: down, ``disconnected`` / ``user_initiated``, with a
        new generation, in one step; None: there is no such row."""

    async def write_status(
        self, session_id: str, generation: int, verdict: Verdict, *, phone_number: str | None = None
    ) -> bool:
        """Write the derived status; False: an older generation may not write, or no such row."""

    async def touch(self, session_id: str) -> None:
        """The session was active now."""

    async def keep_limits(self, session_id: str, limits: str | None) -> None:
        """What WhatsApp grants the session no more of for a while, as JSON; None: nothing."""

    async def soft_delete(self, session_id: str) -> None:
        """Mark the row deleted; it is never listed again."""

    async def metadata(self, session_id: str) -> dict[str, Any]:
        """The application's own JSON object on the row ({} when none)."""

    async def set_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> None:
        """Replace it."""

    async def merge_metadata(
        self, session_id: str, updates: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Put ``updates`` over it key by key, as PHP's array_merge does: a null is a value, and
        what lies deeper is replaced. The whole, in one transaction; None: there is no such row."""

    async def record(self, entry: AuditEntry) -> None:
        """Append to the audit trail."""

    async def audit(self, session_id: str | None, *, limit: int = 200) -> Sequence[AuditEntry]:
        """The newest entries of a session, None: of the fleet; oldest first."""

    async def audited(self, *, before: float) -> Sequence[str | None]:
        """Sessions, or the fleet (None), with entries that are older (unix time)."""

    async def tidy_audit(self, session_id: str | None, *, before: float, limit: int) -> int:
        """Delete at most ``limit`` entries that are older; how many."""

    async def compact(self) -> None:
        """Give back what deletions have left free, where the database does not do it itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusEvent:
    """Something that happened, as everybody outside sees it. ``at`` is unix time."""

    id: int
    event: str
    session_id: str | None
    workspace_id: int | None
    at: float
    data: Mapping[str, Any]
    stored: bool = False
    """It is in the inbox already, with its webhooks."""


Stored = Callable[[Sequence[Received]], None]


class Inbox(Protocol):
    """Where everything goes that must not be lost: what workers report, what sessions do."""

    def put(self, received: Sequence[Received], stored: Stored) -> None:
        """Store it and queue its webhooks; never waits.

        ``stored`` is called after the commit, with those that were news; the calls come in the
        order of the puts, also for an empty one.
        """

    @property
    def full(self) -> bool:
        """Whether a put would not be taken now."""

    async def flushed(self, timeout: float) -> bool:
        """Wait at most ``timeout`` s until nothing waits any more; whether it was so."""

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        """By chat, when its newest stored message came; unix time, only those since ``after``.

        Errors are those of ``Store``.
        """

    async def people(self, session_id: str) -> People:
        """Whose LIDs the session knows. Errors are those of ``Store``."""


class ReadyWatch(Protocol):
    """Who must know how sessions stand before it is stored."""

    def expect_ready(self, session_id: str) -> None:
        """Its ``session_ready`` is on its way to the database."""

    def not_ready(self, session_id: str) -> None:
        """It was not stored, and will not come."""

    def look(self, session_id: str | None = None) -> None:
        """How it stands has changed."""


class MediaStore(Protocol):
    """Where received files lie. Its calls block."""

    def keep(self, content: bytes, mimetype: str) -> str:
        """Its name: its SHA-256 in hex. Raises ``OSError`` where the disk does not take it."""

    def read(self, name: str) -> bytes | None:
        """Its content; None: it is not kept any more."""


GLOBAL: Final = "*"  # the endpoint of webhook.url; every other one has its session's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something to store, with its webhooks."""

    received: Received
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A queued webhook. Times are unix time; ``body`` None: large, to be asked for."""

    id: int
    event: str
    event_id: str
    session_id: str
    lane: str
    attempts: int
    next_at: float
    created_at: float
    tried_since: float | None = None
    """When the attempts began that were not followed by a hold."""
    held_since: float | None = None
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a queued webhook: delivered (all None), to be tried again, or dead."""

    id: int
    attempts: int = 0
    next_at: float | None = None
    error: str | None = None
    """With ``next_at``: why it was not taken; without: why it is a dead letter."""
    tried_since: float | None = None
    """As ``Pending`` has it; for one that is to be tried again."""
    cause: Cause | None = None
    """Of a dead letter."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A queued webhook waits for its session since then (unix time), or no longer (None): either
    way its attempts count anew."""

    id: int
    since: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
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
class Move:
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
    tells: tuple[str, str] | None = None
    """Session and WhatsApp's id, where the application may have to hear how it ended."""
    due: bool = False
    """It is to hear it also where no reply was written."""
    queued: bool = False
    """With the step: from now on nobody waits for its outcome."""


@dataclass(frozen=True, slots=True)
class Retract:
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
    write to the outbox the new id, or how many messages it changed, and what it told besides of
    how messages ended."""

    news: tuple[bool, ...]
    endpoints: frozenset[str]
    kept: tuple[int, ...] = ()
    told: tuple[Received, ...] = ()
    received: tuple[Received, ...] = ()
    """The entries as the application is told of them: with numbers for LIDs, under known ids."""


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
    lane: str
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
        settlements: Sequence[Settlement | Hold] = (),
        *,
        outgoing: Sequence[Draft | Move | Retract] = (),
        for_global: Collection[str] = OLD_SERVICE,
    ) -> Written:
        """All of it, durably, in one transaction; an entry that is no news is left out.

        An ack that is news moves the message that it is about, and its webhooks wait for
        ``message_sent``. How a message ended is told here, once, when it may be
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
        lane: tuple[str, str] | None = None,
        until: int | None = None,
    ) -> list[Pending]:
        """What is to be delivered there, by id, which is the order of the writes.

        ``lane``: of this session and lane only; ``until``: no higher ids.
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
        """Whether there was one. What it still should have got is for ``bury``."""

    async def bury(
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
        state: Grave | None = None,
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
        """Queue dead letters with these ids anew, some of the oldest, where they are for one of
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
        told_before: float,
        dead_before: float,
        undecryptable_before: float,
        limit: int,
    ) -> int:
        """Delete at most about ``limit`` rows that are older (unix time); how many. What says how
        messages ended goes only before ``told_before``: it must not be told twice. What is still
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

    async def untold(self, *, since: float) -> list[Outgoing]:
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


class LeaseStore(Protocol):
    """The part of the database that says which daemon supervises what is in it, by the database's
    own clock. Errors are those of ``Store``."""

    async def take(
        self, holder: Holder, terms: Terms, may: Callable[[Lease | None], bool], *, above: int = 0
    ) -> int | None:
        """Take it where ``may`` says so of what is there (None: nobody ever had it), in one
        transaction that keeps everybody else out.

        The new epoch, which is higher than the one before and than ``above``; None: it may not.
        """

    async def renew(self, epoch: int, terms: Terms) -> bool:
        """From now on it lasts as ``terms`` say; False: it is not of this epoch any more."""

    async def release(self, epoch: int) -> None:
        """Nobody has to wait for it any more, if it is still of this epoch."""


class Notifier(Protocol):
    """The service manager."""

    def ready(self, status: str) -> None: ...
    def status(self, text: str) -> None: ...
    def alive(self) -> None: ...
    def stopping(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session as the API shows it. ``status`` is one of the five values of the row's enum."""

    session_id: str
    workspace_id: int
    status: str
    phone_number: str | None
    connected_at: datetime | None
    last_activity: datetime | None
    disconnect_reason: str | None
    disconnect_details: str | None
    account_id: int | None
    priority: int
    desired_up: bool
    lifecycle: str
    link: str
    worker_pid: int | None
    browser_pid: int | None
    restarts: int
    """Unplanned restarts since the daemon started."""
    waiting: str | None = None
    """Why it waits for its start; None: it does not."""
    conditions: tuple[Condition, ...] = ()
    """What is not well with it, and what a person may have to do."""
    undecryptable: int = 0
    """Messages that WhatsApp Web shows as "Waiting for this message"."""
    undecryptable_since: float | None = None
    """Unix time at which the oldest of them was remembered."""
    usage: Usage | None = None
    """None: not measured yet, or nothing runs."""
    removed_at: datetime | None = None
    """When it was deleted; its row is still there."""

    @property
    def degraded(self) -> str | None:
        """What is wrong, in words; None: nothing."""
        return degraded(self.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What the application would be told of a session now: connected, or ``why_not``."""

    why_not: str | None = None
    known: bool = True
    """Whether it is known that it is connected, or not."""
    phone: str | None = None
    since: float = 0.0
    """Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the supervisor knows of itself; counts are of sessions that were not removed."""

    supervising: bool
    database: bool
    restored: bool
    """The restore at start is through."""
    total: int
    connected: int
    disconnected: int
    conditions: tuple[Condition, ...] = ()
    """Those of all sessions at once first."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in words; empty: all is well."""
        return tuple(str(it) for it in self.conditions if it.degrades)


class Sessions(Protocol):
    """What the API asks of supervision.

    Every call with a session id raises ``NotFoundError`` ("Session not found") for an unknown one
    and ``UnavailableError`` while the database is down and the session is not in memory.
    """

    async def create(
        self, session_id: str, workspace_id: int, *, account_id: int | None, priority: int
    ) -> tuple[SessionView, bool]:
        """The session, and whether it is new. Returns at once: the QR comes later."""

    async def views(self, *, removed: bool = False) -> list[SessionView]:
        """All sessions, by id; with the ``removed`` ones where asked for."""

    async def view(self, session_id: str) -> SessionView:
        """One session."""

    async def start(self, session_id: str, *, restart: bool) -> SessionView:
        """Want it up; ``restart``: also replace its worker (a planned recycle).

        A removed one comes back, and shows a QR code.
        """

    async def take_down(self, session_id: str) -> SessionView:
        """Want it down and stop it; its pairing stays."""

    async def logout(self, session_id: str) -> SessionView:
        """Unlink at WhatsApp, stop, and move the profile to quarantine; the row stays,
        disconnected / user_initiated."""

    async def delete(self, session_id: str, *, purge: bool) -> None:
        """``logout``, and list it no more; ``purge``: also soft-delete the row."""

    async def qr(self, session_id: str, *, wait: float, refresh: bool = False) -> QrCode:
        """The code on the screen. Raises ``ConflictError`` (connected), ``NotYetError``."""

    async def call(
        self, session_id: str, call: Call, *, wait: float, phone: str | None = None
    ) -> Sent | Value:
        """Have the worker do ``call``, after at most ``wait`` seconds for it to be ready; with
        ``phone`` (digits) only while the session is linked to that number.

        Raises ``ConflictError`` or ``UnavailableError`` (with retry_after) when it is not ready,
        ``OtherNumberError``, ``RefusedError``, ``UncertainError`` where the answer never came.
        """

    async def ready(self, session_id: str, *, wait: float, hoping: bool = False) -> None:
        """Return when a message can be sent, after at most ``wait`` seconds; raises as ``call``.

        ``hoping``: wait also where only a person can help.
        """

    def first_contacts_pause(self, session_id: str) -> float:
        """Seconds for which nobody new is written to; 0: a first contact may be tried."""


class Reconciliation(Protocol):
    """What the API asks of the reconciler."""

    async def correct(self) -> list[Correction]:
        """Make rows, memory and host agree now; what was done for it.

        Raises ``UnavailableError`` when the rows cannot be read: nothing is changed then.
        """

    async def difference(self) -> tuple[list[Correction], list[Finding]]:
        """What ``correct`` would do, and what is only told. Changes nothing; raises alike."""
