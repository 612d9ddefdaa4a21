"""The database: sessions, audit trail, lease."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct, field

from waguard.core.installation import Found
from waguard.core.lease import Holder, Lease, Terms
from waguard.core.row_status import DerivedStatus


class SessionRow(Struct, frozen=True, kw_only=True):
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
    """The session has not been connected since it was made, logged out or deleted: it has no profile to
    miss, and a QR code is what comes next."""
    limits: str | None = None
    """JSON: what WhatsApp grants no more of for a while."""
    switched_off: bool = False
    """The application has switched the account off (``is_active = 0``)."""


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One thing that waguard did or saw, for ``waguard why``."""

    session_id: str | None
    kind: str
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    at: float | None = None
    """Unix time; None: now."""
    host: str | None = None
    """The host of a cluster that has recorded it: the store sets it."""


class StatusWritten(Struct, frozen=True, kw_only=True):
    """What became of a status; true where the row accepted it."""

    accepted: bool
    row: SessionRow | None
    """As it is now; None: there is none, or it was not read."""

    def __bool__(self) -> bool:
        return self.accepted


class Audit(Protocol):
    """The audit log. Errors are those of ``Store``."""

    async def record(self, entry: AuditEntry, *, again: bool = False) -> None:
        """Append to the audit trail. ``again``: it may be there, because nobody knows how the last call ended; then it is
        known by its time and its words."""

    async def audit(
        self, session_id: str | None, *, limit: int = 200, changes: int = 0
    ) -> Sequence[AuditEntry]:
        """The newest entries of a session, None: of the fleet; oldest first. With so many of its newest ``changes`` that
        explain something, and crowd out none of the others: see ``core.incidents.changes``."""

    async def changes(
        self, *, since: float, before: int | None, limit: int
    ) -> Sequence[tuple[int, AuditEntry]]:
        """Changes of all sessions and of the fleet with their numbers, the newest first: those that were asked for at
        ``since`` (unix time) or later, with numbers below ``before``."""

    async def timeline(
        self, sessions: Collection[str] | None, *, before: int | None, limit: int
    ) -> Sequence[tuple[int, AuditEntry]]:
        """Entries and changes of these sessions, None: of all and of the fleet, with their numbers, the newest first: those
        with numbers below ``before``."""

    async def audited(self, *, before: float) -> Sequence[str | None]:
        """Sessions, or the fleet (None), with entries that are older (unix time)."""

    async def tidy_audit(self, session_id: str | None, *, before: float, limit: int) -> int:
        """Delete at most ``limit`` entries that are older; how many."""

    async def tidy_changes(self, *, keep: int, limit: int) -> int:
        """Delete at most ``limit`` changes beyond the newest ``keep``; how many."""


