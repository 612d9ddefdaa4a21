"""Statuses and audit entries, which all sessions write at the same time: those that wait share a transaction,
the statuses one and the entries another, which waits for nothing of the application's."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import BindParameter, bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.row_status import DerivedStatus
from waguard.ports.store import AuditEntry, StatusWritten
from waguard.store import audit
from waguard.store.database import Database
from waguard.store.engine import skips_locked
from waguard.store.group import Group
from waguard.store.models import EVENTS, SESSIONS
from waguard.store.rows import Held, held, listed, rows, session_row
from waguard.store.types import storable
from waguard.store.work import Work

_LOCK_WAIT: Final = 1  # s


class _Status(Struct, frozen=True):
    session_id: str
    generation: int
    derived: DerivedStatus
    phone_number: str | None


class SqlStatuses:
    """The part of ``ports.store.Store`` that a burst of restarts needs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes = Group(database, self._write, self._write_alone)
        self._entries = Group(database, self._record, self._record_again)

    async def write_status(
        self,
        session_id: str,
        generation: int,
        derived: DerivedStatus,
        *,
        phone_number: str | None = None,
    ) -> StatusWritten:
        """As the port says; ``phone_number`` None keeps the row's."""
        return await self._writes.do(_Status(session_id, generation, derived, phone_number))

    async def record(self, entry: AuditEntry, *, again: bool = False) -> None:
        """As the port says."""
        await (self._record_again(entry) if again else self._entries.do(entry))

    async def _record(self, entries: Sequence[AuditEntry]) -> list[bool]:
        new = [self._values(entry) for entry in entries]
        async with self._database.writing() as work:
            await work.connection.execute(insert(EVENTS), new)
        return [True] * len(entries)

    async def _record_again(self, entry: AuditEntry) -> bool:
        new = self._values(entry)
        same = (EVENTS.c[name] == new[name] for name in new if name != "evidence")
        async with self._database.writing() as work:
            found = select(EVENTS.c.id).where(*same).limit(1)
            if await work.connection.scalar(found) is None:
                await work.connection.execute(insert(EVENTS), new)
        return True

    def _values(self, entry: AuditEntry) -> dict[str, Any]:
        return audit.values(entry, self._database.wall(), self._database.owning())

    async def _write(self, items: Sequence[_Status]) -> list[StatusWritten | None]:
        # a second one of a session is written after its first
        statuses = {it.session_id: it for it in reversed(items)}
        written: dict[_Status, StatusWritten] = {}
        async with self._database.writing() as work:
            lost = await work.lost(statuses)
            ours = {name: it for name, it in statuses.items() if name not in lost}
            if skips_locked(work.connection.dialect):
                async with _impatient(work.connection):
                    written = await _write_statuses(work, ours)
        refused = StatusWritten(accepted=False, row=None)
        return [refused if it.session_id in lost else written.get(it) for it in items]

    async def _write_alone(self, it: _Status) -> StatusWritten:
        async with self._database.writing() as work:
            lost = await work.lost((it.session_id,))
            session = None if lost else await work.lock_ours(it.session_id)
            if session is None:
                return StatusWritten(accepted=False, row=None)
            accepted = it.generation >= session.row.generation
            if accepted:
                await work.derive(session, it.derived, it.phone_number)
            return StatusWritten(accepted=accepted, row=await work.read(it.session_id))


@asynccontextmanager
async def _impatient(connection: AsyncConnection) -> AsyncIterator[None]:
    """Fail soon where the application holds a value of its unique index, which SKIP LOCKED does not see: the
    application waits meanwhile for all rows that are locked here."""
    match connection.dialect.name:
        case "postgresql":
            await connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}s'"))
            yield
        case "mysql" | "mariadb":
            await connection.execute(text(f"SET innodb_lock_wait_timeout = {_LOCK_WAIT}"))
            try:
                yield
            finally:
                if not connection.invalidated:  # the pool keeps it, with what is set
                    await connection.execute(text("SET innodb_lock_wait_timeout = DEFAULT"))
        case _:
            yield


async def _write_statuses(
    work: Work, wanted: Mapping[str, _Status]
) -> dict[_Status, StatusWritten]:
    """Without those that take more: another transaction has the row, there is none of ours yet, or its
    phone number has no room in the application's."""
    layout = work.layout
    some = layout.accounts.c.session_id.in_(await _locked(work, wanted))
    # the database compares by collation, we do not
    found = [
        (wanted[row.session_id], held(row))
        for row in await work.connection.execute(rows(layout).where(some))
        if row.session_id in wanted and row.desired and not row.displaced_phone
    ]
    changes = [
        (session, it)
        for it, session in found
        if session.ours and not session.deleted and it.generation >= session.row.generation
    ]
    await _update(work, changes)
    read = await work.connection.execute(listed(layout).where(some))
    now = {row.session_id: session_row(row) for row in read}
    accepted = {it for _, it in changes}
    return {
        it: StatusWritten(accepted=it in accepted, row=now.get(it.session_id)) for it, _ in found
    }


async def _locked(work: Work, names: Iterable[str]) -> Sequence[str]:
    """Lock the rows of these that no other transaction has; nobody waits for one that another has."""
    column = work.layout.accounts.c.session_id
    some = sorted(name for name in names if storable(name) == name)
    free = select(column).where(column.in_(some)).with_for_update(skip_locked=True)
    return (await work.connection.scalars(free)).all()


async def _update(work: Work, changes: Iterable[tuple[Held, _Status]]) -> None:
    """One statement for all that change the same columns."""
    layout, same_columns = work.layout, defaultdict[Any, list[dict[str, Any]]](list)
    for session, it in changes:
        number = {"phone_number": it.phone_number} if it.phone_number else {}
        shared, own = layout.split(work.derived(session, it.derived) | number)
        own |= {"workspace_id": session.row.workspace_id, "updated_at": work.now}
        for table, some in ((layout.accounts, shared), (SESSIONS, own)):
            new = {f"new_{name}": value for name, value in some.items()}
            same_columns[table, tuple(some)].append({"of": it.session_id, **new})
    of: BindParameter[str] = bindparam("of", type_=SESSIONS.c.session_id.type)
    for (table, columns), parameters in same_columns.items():
        same = SESSIONS.c.session_id == of if table is SESSIONS else layout.is_session(of)
        new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in columns}
        await work.connection.execute(update(table).where(same).values(new), parameters)
