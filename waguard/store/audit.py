"""The audit log: rows of ``waguard_events``."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, Select, delete, select

from waguard.core.incidents.changes import CHANGE, DONE, EXPLAINING, merged
from waguard.ports.store import AuditEntry
from waguard.store.database import Database
from waguard.store.models import EVENTS
from waguard.store.types import as_json, length_of, storable

if TYPE_CHECKING:
    from waguard.core.cluster.records import Owning

_TEXT: Final = 0xFFFF  # bytes of MySQL's TEXT; a character has 4 at most


class SqlAudit:
    """The part of ``ports.store.Store`` that has the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def audit(
        self, session_id: str | None, *, limit: int = 200, changes: int = 0
    ) -> Sequence[AuditEntry]:
        own = EVENTS.c.session_id == _cut("session_id", session_id)
        others = _newest(limit).where(own, EVENTS.c.kind != CHANGE)
        explains = (EVENTS.c.after == DONE) & EVENTS.c.before.in_(EXPLAINING)
        asked_for = _newest(changes).where(own, EVENTS.c.kind == CHANGE, explains)
        async with self._database.reading() as (connection, _):
            found = (await connection.execute(others)).all()
            changed = (await connection.execute(asked_for)).all() if changes else ()
        return merged(map(_audit_entry, reversed(found)), map(_audit_entry, reversed(changed)))

    async def changes(
        self, *, since: float, before: int | None, limit: int
    ) -> Sequence[tuple[int, AuditEntry]]:
        query = _newest(limit).where(EVENTS.c.kind == CHANGE, EVENTS.c.at >= since)
        return await self._page(query, before)

    async def timeline(
        self, sessions: Collection[str] | None, *, before: int | None, limit: int
    ) -> Sequence[tuple[int, AuditEntry]]:
        query = _newest(limit)
        if sessions is not None:
            query = query.where(EVENTS.c.session_id.in_(sessions))
        return await self._page(query, before)

    async def _page(
        self, query: Select[Any], before: int | None
    ) -> Sequence[tuple[int, AuditEntry]]:
        if before is not None:
            query = query.where(EVENTS.c.id < before)
        async with self._database.reading() as (connection, _):
            return [(row.id, _audit_entry(row)) for row in await connection.execute(query)]

    async def audited(self, *, before: float) -> Sequence[str | None]:
        query = select(EVENTS.c.session_id).where(EVENTS.c.at < before).distinct()
        async with self._database.reading() as (connection, _):
            return (await connection.scalars(query)).all()

    async def tidy_audit(self, session_id: str | None, *, before: float, limit: int) -> int:
        own = EVENTS.c
        old = (own.session_id == _cut("session_id", session_id)) & (own.at < before)
        return await self._delete(select(own.id).where(old).order_by(own.id).limit(limit))

    async def tidy_changes(self, *, keep: int, limit: int) -> int:
        own = EVENTS.c
        newest = select(own.id).where(own.kind == CHANGE).order_by(own.id.desc())
        return await self._delete(newest.offset(keep).limit(limit))

    async def _delete(self, some: Select[tuple[int]]) -> int:
        async with self._database.reading() as (connection, _):
            found = (await connection.scalars(some)).all()
        if not found:
            return 0
        gone = delete(EVENTS).where(EVENTS.c.id.in_(found))
        async with self._database.writing() as work:
            return (await work.connection.execute(gone)).rowcount


def _newest(limit: int) -> Select[Any]:
    return select(EVENTS).order_by(EVENTS.c.id.desc()).limit(max(0, limit))


def values(entry: AuditEntry, now: float, owning: "Owning | None") -> dict[str, Any]:
    """What is stored of it; where there are several hosts, with the one that records it."""
    host = {} if owning is None else {"host": owning.host}
    return host | {
        "at": now if entry.at is None else entry.at,
        "session_id": _cut("session_id", entry.session_id),
        "kind": _cut("kind", entry.kind),
        "before": _cut("before", entry.before),
        "after": _cut("after", entry.after),
        "reason": _cut("reason", entry.reason),
        "evidence": _held(entry.evidence),
    }


def _held(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """All of it, else as much of its JSON as a text of JSON has room for."""
    found = as_json(evidence)
    return dict(evidence) if len(found) <= _TEXT else {"cut": found[: _TEXT // 2 - 100]}


def _cut(column: str, value: str | None) -> str | None:
    limit = length_of(EVENTS.c[column].type) or _TEXT // 4
    return None if value is None else storable(value, limit)


def _audit_entry(row: Row[Any]) -> AuditEntry:
    found = row._asdict()
    del found["id"]
    return AuditEntry(**found)
