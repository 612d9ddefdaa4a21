"""The store over SQLAlchemy: SQLite, PostgreSQL, MySQL and MariaDB."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import text

from waguard.store import own_tables
from waguard.store.account_rows import SqlAccountRows
from waguard.store.audit import SqlAudit
from waguard.store.credentials import SqlCredentials
from waguard.store.database import Database
from waguard.store.engine import DEADLINE, FileId, file_in_place, parse
from waguard.store.installation import SqlInstallation
from waguard.store.lease import SqlLease
from waguard.store.messages import SqlMessages
from waguard.store.outbox import SqlOutbox
from waguard.store.proxies import SqlProxies
from waguard.store.retention import COMPACTION, Compaction, empty_wal, release_pages
from waguard.store.sessions import SqlSessions
from waguard.store.statuses import SqlStatuses
from waguard.store.stored import SqlStored

if TYPE_CHECKING:
    from waguard.store.owners import SqlOwners
    from waguard.store.sent_alerts import SqlSentAlerts
    from waguard.store.shared_keys import SqlSharedKeys

BUSY_TIMEOUT = 5.0  # s to wait for a lock, a free connection, a handshake


class SqlStore(SqlStatuses, SqlSessions, SqlAudit):
    """``ports.store.Store`` over any supported URL; safe for many tasks, ``open`` and ``close`` for one.

    Every call ends within twice ``busy_timeout`` (a turn, then the lock) and about 2 s to give up
    a silent connection, with an answer or with ``DatabaseUnavailableError``; ``open`` takes up to
    ``UPGRADE_LIMIT`` where it upgrades an older database. ``deadline``: seconds for a statement on the
    application's tables. Raises ``ConfigError`` for a URL that is not supported.
    """

    def __init__(
        self,
        url: str,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        wall: Callable[[], float] = time.time,
        compaction: Compaction = COMPACTION,
        deadline: float = DEADLINE,
        standby: bool = False,
    ) -> None:
        """``standby``: another daemon may take over, or several hosts share the sessions: so the server ends a transaction
        of a daemon that stands still."""
        database = Database(
            url, busy_timeout=busy_timeout, wall=wall, deadline=deadline, standby=standby
        )
        super().__init__(database)
        self._url = parse(url)
        self._compaction = compaction
        self.messages = SqlMessages(database)
        self.outbox = SqlOutbox(database)
        self.stored = SqlStored(database)
        self.accounts = SqlAccountRows(database)
        self.installation = SqlInstallation(database)
        self.credentials = SqlCredentials(database)
        self.proxies = SqlProxies(database)
        self.guard = database.guard
        self.writing_the_lease = database.writing_the_lease
        self.reading_the_lease = database.reading_the_lease
        self.lease = SqlLease(database.backend, self.writing_the_lease, self.reading_the_lease)

    @property
    def refused(self) -> int:
        """How many writes were refused since the start, for this host of a cluster did not own their session."""
        return self._database.refusals.count

    def owners(self) -> "SqlOwners":
        """Who owns which session, where several hosts share them."""
        from waguard.store.owners import SqlOwners  # noqa: PLC0415 - one host alone has none

        return SqlOwners(self._database)

    def shared_keys(
        self, key: bytes, is_everybodys: Callable[[], bool] = lambda: True
    ) -> "SqlSharedKeys":
        """The keys that all of them accept, where several hosts share the sessions; ``key`` seals the rows, and
        ``is_everybodys``: no living host has another one."""
        from waguard.store.shared_keys import SqlSharedKeys  # noqa: PLC0415 - as above

        return SqlSharedKeys(self._database, key, is_everybodys)

    def sent_alerts(self) -> "SqlSentAlerts":
        """What was alerted, where one of several hosts does so for all."""
        from waguard.store.sent_alerts import SqlSentAlerts  # noqa: PLC0415 - as above

        return SqlSentAlerts(self._database)

    @property
    def barred(self) -> bool:
        """Whether nobody may use the database now."""
        return self._database.barred

    async def open(self) -> None:
        """See ``Database.open``."""
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    def file(self) -> FileId | None:
        """The file of the database, by one ``stat``; None: it is missing, nobody may use it now, or the database is
        no file."""
        return None if self.barred else file_in_place(self._url)

    async def ping(self) -> None:
        async with self._database.reading() as (connection, _):
            await connection.execute(text("SELECT 1"))

    async def require_tables(self) -> None:
        async with self._database.reading() as (connection, _):
            await connection.execute(own_tables.at_once())

    async def compact(self) -> None:
        """SQLite's file shrinks; the others do it by themselves."""
        if self._database.backend != "sqlite":
            return
        rounds = self._compaction.rounds
        release = partial(release_pages, pages=self._compaction.pages)
        while rounds and await self._database.alone(release):
            rounds -= 1
        await self._database.alone(empty_wal)