class Store(Audit, Protocol):
    """The database. Every call raises ``DatabaseUnavailableError`` when it cannot be reached:
    unknown is never an empty answer. In a cluster ``create``, ``touch`` and ``keep_limits`` raise ``NotOwnedError`` for a
    session that this host does not own."""

    async def open(self) -> None:
        """Connect and migrate, once. Raises ``DatabaseUnavailableError``; may be called again."""

    async def close(self) -> None:
        """Release every connection."""

    async def ping(self) -> None:
        """Prove that the database answers."""

    async def require_tables(self) -> None:
        """Read nothing from each of waguard's own tables. Raises ``DatabaseUnfitError`` where one, or a column of it, is
        missing."""

    async def sessions(self) -> list[SessionRow]:
        """Every session of waguard's (provider webjs, not deleted); in a cluster those that this host owns."""

    async def sessions_of_all_hosts(self) -> list[SessionRow]:
        """As ``sessions``, whichever host owns them."""

    async def session(self, session_id: str) -> SessionRow | None:
        """One of all of them; None: there is none."""

    async def create(
        self, session_id: str, workspace_id: int, *, account_id: int | None, priority: int
    ) -> SessionRow:
        """Insert, or take over an existing row, desired up, with a new generation.

        A removed or deleted one comes back as a new one, ``qr_scanning``. Raises ``SessionIdTakenError`` when it belongs to another workspace.
        In a cluster this host owns it in memory already; what says so in the database is inserted with it.
        """

    async def set_desired(self, session_id: str, *, up: bool) -> SessionRow | None:
        """Change the desired state, with a new generation when it changes to up.

        Up, a removed one comes back as a new one, ``qr_scanning``.
        """

    async def leave(self, session_id: str, *, removed: bool) -> SessionRow | None:
        """The session was logged out, or also ``removed``: down, ``disconnected`` / ``user_initiated``, with a
        new generation, in one step; None: there is no such row. What waits for one that was logged out is ``ABANDONED``
        with it."""

    async def write_status(
        self,
        session_id: str,
        generation: int,
        derived: DerivedStatus,
        *,
        phone_number: str | None = None,
    ) -> StatusWritten:
        """Write the derived status; not accepted: an older generation may not write, no such row, or this host does not
        own the session."""

    async def touch(self, session_id: str) -> None:
        """The session was active now."""

    async def keep_limits(self, session_id: str, limits: str | None) -> None:
        """What WhatsApp grants the session no more of for a while, as JSON; None: nothing."""

    async def soft_delete(self, session_id: str) -> None:
        """Mark the row deleted; it is never listed again."""

    async def metadata(self, session_id: str) -> dict[str, Any]:
        """The application's own JSON object on the row ({} when none). Raises ``NoObjectError``."""

    async def set_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> bool:
        """Replace it; false: there is no such row."""

    async def merge_metadata(
        self, session_id: str, updates: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Put ``updates`` over it key by key, as PHP's array_merge does: a null is a value, and
        what lies deeper is replaced. The whole, in one transaction; None: there is no such row. Raises ``NoObjectError``.
        """

    async def compact(self) -> None:
        """Give back what deletions have left free, where the database does not do it itself."""


class InstallationStore(Protocol):
    """The part of the database that says which installation it belongs to; usable by whoever has no lease. Errors
    are those of ``Store``."""

    async def found(self, *, counted: bool) -> Found:
        """What it says; ``counted``: also how many sessions it has."""

    async def mark(self, installation: str) -> str:
        """Whose it is from now on: this one's, where nobody's was there."""

    async def etcd(self, seen: str) -> str:
        """The id of the etcd that has the leases of those who own sessions: this one's, where there was none."""

    async def change_etcd(self, to: str) -> None:
        """Their leases are in this one from now on."""


class DatabaseControl(Protocol):
    """What a person decides about the database."""

    def accept(self) -> str:
        """The database that was found is meant: from now on what it says is a fact. Its name.

        Raises ``ConflictError`` where it is known to be ours.
        """


class LeaseStore(Protocol):
    """The part of the database that says which daemon supervises what is in it, by the database's
    own clock. Errors are those of ``Store``."""

    async def acquire(
        self, holder: Holder, terms: Terms, may: Callable[[Lease | None], bool], *, above: int = 0
    ) -> int | None:
        """Acquire it where ``may`` says so of what is there (None: nobody ever had it), in one
        transaction that keeps everybody else out.

        The new epoch, which is higher than the one before and than ``above``; but where the holder is a cluster that has it
        already, its epoch. None: it may not.
        """

    async def renew(self, epoch: int, terms: Terms, *, of: str | None = None) -> bool:
        """From now on it lasts as ``terms`` say; False: it is not of this epoch any more, or the database is not the
        one of the installation ``of``."""

    async def release(self, epoch: int) -> None:
        """Nobody has to wait for it any more, if it is still of this epoch."""


class GroupRelease(Protocol):
    """What a person decides after the installation was restored from a backup."""

    async def release_groups(self) -> int:
        """From now on all sessions send to groups; how many did not. Raises ``OSError``."""
