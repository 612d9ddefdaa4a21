"""A database that does not answer is unknown, never empty; and it is said within a deadline."""

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS
from tests.store.memory import MemoryStore
from tests.store.servers import Server
from tests.waiting import DEADLINE
from waguard.core.row_status import DerivedStatus, Status
from waguard.errors import ConfigError, DatabaseUnavailableError
from waguard.ports.store import AuditEntry, Store
from waguard.store.sql import SqlStore

PATIENCE = 0.3  # s
MODERATE = 60.0  # s
SERVERS = ("postgresql", "mariadb")

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)
every_server = pytest.mark.parametrize("database", SERVERS, indirect=True)

READS: tuple[Callable[[Store], Awaitable[object]], ...] = (
    lambda store: store.ping(),
    lambda store: store.sessions(),
    lambda store: store.session("a"),
    lambda store: store.metadata("a"),
    lambda store: store.audit("a"),
)
WRITES: tuple[Callable[[Store], Awaitable[object]], ...] = (
    lambda store: store.create("a", 1, account_id=None, priority=0),
    lambda store: store.set_desired("a", up=True),
    lambda store: store.leave("a", removed=True),
    lambda store: store.write_status("a", 1, DerivedStatus(Status.CONNECTED)),
    lambda store: store.touch("a"),
    lambda store: store.soft_delete("a"),
    lambda store: store.set_metadata("a", {}),
    lambda store: store.merge_metadata("a", {}),
    lambda store: store.record(AuditEntry(session_id="a", kind="k")),
)


async def assert_unavailable(call: Awaitable[object]) -> str:
    with pytest.raises(DatabaseUnavailableError) as caught:
        async with asyncio.timeout(DEADLINE):
            await call
    assert caught.value.retry_after == 5.0
    assert caught.value.status == 503
    return caught.value.line()


class ModerateStore(SqlStore):
    """A lock on a file is waited for as long as it says. What is answered has all the time that a
    busy machine takes, but while the store is ``impatient``."""

    def __init__(self, database: str) -> None:
        # of a server it is also the time for a connection
        super().__init__(database, busy_timeout=PATIENCE if "sqlite" in database else 30.0)
        self._database.answers_within = MODERATE

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """As with a ``busy_timeout`` of ``PATIENCE``."""
        self._database.answers_within = 2 * PATIENCE
        try:
            yield
        finally:
            self._database.answers_within = MODERATE


@asynccontextmanager
async def opened(database: str) -> AsyncIterator[ModerateStore]:
    store = ModerateStore(database)
    try:
        await store.open()
        await store.create("a", 1, account_id=None, priority=0)
        yield store
    finally:
        await store.close()


