"""The store over SQLAlchemy: SQLite, PostgreSQL, MySQL and MariaDB."""

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from loguru import logger
from sqlalchemy import Connection, Engine, delete, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

from waguard.core.status import LEFT, DerivedStatus, Status
from waguard.errors import (
    DatabaseUnavailableError,
    InvalidInputError,
    SessionIdTakenError,
    WaguardError,
)
from waguard.ports.store import AuditEntry, SessionRow
from waguard.store.engine import Engines, connect, name_of, parse
from waguard.store.failures import RETRY_AFTER, answering, is_refusal, unavailable
from waguard.store.housekeeping import COMPACTION, Compaction, empty_wal, release_pages
from waguard.store.layout import Layout, reflect
from waguard.store.lease import SqlLease
from waguard.store.messages import SqlMessages
from waguard.store.models import ACCOUNTS, EVENTS, LEASE
from waguard.store.outbox import SqlOutbox
from waguard.store.revision import HEAD, is_current, is_newer, noted
from waguard.store.rows import listed, session_row
from waguard.store.types import length_of, storable
from waguard.store.work import Work

T = TypeVar("T")

BUSY_TIMEOUT = 5.0  # s to wait for a lock, a free connection, a handshake
# s for an upgrade: it rewrites no row, but cut off on a slow disk it would begin again each time
UPGRADE_LIMIT = 600.0


