"""The audit log: rows of ``waguard_events``."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from waguard.ports.store import AuditEntry
from waguard.store.database import Database
from waguard.store.models import EVENTS
from waguard.store.types import length_of, storable


class SqlAudit:
    """The part of ``ports.store.Store`` that has the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def audit(self, session_id: str | None, *, limit: int = 200) -> Sequence[AuditEntry]:
        newest = (
            select(EVENTS)
            .where(EVENTS.c.session_id == _cut("session_id", session_id))
            .order_by(EVENTS.c.id.desc())
            .limit(max(0, limit))
        )
        async with self._database.reading() as (connection, _):
            found = (await connection.execute(newest)).all()
        return [_audit_entry(row._asdict()) for row in reversed(found)]

    async def audited(self, *, before: float) -> Sequence[str | None]:
        query = select(EVENTS.c.session_id).where(EVENTS.c.at < before).distinct()
        async with self._database.reading() as (connection, _):
            return (await connection.scalars(query)).all()

    async def tidy_audit(self, session_id: str | None, *, before: float, limit: int) -> int:
        own = EVENTS.c
        old = (own.session_id == _cut("session_id", session_id)) & (own.at < before)
        oldest = select(own.id).where(old).order_by(own.id).limit(limit)
        async with self._database.reading() as (connection, _):
            found = (await connection.scalars(oldest)).all()
        if not found:
            return 0
        async with self._database.writing() as work:
            return (await work.connection.execute(delete(EVENTS).where(own.id.in_(found)))).rowcount


def values(entry: AuditEntry, now: float) -> dict[str, Any]:
    """What is stored of it."""
    return {
        "at": now if entry.at is None else entry.at,
        "session_id": _cut("session_id", entry.session_id),
        "kind": _cut("kind", entry.kind),
        "before": _cut("before", entry.before),
        "after": _cut("after", entry.after),
        "reason": _cut("reason", entry.reason),
        "evidence": dict(entry.evidence),
    }


def _cut(column: str, value: str | None) -> str | None:
    return None if value is None else storable(value, length_of(EVENTS.c[column].type))


def _audit_entry(row: dict[str, Any]) -> AuditEntry:
    del row["id"]
    return AuditEntry(**row)
