"""Connections: which databases are taken, and how each is made durable and impatient."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from waguard.errors import ConfigError
from waguard.store.sqlite import connected
from waguard.store.statement_limits import limit_statements

DRIVERS = ("sqlite+aiosqlite", "postgresql+asyncpg", "mysql+asyncmy", "mariadb+asyncmy")
DEADLINE = 3.0  # s for a statement on the application's tables
IDLE_LIMIT = 4  # s
CLOSED_WITHIN = 2.0  # s for all connections
_UNKNOWN_VARIABLE = 1193  # of MySQL and MariaDB
_EXTRAS = {"asyncpg": "postgresql", "asyncmy": "mysql"}
_LIMITED: dict[str, Any] = {"pool_size": 2, "max_overflow": 0}  # messages, and rows of sessions


FileId = tuple[int, int]
"""Device and inode."""


class Engines(Struct, frozen=True):
    """Where to read and where to write; the same engine but for SQLite.

    SQLite has one writer at a time: ours queue for one connection, in turn, instead of racing
    for the file's lock. Readers see the last commit meanwhile (WAL). What reads the application's
    tables has connections of its own, each statement with a deadline: none of ours waits for it.
    """

    reader: AsyncEngine
    writer: AsyncEngine
    limited: AsyncEngine

    async def dispose(self) -> None:
        """Close every connection; one that is in use, when it is returned. A server that says nothing for
        ``CLOSED_WITHIN`` is not waited for."""
        until = time.monotonic() + CLOSED_WITHIN
        for engine in {self.reader, self.writer, self.limited}:
            if engine.dialect.name != "sqlite":
                _bound_close(engine.sync_engine.dialect, until)
            event.listen(engine.sync_engine.pool, "checkin", lambda _, record: record.close())
            await engine.dispose()


def _bound_close(dialect: Any, until: float) -> None:
    """From now on a connection is closed in order until then (monotonic), within 2 s each; then it is cut off."""
    terminate = dialect.do_terminate

    def close(connection: DBAPIConnection) -> None:
        if time.monotonic() < until:
            terminate(connection)
        else:  # where SQLAlchemy cannot wait, it does not
            asyncio.get_running_loop().call_soon(terminate, connection)

    dialect.do_close = close


def commit_with_next(connection: Connection | AsyncConnection) -> None:
    """The next statement is the last one of its transaction: SQLite commits it in the same step."""
    if connection.dialect.name == "sqlite":
        made: Any = getattr(connection, "sync_connection", connection)
        made.connection.driver_connection.commit_with_next()


def parse(text: str) -> URL:
    """The URL, with one of our drivers. Raises ``ConfigError``, which never shows a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _refused("this is not a database URL") from None
    if url.drivername not in DRIVERS:
        raise _refused(f"the driver {url.drivername} is not supported")
    if url.drivername == "sqlite+aiosqlite" and url.database in {None, "", ":memory:"}:
        raise _refused("a database in memory would be forgotten")
    return url


def sqlite_file(text: str) -> Path | None:
    """Where an SQLite database lies; None: it is another one."""
    url = make_url(text)
    named = url.get_backend_name() == "sqlite" and url.database
    return Path(url.database) if named and url.database else None


def is_missing(url: URL) -> bool:
    """Whether connecting makes a new SQLite file."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return False
    return not Path(url.database).exists()


def file_in_place(url: URL) -> FileId | None:
    """The SQLite file that is where it is expected; None: there is none, or it is another database."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return None
    return _file_at(url.database)


def _file_at(path: str) -> FileId | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - each transaction asks, and a Path takes ten times as long
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def skips_locked(dialect: Any) -> bool:
    """Whether the server that was connected to knows SKIP LOCKED; SQLite locks no rows."""
    if dialect.name not in {"mysql", "mariadb"}:
        return True
    return bool(dialect.server_version_info >= ((10, 6) if dialect.is_mariadb else (8,)))


def name_of(url: URL) -> str:
    """The database for messages: no user, no password, no options."""
    place = f"{url.host or 'local'}:{url.port}" if url.port else url.host or ""
    return f"{url.get_backend_name()} {place}/{url.database or ''}".replace(" //", " /")


def connect(
    url: URL, *, busy_timeout: float, deadline: float = DEADLINE, standby: bool = False
) -> Engines:
    """Engines for ``url``, nothing connected yet; a new SQLite file is made private. ``deadline``:
    seconds for a statement of ``limited``. ``standby``: the server ends a transaction in which its client says
    nothing for ``IDLE_LIMIT``.

    Raises ``OSError`` where the file cannot be, ``ConfigError`` where the driver is missing.
    """
    try:
        if url.get_backend_name() == "sqlite":
            _make_file(url)
            return _sqlite(url, busy_timeout, deadline)
        engine = _server(url, busy_timeout, standby=standby)
        limited = _server(url, deadline, isolation_level="AUTOCOMMIT", **_LIMITED)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(str(error.name), "")
        raise _refused(
            f"the driver {error.name} is not installed",
            f"install waguard with its extra `{extra}`",
        ) from None
    limit_statements(limited, deadline)
    return Engines(engine, engine, limited)


