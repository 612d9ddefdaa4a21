"""``ports.store.Store`` in memory, for tests of supervision; it passes the same contract suite."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from waguard.core.incidents.changes import CHANGE, DONE, EXPLAINING, merged
from waguard.core.lease import Holder, Lease, Terms, next_epoch
from waguard.core.proxy import Recorded
from waguard.core.replace import replace
from waguard.core.row_status import LEFT, DerivedStatus, Status
from waguard.errors import DatabaseUnavailableError, SessionIdTakenError
from waguard.ports.store import AuditEntry, SessionRow, StatusWritten
from waguard.store.sessions import json_object

T = TypeVar("T")


@dataclass
class Account:
    """A row of the application's table. Tests change it as the application would."""

    session_id: str
    workspace_id: int
    status: str = Status.QR_SCANNING.value
    phone_number: str | None = None
    provider_type: str = "webjs"
    disconnect_reason: str | None = None
    disconnect_details: str | None = None
    disconnected_at: datetime | None = None
    last_connected_at: datetime | None = None
    last_activity_at: datetime | None = None
    deleted_at: datetime | None = None
    is_active: bool = True
    metadata: Any = None


@dataclass
class _Own:
    desired_up: bool
    generation: int = 0
    account_id: int | None = None
    priority: int = 0
    removed_at: datetime | None = None
    unpaired: bool = False
    limits: str | None = None


@dataclass
class MemoryLease:
    """``ports.store.LeaseStore``; ``now`` is the database's clock. Set ``down`` and every call raises."""

    now: Callable[[], float] = time.time
    down: bool = False
    row: Lease | None = None
    installation: str | None = None
    """Whose the database is by its marker."""

    async def acquire(
        self, holder: Holder, terms: Terms, may: Callable[[Lease | None], bool], *, above: int = 0
    ) -> int | None:
        self._connect()
        found = replace(self.row, now=self.now()) if self.row else None
        if not may(found):
            return None
        now, epoch = self.now(), next_epoch(holder, found, above)
        self.row = Lease(
            epoch=epoch,
            holder=holder,
            terms=terms,
            taken_at=now,
            renewed_at=now,
            released=False,
            now=now,
        )
        return epoch

    async def renew(self, epoch: int, terms: Terms, *, of: str | None = None) -> bool:
        self._connect()
        if of not in {None, self.installation} or self.row is None:
            return False
        if self.row.epoch != epoch or self.row.released:
            return False
        self.row = replace(self.row, terms=terms, renewed_at=self.now())
        return True

    async def release(self, epoch: int) -> None:
        self._connect()
        if self.row and self.row.epoch == epoch:
            self.row = replace(self.row, released=True)

    def _connect(self) -> None:
        if self.down:
            raise DatabaseUnavailableError("the database does not answer", retry_after=5.0)


@dataclass
class MemoryProxies:
    """``ports.proxies.ProxyStore``. Set ``down`` and every call raises."""

    down: bool = False
    rows: dict[str, Recorded] = field(default_factory=dict)

    async def recorded(self) -> dict[str, Recorded]:
        self._connect()
        return dict(self.rows)

    async def record(self, session: str, it: Recorded) -> None:
        self._connect()
        self.rows[session] = it

    def _connect(self) -> None:
        if self.down:
            raise DatabaseUnavailableError("the database does not answer", retry_after=5.0)