@contextmanager
def write_locked(database: str) -> Iterator[None]:
    other = sqlite3.connect(database.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.mark.parametrize("call", [*READS, *WRITES], ids=count())
async def test_before_it_is_open_nothing_is_known(
    tmp_path: Path, call: Callable[[Store], Awaitable[object]]
) -> None:
    await assert_unavailable(call(SqlStore(f"sqlite+aiosqlite:///{tmp_path / 'w.db'}")))
    memory = MemoryStore()
    with pytest.raises(DatabaseUnavailableError):
        await call(memory)
    await memory.open()
    memory.down = True
    with pytest.raises(DatabaseUnavailableError):
        await call(memory)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_locked_file_can_be_read_but_not_written(database: str) -> None:
    async with opened(database) as store:
        with write_locked(database):
            for call in WRITES:
                assert "locked" in await assert_unavailable(call(store))
            assert len(await store.sessions()) == 1
            crowd = [store.touch("a") for _ in range(50)]
            outcomes = await asyncio.gather(*crowd, return_exceptions=True)
            assert all(isinstance(error, DatabaseUnavailableError) for error in outcomes)
        await store.touch("a")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_lock_is_waited_for_as_long_as_busy_timeout_says(database: str) -> None:
    async with opened(database) as store, store._database.writing() as work:
        waits = await work.connection.scalar(text("PRAGMA busy_timeout"))
    assert waits == 1_000 * PATIENCE


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_lock_at_the_migration_is_waited_for_and_then_said(database: str) -> None:
    store = ModerateStore(database)
    with write_locked(database):
        assert "locked" in await assert_unavailable(store.open())
    await store.open()
    assert await store.sessions() == []
    await store.close()


@every_server
async def test_a_locked_row_is_not_waited_for_for_ever(database: str) -> None:
    async with opened(database) as store:
        async with SqlApplication(database).holding("SELECT * FROM whatsapp_accounts FOR UPDATE"):
            with store.impatient():
                assert "no answer in " in await assert_unavailable(store.touch("a"))
                status = store.write_status("a", 1, DerivedStatus(Status.CONNECTED))
                await assert_unavailable(status)
            assert len(await store.sessions()) == 1
        await store.touch("a")


async def test_garbage_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    path.write_bytes(b"this is no database " * 1000)
    store = SqlStore(f"sqlite+aiosqlite:///{path}")
    assert "not a database" in await assert_unavailable(store.open())
    await assert_unavailable(store.sessions())
    path.unlink()
    await store.open()
    assert await store.sessions() == []
    await store.close()


async def test_a_file_that_is_damaged_later(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    async with opened(f"sqlite+aiosqlite:///{path}"):
        pass
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    await assert_unavailable(SqlStore(f"sqlite+aiosqlite:///{path}").open())


async def test_a_file_that_is_away_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "a w%.db"
    async with opened(f"sqlite+aiosqlite:///{path}") as store:
        files = [name for name in tmp_path.iterdir() if name.name.startswith(path.name)]
        (tmp_path / "aside").mkdir()
        for file in files:
            file.rename(tmp_path / "aside" / file.name)
        for call in (*READS, *WRITES):
            await assert_unavailable(call(store))
        assert not path.exists(), "an empty database took its place"
        for file in files:
            (tmp_path / "aside" / file.name).rename(file)
        for call in READS:
            await call(store)
        await store.touch("a")
        assert [row.session_id for row in await store.sessions()] == ["a"]


async def test_a_file_that_is_replaced_is_the_one_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    async with opened(f"sqlite+aiosqlite:///{path}") as store:
        backup = tmp_path / "backup"
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        await store.create("later", 1, account_id=None, priority=0)
        for suffix in ("-wal", "-shm"):
            path.with_name(f"w.db{suffix}").unlink(missing_ok=True)
        backup.rename(path)
        assert [row.session_id for row in await store.sessions()] == ["a"]
        await store.create("new", 1, account_id=None, priority=0)
        with closing(sqlite3.connect(path)) as seen:
            found = seen.execute("SELECT session_id FROM waguard_sessions ORDER BY 1").fetchall()
        assert found == [("a",), ("new",)]


async def test_the_file_in_its_place_is_known_without_a_question(tmp_path: Path) -> None:
    path, barred = tmp_path / "w.db", [""]
    store = SqlStore(f"sqlite+aiosqlite:///{path}")
    assert store.file() is None, "there is none yet"
    store.guard(why_barred=lambda: barred[0] or None, before_migration=lambda: asyncio.sleep(0))
    await store.open()
    found = store.file()
    assert found == (path.stat().st_dev, path.stat().st_ino)
    path.rename(tmp_path / "aside")
    assert store.file() is None
    path.touch()
    assert store.file() not in {None, found}
    (tmp_path / "aside").rename(path)
    assert store.file() == found
    barred[0] = "another daemon has the lease"
    assert store.file() is None
    await store.close()


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite:///file:w.db?uri=true", "postgresql+asyncpg://h/d"]
)
def test_of_another_database_no_file_is_known(url: str) -> None:
    assert SqlStore(url).file() is None


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SqlStore(f"sqlite+aiosqlite:///{tmp_path / 'file' / 'state' / 'w.db'}")
    assert "Not a directory" in await assert_unavailable(store.open())


async def test_a_file_that_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    async with opened(f"sqlite+aiosqlite:///{path}"):
        pass
    store = SqlStore(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true")
    await store.open()  # there is nothing to migrate
    for call in WRITES:
        assert "readonly" in await assert_unavailable(call(store))
    assert len(await store.sessions()) == 1
    await store.close()


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "mysql+asyncmy"])
async def test_a_server_that_is_not_there(driver: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"{driver}://me:sesame@127.0.0.1:{held.getsockname()[1]}/db"
        store = SqlStore(url, busy_timeout=PATIENCE)
        line = await assert_unavailable(store.open())
        assert "sesame" not in line
        assert "127.0.0.1" in line
        await assert_unavailable(store.open())
        await assert_unavailable(store.sessions())


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "mysql+asyncmy"])
async def test_a_server_that_says_nothing(driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{driver}://me:sesame@127.0.0.1:{silent.getsockname()[1]}/db"
        store = SqlStore(url, busy_timeout=PATIENCE)
        assert "sesame" not in await assert_unavailable(store.open())
        await store.close()


@every_server
async def test_wrong_credentials_and_a_missing_database(database: str) -> None:
    for url in (
        database.replace("root@", "nobody:sesame@").replace("waguard@", "nobody:sesame@"),
        database.replace("/test_", "/missing_"),
    ):
        assert "sesame" not in await assert_unavailable(SqlStore(url).open())


@every_server
async def test_a_server_that_hangs(database: str, request: pytest.FixtureRequest) -> None:
    async with opened(database) as store:
        server: Server = request.getfixturevalue(request.node.callspec.params["database"])
        with server.frozen(), store.impatient():
            await assert_unavailable(store.sessions())
            await assert_unavailable(store.touch("a"))
        assert len(await store.sessions()) == 1


@every_server
async def test_a_server_that_hangs_holds_up_no_close(
    database: str, request: pytest.FixtureRequest
) -> None:
    """Else the daemon would never end."""
    server: Server = request.getfixturevalue(request.node.callspec.params["database"])
    async with opened(database) as store, asyncio.timeout(DEADLINE):
        await asyncio.gather(*(store.sessions() for _ in range(4)))  # connections that idle …
        asked = asyncio.create_task(store.sessions())  # … and one that is in use
        await asyncio.sleep(0)
        with server.frozen():
            await store.close()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        await store.open()
        assert len(await store.sessions()) == 1


@every_server
async def test_connections_that_the_server_closed_are_replaced(database: str) -> None:
    kill = {
        "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        "mysql": "SELECT id FROM information_schema.processlist"
        " WHERE db = database() AND id <> connection_id()",
    }[database.partition("+")[0]]
    async with opened(database) as store:
        app = SqlApplication(database)
        for row in await app.rows(kill):
            if "id" in row:
                await app.run(f"KILL {row['id']}")
        assert len(await store.sessions()) == 1


@every_database
async def test_a_missing_table_is_unknown_and_not_called_an_outage(database: str) -> None:
    async with opened(database) as store:
        await SqlApplication(database).run("DROP TABLE whatsapp_accounts")
        said = await assert_unavailable(store.sessions())
        assert "whatsapp_accounts" in said
        assert "does not answer" not in said


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense:sesame@",
        "mysql+pymysql://me:sesame@host/db",
        "postgresql://me:sesame@host/db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "mysql+asyncmy://me:sesame@host:port/db",
    ],
)
def test_a_url_that_cannot_serve_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SqlStore(url)
    assert caught.value.field == "database.url"
    assert "sesame" not in caught.value.line()