def _server(url: URL, busy_timeout: float, *, standby: bool = False, **more: Any) -> AsyncEngine:
    options: dict[str, Any] = {"hide_parameters": True}  # messages are no business of a log
    if url.get_backend_name() == "postgresql":
        limit = {"idle_in_transaction_session_timeout": f"{IDLE_LIMIT}s"}
        settings = {"server_settings": limit} if standby else {}
        options["connect_args"] = {"timeout": busy_timeout, **settings}
    else:
        options["connect_args"] = {"connect_timeout": busy_timeout}
        # REPEATABLE READ locks gaps: two new sessions at once would deadlock
        options["isolation_level"] = "READ COMMITTED"
    # pre-ping: connections that a restarted server closed are replaced unseen
    options = {"pool_pre_ping": True, "pool_timeout": busy_timeout, **options, **more}
    engine = create_async_engine(url, **options)
    if url.get_backend_name() == "postgresql":
        engine.sync_engine.dialect.do_ping = _ping  # type: ignore[assignment,method-assign]
        return engine
    # first: SQLAlchemy quotes by the mode of its first connection
    event.listen(engine.sync_engine, "connect", _set_modes, insert=True)
    if standby:
        event.listen(engine.sync_engine, "connect", _limit_idle_transactions)
    return engine


def _set_modes(connection: DBAPIConnection, record: object) -> None:
    """Have the server read backslashes as the driver writes them: else a message's text is a part of the statement.
    Names are quoted as always: the server's mode may change while waguard runs."""
    del record
    cursor = connection.cursor()
    try:
        cursor.execute(
            "SET SESSION sql_mode = REPLACE(REPLACE(REPLACE("
            "@@SESSION.sql_mode, 'NO_BACKSLASH_ESCAPES', ''), 'ANSI_QUOTES', ''), 'ANSI', '')"
        )
    finally:
        cursor.close()


def _ping(connection: Any) -> bool:
    """Without a transaction around it: cut off inside, its rollback would wait for the server without an end."""
    isolation, connection.isolation_level = connection.isolation_level, "autocommit"
    try:
        connection.ping()
    finally:
        connection.isolation_level = isolation
    return True


def _limit_idle_transactions(connection: DBAPIConnection, record: object) -> None:
    """Limit idle transactions of this connection alone: the application's take longer."""
    del record
    cursor = connection.cursor()
    try:
        cursor.execute(f"SET SESSION idle_transaction_timeout = {IDLE_LIMIT}")
    except Exception as error:  # the driver's own class
        if error.args[:1] != (_UNKNOWN_VARIABLE,):
            raise
        # MySQL has no such limit; this one ends a connection that is idle, and its transaction
        cursor.execute(f"SET SESSION wait_timeout = {IDLE_LIMIT}")
    finally:
        cursor.close()


def _sqlite(url: URL, busy_timeout: float, deadline: float) -> Engines:
    existing = _existing(url)

    def engine_of(patience: float, **more: Any) -> AsyncEngine:
        return create_async_engine(
            existing,
            hide_parameters=True,
            pool_timeout=patience,
            connect_args={"timeout": patience, "async_creator_fn": connected},
            **more,
        )

    reader = engine_of(busy_timeout)
    writer = engine_of(busy_timeout, pool_size=1, max_overflow=0)
    limited = engine_of(deadline, **_LIMITED)
    for engine, begin in ((reader, "BEGIN"), (writer, "BEGIN IMMEDIATE"), (limited, "BEGIN")):
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _beginner(begin))
        if existing is not url and url.database:
            _InPlace(url.database).watch(engine)
    return Engines(reader, writer, limited)


def _existing(url: URL) -> URL:
    """One that opens the file and never makes it: while it is away, no empty one takes its place."""
    if url.database is None or url.database.startswith("file:"):
        return url  # whoever writes that knows what is to be made
    named = url.set(database=f"file:{quote(url.database)}")
    return named.update_query_dict({"mode": "rw", "uri": "true"})


class _InPlace:
    """Gives up connections to a file that is not the one in its place: nobody reads what they write."""

    def __init__(self, path: str) -> None:
        self._path = path

    def watch(self, engine: AsyncEngine) -> None:
        """From now on, at each use of a connection; it costs one ``stat``."""
        event.listen(engine.sync_engine, "connect", self._remember)
        event.listen(engine.sync_engine, "checkout", self._compare)

    def _remember(self, _: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _file_at(self._path)

    def _compare(self, _: DBAPIConnection, record: ConnectionPoolEntry, __: object) -> None:
        if record.info["file"] != _file_at(self._path):
            raise DisconnectionError(f"{self._path} was moved or replaced")


def _prepare_sqlite(connection: DBAPIConnection, record: object) -> None:
    del record
    # BEGIN is ours, as a writer that upgrades a read lock late fails at once instead of waiting
    connection.isolation_level = None
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA page_count")
        if cursor.fetchone() == (0,):  # later it would have no effect, and take the writers' lock
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # NORMAL may lose the last commits with the power
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
    except BaseException:
        connection.close()  # the pool forgets a connection whose preparation failed
        raise


def _beginner(statement: str) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.begin_by(statement)

    return begin


def _make_file(url: URL) -> None:
    if url.database is None or url.database.startswith("file:"):
        return
    path = Path(url.database)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the same mode
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _refused(message: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(
        message, field="database.url", remedy=remedy or f"use one of {', '.join(DRIVERS)}"
    )
