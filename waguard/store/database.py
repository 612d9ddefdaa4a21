"""The connection: engines, upgrades, and the transactions that every part of the store works in."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from loguru import logger
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

from waguard.core.installation import Found
from waguard.errors import DatabaseUnavailableError, DatabaseUnfitError
from waguard.store import lease, marker
from waguard.store.engine import (
    DEADLINE,
    Engines,
    connect,
    is_missing,
    name_of,
    parse,
)
from waguard.store.failures import RETRY_AFTER, answering, unavailable
from waguard.store.layout import Layout, reflect
from waguard.store.models import LEASE
from waguard.store.new_database import create, is_new
from waguard.store.revision import HEAD, is_current, is_newer, noted
from waguard.store.work import Refusals, Work

if TYPE_CHECKING:
    from waguard.core.cluster.records import Owning

T = TypeVar("T")

# s for an upgrade: it copies small tables alone (see ``charsets``), but cut off on a slow disk it would begin again each
# time
UPGRADE_LIMIT = 600.0
GRACE = 1.0  # s for a server to say that a statement took too long


class Database:
    """Times as ``SqlStore`` has them; ``wall`` is unix time. Raises ``ConfigError`` for a URL that is
    not supported."""

    def __init__(
        self,
        url: str,
        *,
        busy_timeout: float,
        wall: Callable[[], float],
        deadline: float = DEADLINE,
        standby: bool = False,
    ) -> None:
        self._url = parse(url)
        self._name = name_of(self._url)
        self._busy_timeout = busy_timeout
        self._standby = standby
        self.wall = wall
        self.answers_within = 2 * busy_timeout
        """Seconds; after that it is unavailable."""
        self._deadline = deadline
        self._engines: Engines | None = None
        self._layout: Layout | None = None
        self._why_barred: Callable[[], str | None] = lambda: None
        self._before_migration: Callable[[], Awaitable[None]] = _nothing_to_wait_for
        self._fence: Callable[[], int | None] = lambda: None
        self.owning: Callable[[], Owning | None] = lambda: None
        self.refusals = Refusals()
        """What this host of a cluster owns; None: there is no cluster."""
        self.recognize: Callable[[Found], None] = lambda _: None
        """Raises ``DatabaseUnknownError`` where what was found is not known to be ours."""

    @property
    def backend(self) -> str:
        """SQLAlchemy's name of the kind of database."""
        return self._url.get_backend_name()

    def guard(
        self,
        *,
        why_barred: Callable[[], str | None] = lambda: None,
        before_migration: Callable[[], Awaitable[None]],
        recognize: Callable[[Found], None] = lambda _: None,
        fence: Callable[[], int | None] = lambda: None,
        owning: "Callable[[], Owning | None]" = lambda: None,
    ) -> None:
        """``why_barred``: why nobody may use the database now, but for the lease; None: they may.
        ``before_migration`` is awaited before tables are changed that a daemon of an older version may
        be using. ``recognize`` is called before anything is created, and with all rows. ``fence``: the epoch that the
        lease must have when a write is committed; None: it is not checked. ``owning``: what this host of a cluster
        owns; None: there is no cluster."""
        self._why_barred, self._before_migration = why_barred, before_migration
        self.recognize, self._fence, self.owning = recognize, fence, owning

    @property
    def barred(self) -> bool:
        """Whether nobody may use the database now."""
        return self._why_barred() is not None

    @property
    def usable(self) -> bool:
        """Whether it was opened, and somebody may use it now."""
        return self._layout is not None and not self.barred

    async def open(self) -> None:
        """Connect, migrate, and read what columns the application's table has.

        Raises ``WaguardError`` for a table that cannot serve, ``DatabaseUnknownError``; nothing to do when
        open.
        """
        if self._layout is not None:
            return
        try:
            async with self.answering():
                if is_missing(self._url):
                    self.recognize(self.found(None, rows=0))
                self._engines = engines = connect(
                    self._url,
                    busy_timeout=self._busy_timeout,
                    deadline=self._deadline,
                    standby=self._standby,
                )
            try:
                self._layout = await self._laid_out(engines)
            except (IntegrityError, DatabaseUnfitError):
                # another daemon may have created the tables a moment ago
                self._layout = await self._laid_out(engines)
        except BaseException:
            await self.close()
            raise

    async def _laid_out(self, engines: Engines) -> Layout:
        async with self.answering(), engines.writer.begin() as connection:
            self.recognize(await connection.run_sync(self._found_at_first))
            layout = await connection.run_sync(_layout_if_current)
            is_leased = layout is None and await connection.run_sync(_knows_leases)
        if is_leased:
            await self._before_migration()
        return layout or await _upgrade(self._name, engines)

    async def close(self) -> None:
        """Close all connections; the database may be opened again."""
        engines, self._engines, self._layout = self._engines, None, None
        if engines is not None:
            await engines.dispose()

    async def alone(self, do: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        """What is no transaction of SQLAlchemy's, with the engine that writes."""
        engines, _ = self._opened()
        async with self.answering():
            try:
                return await do(engines.writer)
            except sqlite3.OperationalError as error:
                raise unavailable(self._name, error) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[tuple[AsyncConnection, Layout]]:
        """One of many connections."""
        engines, layout = self._opened()
        async with self.answering(), engines.reader.connect() as connection:
            yield connection, layout

    @asynccontextmanager
    async def reading_limited(
        self, turn: asyncio.Lock
    ) -> AsyncIterator[tuple[AsyncConnection, Layout]]:
        """One of two connections for the application's tables, held with ``turn``: each statement has
        the deadline of ``connect``, and sees the last commit."""
        engines, layout = self._opened()
        # the server gives up first: then the connection is still good
        within = self._deadline + GRACE
        async with (
            answering(self._name, within=within),
            turn,
            engines.limited.connect() as connection,
        ):
            yield connection, layout

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Work]:
        """A transaction that is committed at its end; others wait for it."""
        engines, layout = self._opened()
        now = datetime.fromtimestamp(int(self.wall()), UTC)
        # not begin(): the first statement begins, which is two switches of SQLAlchemy's less
        async with self.answering(), engines.writer.connect() as connection:
            if (epoch := self._fence()) is not None:
                _require(epoch, await connection.scalar(lease.LOCKED))
            yield Work(connection, layout, now, self.owning(), self.refusals)
            await connection.commit()

    @asynccontextmanager
    async def writing_the_lease(self) -> AsyncIterator[AsyncConnection]:
        """As ``writing``, while nobody may write but the lease."""
        if self._engines is None:
            raise unavailable(self._name, "it was never reached")
        async with self.answering(), self._engines.writer.connect() as connection:
            yield connection
            await connection.commit()

    @asynccontextmanager
    async def reading_the_lease(self) -> AsyncIterator[AsyncConnection]:
        """Read, while nobody may use the database but for the lease; no lock is left behind."""
        if self._engines is None:
            raise unavailable(self._name, "it was never reached")
        async with self.answering(), self._engines.reader.connect() as connection:
            yield connection

    async def write_at_once(self, do: Callable[[Connection], T]) -> T:
        """One write transaction, without SQLAlchemy's switches between what it awaits and what not:
        they take as long as SQLite's commit."""
        engines, _ = self._opened()
        async with self.answering():
            return await greenlet_spawn(
                _begun, engines.writer.sync_engine, _fenced(self._fence(), do)
            )

    def found(self, marked: str | None, *, rows: int | None) -> Found:
        """What is known of this database."""
        return Found(name=self._name, installation=marked, rows=rows)

    @property
    def layout(self) -> Layout:
        """As the database was opened. Raises ``DatabaseUnavailableError``."""
        if self._layout is None:
            raise unavailable(self._name, "it was never reached")
        return self._layout

    def _found_at_first(self, connection: Connection) -> Found:
        new = not noted(connection)
        return self.found(marker.read_at_first(connection), rows=0 if new else None)

    def answering(self) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Around a call: an outage, and ``answers_within`` without an answer, are ``DatabaseUnavailableError``."""
        return answering(self._name, within=self.answers_within)

    def _opened(self) -> tuple[Engines, Layout]:
        if self._engines is not None and (why := self._why_barred()):
            raise DatabaseUnavailableError(why, field="database.url", retry_after=RETRY_AFTER)
        if self._engines is None or self._layout is None:
            raise unavailable(self._name, "it was never reached")
        return self._engines, self._layout


def _fenced(epoch: int | None, do: Callable[[Connection], T]) -> Callable[[Connection], T]:
    if epoch is None:
        return do

    def fenced(connection: Connection) -> T:
        _require(epoch, connection.scalar(lease.LOCKED))
        return do(connection)

    return fenced


def _require(epoch: int, found: int | None) -> None:
    """Until this transaction ends nobody can take the lease. Raises ``DatabaseUnavailableError``."""
    if found != epoch:
        why = "another daemon has taken the database's lease"
        raise DatabaseUnavailableError(why, field="database.url", retry_after=RETRY_AFTER)


def _begun(engine: Engine, do: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return do(connection)


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


async def _upgrade(name: str, engines: Engines) -> Layout:
    async with (
        answering(name, within=UPGRADE_LIMIT),
        engines.writer.begin() as connection,
    ):
        return await connection.run_sync(_upgraded)


def _upgraded(connection: Connection) -> Layout:
    if is_new(connection):
        create(connection)
    else:
        from waguard.store.migrate import upgrade  # noqa: PLC0415 - Alembic is heavy

        upgrade(connection)
    return reflect(connection)