class SqlStore:
    """``ports.store.Store`` over any supported URL; safe for many tasks, ``open`` and ``close`` for one.

    Every call ends within twice ``busy_timeout`` (a turn, then the lock) and about 2 s to give up
    a silent connection, with an answer or with ``DatabaseUnavailableError``; ``open`` takes up to
    ``UPGRADE_LIMIT`` where it upgrades an older database. Raises ``ConfigError`` for a URL that is not supported.
    """

    def __init__(
        self,
        url: str,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        wall: Callable[[], float] = time.time,
        compaction: Compaction = COMPACTION,
    ) -> None:
        self._url = parse(url)
        self._name = name_of(self._url)
        self._busy_timeout = busy_timeout
        self._wall = wall
        self._compaction = compaction
        self._engines: Engines | None = None
        self._layout: Layout | None = None
        self.messages = SqlMessages(self._reading, self._writing, self._write_at_once, wall)
        self.outbox = SqlOutbox(self._reading, self._writing)
        self.lease = SqlLease(self._url.get_backend_name(), self._writing_the_lease)
        self._why_barred: Callable[[], str | None] = lambda: None
        self._before_migration: Callable[[], Awaitable[None]] = _nothing_to_wait_for

    def guard(
        self,
        *,
        why_barred: Callable[[], str | None] = lambda: None,
        before_migration: Callable[[], Awaitable[None]],
    ) -> None:
        """``why_barred``: why nobody may use the database now, but for the lease; None: they may.
        ``before_migration`` is awaited before tables are changed that a daemon of an older version may
        be using."""
        self._why_barred, self._before_migration = why_barred, before_migration

    @property
    def barred(self) -> bool:
        """Whether nobody may use the database now."""
        return self._why_barred() is not None

    async def open(self) -> None:
        """Connect, migrate, and read what columns the application's table has.

        Raises ``WaguardError`` for a table that cannot serve; nothing to do when open.
        """
        if self._layout is not None:
            return
        try:
            async with self._answering():
                self._engines = engines = connect(self._url, busy_timeout=self._busy_timeout)
                async with engines.writer.begin() as connection:
                    layout = await connection.run_sync(_layout_if_current)
                    is_leased = layout is None and await connection.run_sync(_knows_leases)
            if is_leased:
                await self._before_migration()
            if layout is None:
                async with (
                    answering(self._name, within=UPGRADE_LIMIT),
                    engines.writer.begin() as connection,
                ):
                    layout = await connection.run_sync(_upgraded)
            self._layout = layout
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        engines, self._engines, self._layout = self._engines, None, None
        if engines is not None:
            await engines.dispose()

    async def ping(self) -> None:
        async with self._reading() as (connection, _):
            await connection.execute(text("SELECT 1"))

    async def sessions(self) -> list[SessionRow]:
        """By id. Rows without an id or a workspace are no sessions."""
        async with self._reading() as (connection, layout):
            query = listed(layout).order_by(layout.accounts.c.session_id)
            return [session_row(row) for row in await connection.execute(query)]

    async def session(self, session_id: str) -> SessionRow | None:
        async with self._reading() as (connection, layout):
            query = listed(layout).where(layout.is_session(session_id))
            row = (await connection.execute(query)).first()
            return session_row(row) if row is not None else None

    async def create(
        self, session_id: str, workspace_id: int, *, account_id: int | None, priority: int
    ) -> SessionRow:
        """As the port says. The status of a row that the application made stays as it is.

        Raises ``InvalidInputError`` for an id that the table cannot hold, ``SessionIdTakenError``
        also for another provider's, ``WaguardError`` where the application's table refuses the row.
        """
        try:
            return await self._create(session_id, workspace_id, account_id, priority)
        except IntegrityError:
            # most likely somebody else inserted it a moment ago: now it can be taken over
            pass
        except DBAPIError as error:
            raise _refused(session_id, error) from error
        try:
            return await self._create(session_id, workspace_id, account_id, priority)
        except DBAPIError as error:
            raise _refused(session_id, error) from error

    async def _create(
        self, session_id: str, workspace_id: int, account_id: int | None, priority: int
    ) -> SessionRow:
        async with self._writing() as work:
            _require_storable(session_id, work.layout)
            session = await work.lock(session_id)
            if session is None and not await work.resembles(session_id):
                await work.insert(session_id, workspace_id)
                # again: an older row of ours may know its generation
                session = await work.lock(session_id)
            if session is None or not session.ours or session.row.workspace_id != workspace_id:
                raise SessionIdTakenError(
                    "the id belongs to another workspace", field="session_id", value=session_id
                )
            own: dict[str, Any] = {"priority": priority}
            if session.deleted or session.row.removed_at:
                await work.revive(session)
            elif session.row.status == Status.QR_SCANNING:
                own["unpaired"] = True
            if account_id is not None:
                own["account_id"] = account_id
            await work.want(session, up=True, generation=session.row.generation + 1, **own)
            return await _read(work, session_id)

    async def set_desired(self, session_id: str, *, up: bool) -> SessionRow | None:
        async with self._writing() as work:
            session = await work.lock_ours(session_id)
            if session is None:
                return None
            if up and session.row.removed_at:
                await work.revive(session)
            newer = session.row.generation + (up and not session.row.desired_up)
            await work.want(session, up=up, generation=newer)
            return await _read(work, session_id)

    async def leave(self, session_id: str, *, removed: bool) -> SessionRow | None:
        async with self._writing() as work:
            session = await work.lock_ours(session_id)
            if session is None:
                return None
            await work.derive(session, LEFT, None)
            own = {"unpaired": True} | ({"removed_at": work.now} if removed else {})
            await work.want(session, up=False, generation=session.row.generation + 1, **own)
            return await _read(work, session_id)

    async def write_status(
        self,
        session_id: str,
        generation: int,
        derived: DerivedStatus,
        *,
        phone_number: str | None = None,
    ) -> bool:
        """As the port says; ``phone_number`` None keeps the row's."""
        async with self._writing() as work:
            session = await work.lock_ours(session_id)
            if session is None or generation < session.row.generation:
                return False
            await work.derive(session, derived, phone_number)
            return True

    async def touch(self, session_id: str) -> None:
        async with self._writing() as work:
            if session := await work.lock_ours(session_id):
                await work.update(session, {"last_activity_at": work.now})

    async def keep_limits(self, session_id: str, limits: str | None) -> None:
        async with self._writing() as work:
            if session := await work.lock_ours(session_id):
                await work.want(session, up=session.row.desired_up, limits=limits)

    async def soft_delete(self, session_id: str) -> None:
        async with self._writing() as work:
            if session := await work.lock_ours(session_id):
                await work.delete(session)

    async def metadata(self, session_id: str) -> dict[str, Any]:
        async with self._reading() as (connection, layout):
            return await _metadata(connection, layout, session_id)

    async def set_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> None:
        async with self._writing() as work:
            if session := await work.lock_ours(session_id):
                await work.update(session, {"metadata": dict(metadata), "updated_at": work.now})

    async def merge_metadata(
        self, session_id: str, updates: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        async with self._writing() as work:
            session = await work.lock_ours(session_id)
            if session is None:
                return None
            before = await _metadata(work.connection, work.layout, session_id)
            merged = {**before, **updates}
            await work.update(session, {"metadata": merged, "updated_at": work.now})
            return merged

    async def record(self, entry: AuditEntry) -> None:
        values = {
            "at": self._wall() if entry.at is None else entry.at,
            "session_id": _cut("session_id", entry.session_id),
            "kind": _cut("kind", entry.kind),
            "before": _cut("before", entry.before),
            "after": _cut("after", entry.after),
            "reason": _cut("reason", entry.reason),
            "evidence": dict(entry.evidence),
        }
        async with self._writing() as work:
            await work.connection.execute(insert(EVENTS).values(values))

    async def audit(self, session_id: str | None, *, limit: int = 200) -> Sequence[AuditEntry]:
        newest = (
            select(EVENTS)
            .where(EVENTS.c.session_id == _cut("session_id", session_id))
            .order_by(EVENTS.c.id.desc())
            .limit(max(0, limit))
        )
        async with self._reading() as (connection, _):
            found = (await connection.execute(newest)).all()
        return [_audit_entry(row._asdict()) for row in reversed(found)]

    async def audited(self, *, before: float) -> Sequence[str | None]:
        query = select(EVENTS.c.session_id).where(EVENTS.c.at < before).distinct()
        async with self._reading() as (connection, _):
            return (await connection.scalars(query)).all()

    async def tidy_audit(self, session_id: str | None, *, before: float, limit: int) -> int:
        own = EVENTS.c
        old = (own.session_id == _cut("session_id", session_id)) & (own.at < before)
        oldest = select(own.id).where(old).order_by(own.id).limit(limit)
        async with self._reading() as (connection, _):
            found = (await connection.scalars(oldest)).all()
        if not found:
            return 0
        async with self._writing() as work:
            return (await work.connection.execute(delete(EVENTS).where(own.id.in_(found)))).rowcount

    async def compact(self) -> None:
        """SQLite's file shrinks; the others do it by themselves."""
        if self._url.get_backend_name() != "sqlite":
            return
        rounds = self._compaction.rounds
        release = partial(release_pages, pages=self._compaction.pages)
        while rounds and await self._alone(release):
            rounds -= 1
        await self._alone(empty_wal)

    async def _alone(self, do: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        engines, _ = self._opened()
        async with self._answering():
            try:
                return await do(engines.writer)
            except sqlite3.OperationalError as error:
                raise unavailable(self._name, error) from error

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[tuple[AsyncConnection, Layout]]:
        engines, layout = self._opened()
        async with self._answering(), engines.reader.connect() as connection:
            yield connection, layout

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Work]:
        engines, layout = self._opened()
        now = datetime.fromtimestamp(int(self._wall()), UTC)
        # not begin(): the first statement begins, which is two switches of SQLAlchemy's less
        async with self._answering(), engines.writer.connect() as connection:
            yield Work(connection, layout, now)
            await connection.commit()

    @asynccontextmanager
    async def _writing_the_lease(self) -> AsyncIterator[AsyncConnection]:
        if self._engines is None:
            raise unavailable(self._name, "it was never reached")
        async with self._answering(), self._engines.writer.connect() as connection:
            yield connection
            await connection.commit()

    async def _write_at_once(self, do: Callable[[Connection], T]) -> T:
        """One write transaction, without SQLAlchemy's switches between what it awaits and what not:
        they take as long as SQLite's commit."""
        engines, _ = self._opened()
        async with self._answering():
            return await greenlet_spawn(_begun, engines.writer.sync_engine, do)

    def _answering(self) -> AbstractAsyncContextManager[None]:
        return answering(self._name, within=2 * self._busy_timeout)

    def _opened(self) -> tuple[Engines, Layout]:
        if self._engines is not None and (why := self._why_barred()):
            raise DatabaseUnavailableError(why, field="database.url", retry_after=RETRY_AFTER)
        if self._engines is None or self._layout is None:
            raise unavailable(self._name, "it was never reached")
        return self._engines, self._layout


def _begun(engine: Engine, do: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return do(connection)


def _refused(session_id: str, error: DBAPIError) -> Exception:
    """What to raise for ``error``: only a refusal of the row is anything but itself."""
    if not is_refusal(error):
        return error
    return WaguardError(
        f"the application's table refuses the session: {error.orig}",
        field=ACCOUNTS.name,
        value=session_id,
        remedy="create the account in the application first",
    )


async def _nothing_to_wait_for() -> None:
    """Who does not supervise has no lease."""


def _layout_if_current(connection: Connection) -> Layout | None:
    revisions = noted(connection)
    if is_newer(revisions):
        logger.warning(
            "the database was migrated by a newer waguard, and is used as it is",
            event="database_newer",
            revision=revisions[0],
            ours=HEAD,
        )
    return reflect(connection) if is_current(revisions) else None


def _knows_leases(connection: Connection) -> bool:
    """Whether a daemon that uses these tables holds one."""
    return inspect(connection).has_table(LEASE.name)


def _upgraded(connection: Connection) -> Layout:
    from waguard.store.migrate import upgrade  # noqa: PLC0415 - Alembic is heavy

    upgrade(connection)
    return reflect(connection)


async def _read(work: Work, session_id: str) -> SessionRow:
    query = listed(work.layout).where(work.layout.is_session(session_id))
    return session_row((await work.connection.execute(query)).one())


async def _metadata(connection: AsyncConnection, layout: Layout, session_id: str) -> dict[str, Any]:
    query = listed(layout).where(layout.is_session(session_id))
    value = await connection.scalar(query.with_only_columns(layout.home("metadata")))
    return value if isinstance(value, dict) else {}  # PHP writes an empty one as []


def _require_storable(session_id: str, layout: Layout) -> None:
    limit = min(
        length_of(column.type) or 255
        for column in (layout.accounts.c.session_id, EVENTS.c.session_id)
    )
    if not session_id or storable(session_id, limit) != session_id:
        raise InvalidInputError(
            f"a session id has 1 to {limit} characters, none of them NUL",
            field="session_id",
            value=session_id,
        )


def _cut(column: str, value: str | None) -> str | None:
    return None if value is None else storable(value, length_of(EVENTS.c[column].type))


def _audit_entry(row: dict[str, Any]) -> AuditEntry:
    del row["id"]
    return AuditEntry(**row)