@dataclass
class MemoryStore:
    """Set ``down`` and every call raises ``DatabaseUnavailableError``, as before ``open``."""

    wall: Callable[[], float] = time.time
    down: bool = False
    pings: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    entries: list[AuditEntry] = field(default_factory=list)
    proxies: MemoryProxies = field(default_factory=MemoryProxies)
    owned: Callable[[str], bool] = lambda _: True
    """Whether this host owns a session."""
    _own: dict[str, _Own] = field(default_factory=dict)
    _opened: bool = False

    async def open(self) -> None:
        self._opened = True
        self._connect()

    async def close(self) -> None:
        self._opened = False

    async def ping(self) -> None:
        self.pings += 1
        self._connect()

    async def require_tables(self) -> None:
        self._connect()

    async def sessions(self) -> list[SessionRow]:
        return [row for row in await self.sessions_of_all_hosts() if self.owned(row.session_id)]

    async def sessions_of_all_hosts(self) -> list[SessionRow]:
        self._connect()
        return [
            self._row(account) for _, account in sorted(self.accounts.items()) if _lives(account)
        ]

    async def session(self, session_id: str) -> SessionRow | None:
        account = self._find(session_id)
        return self._row(account) if account else None

    async def create(
        self, session_id: str, workspace_id: int, *, account_id: int | None, priority: int
    ) -> SessionRow:
        self._connect()
        before = self.accounts.get(session_id)
        account = self.accounts.setdefault(session_id, Account(session_id, workspace_id))
        if account.provider_type == "meta" or account.workspace_id != workspace_id:
            raise SessionIdTakenError("the id belongs to another workspace", field="session_id")
        own = self._keep(account)
        if account.deleted_at or own.removed_at:
            _revive(account, own)
        if account.status == Status.QR_SCANNING and not (before and before.last_connected_at):
            own.unpaired = True
        account.is_active = True
        own.desired_up, own.generation, own.priority = True, own.generation + 1, priority
        own.account_id = own.account_id if account_id is None else account_id
        return self._row(account)

    async def set_desired(self, session_id: str, *, up: bool) -> SessionRow | None:
        account = self._find(session_id)
        if account is None:
            return None
        own = self._keep(account)
        if up and own.removed_at:
            _revive(account, own)
        own.generation += up and not self._row(account).desired_up
        own.desired_up = up
        account.is_active = account.is_active or up
        return self._row(account)

    async def leave(self, session_id: str, *, removed: bool) -> SessionRow | None:
        account = self._find(session_id)
        if account is None:
            return None
        await self.write_status(session_id, self._row(account).generation, LEFT)
        own = self._keep(account)
        own.desired_up, own.generation = False, own.generation + 1
        own.removed_at = self._now() if removed else own.removed_at
        own.unpaired = True
        return self._row(account)

    async def write_status(
        self,
        session_id: str,
        generation: int,
        derived: DerivedStatus,
        *,
        phone_number: str | None = None,
    ) -> StatusWritten:
        account = self._find(session_id)
        if account is None or generation < self._row(account).generation:
            return StatusWritten(accepted=False, row=self._row(account) if account else None)
        own = self._keep(account)
        own.unpaired = own.unpaired and derived.status is not Status.CONNECTED
        changed = account.status != derived.status
        account.status = derived.status.value
        account.disconnect_reason = derived.reason.value if derived.reason else None
        account.disconnect_details = derived.details
        account.phone_number = phone_number or account.phone_number
        if derived.status is Status.CONNECTED and (changed or account.last_connected_at is None):
            account.last_connected_at = account.last_activity_at = self._now()
        elif derived.status in {Status.DISCONNECTED, Status.FAILED} and changed:
            account.disconnected_at = self._now()
        return StatusWritten(accepted=True, row=self._row(account))

    async def touch(self, session_id: str) -> None:
        if account := self._find(session_id):
            self._keep(account)
            account.last_activity_at = self._now()

    async def keep_limits(self, session_id: str, limits: str | None) -> None:
        if account := self._find(session_id):
            self._keep(account).limits = limits

    async def soft_delete(self, session_id: str) -> None:
        if account := self._find(session_id):
            account.deleted_at = self._now()
            self._keep(account).desired_up = False

    async def metadata(self, session_id: str) -> dict[str, Any]:
        account = self._find(session_id)
        return dict(json_object(account.metadata, session_id)) if account else {}

    async def set_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> bool:
        account = self._find(session_id)
        if account:
            account.metadata = dict(metadata)
        return account is not None

    async def merge_metadata(
        self, session_id: str, updates: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        account = self._find(session_id)
        if account is None:
            return None
        account.metadata = {**await self.metadata(session_id), **updates}
        return dict(account.metadata)

    async def record(self, entry: AuditEntry, *, again: bool = False) -> None:
        self._connect()
        if again and any(replace(it, evidence=entry.evidence) == entry for it in self.entries):
            return
        self.entries.append(replace(entry, at=self.wall() if entry.at is None else entry.at))

    async def audit(
        self, session_id: str | None, *, limit: int = 200, changes: int = 0
    ) -> Sequence[AuditEntry]:
        self._connect()
        mine = [entry for entry in self.entries if entry.session_id == session_id]
        others = [entry for entry in mine if entry.kind != CHANGE]
        changed = [
            it for it in mine if it.kind == CHANGE and it.after == DONE and it.before in EXPLAINING
        ]
        return merged(_last(others, limit), _last(changed, changes))

    async def changes(
        self, *, since: float, before: int | None, limit: int
    ) -> Sequence[tuple[int, AuditEntry]]:
        self._connect()
        found = [
            (number, entry)
            for number, entry in enumerate(self.entries, 1)
            if entry.kind == CHANGE and _at(entry) >= since and (not before or number < before)
        ]
        return _last(found, limit)[::-1]

    async def timeline(
        self, sessions: Collection[str] | None, *, before: int | None, limit: int
    ) -> Sequence[tuple[int, AuditEntry]]:
        self._connect()
        found = [
            (number, entry)
            for number, entry in enumerate(self.entries, 1)
            if (sessions is None or entry.session_id in sessions)
            and (not before or number < before)
        ]
        return _last(found, limit)[::-1]

    async def audited(self, *, before: float) -> Sequence[str | None]:
        self._connect()
        return list({entry.session_id for entry in self.entries if _at(entry) < before})

    async def tidy_audit(self, session_id: str | None, *, before: float, limit: int) -> int:
        self._connect()
        old = [e for e in self.entries if e.session_id == session_id and _at(e) < before][:limit]
        self.entries = [entry for entry in self.entries if entry not in old]
        return len(old)

    async def tidy_changes(self, *, keep: int, limit: int) -> int:
        self._connect()
        changed = [entry for entry in self.entries if entry.kind == CHANGE]
        old = changed[: max(0, len(changed) - keep)][-limit:]
        self.entries = [entry for entry in self.entries if entry not in old]
        return len(old)

    async def compact(self) -> None:
        self._connect()

    def _connect(self) -> None:
        if self.down or not self._opened:
            raise DatabaseUnavailableError("the database in memory is down", retry_after=5.0)

    def _find(self, session_id: str) -> Account | None:
        self._connect()
        account = self.accounts.get(session_id)
        return account if account and _lives(account) else None

    def _keep(self, account: Account) -> _Own:
        return self._own.setdefault(account.session_id, _first(account))

    def _row(self, account: Account) -> SessionRow:
        own = self._own.get(account.session_id) or _first(account)
        return SessionRow(
            session_id=account.session_id,
            workspace_id=account.workspace_id,
            status=account.status,
            desired_up=own.desired_up and account.is_active,
            switched_off=not account.is_active,
            generation=own.generation,
            phone_number=account.phone_number,
            disconnect_reason=account.disconnect_reason,
            disconnect_details=account.disconnect_details,
            connected_at=account.last_connected_at,
            last_activity=account.last_activity_at,
            account_id=own.account_id,
            priority=own.priority,
            removed_at=own.removed_at,
            unpaired=own.unpaired,
            limits=own.limits,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self.wall()), UTC)


def _revive(account: Account, own: _Own) -> None:
    account.status = Status.QR_SCANNING.value
    account.deleted_at = account.disconnect_reason = account.disconnect_details = None
    own.removed_at, own.unpaired = None, True


def _lives(account: Account) -> bool:
    return account.provider_type != "meta" and account.deleted_at is None


def _first(account: Account) -> _Own:
    return _Own(desired_up=account.status in {Status.CONNECTED, Status.AUTHENTICATED})


def _last(found: list[T], count: int) -> list[T]:
    return found[max(0, len(found) - max(0, count)) :]


def _at(entry: AuditEntry) -> float:
    return entry.at or 0.0
