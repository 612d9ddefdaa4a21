"""Migrating: from nothing, again, after an interruption, beside the application's table."""

import asyncio
import logging
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.store import tables
from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, PATIENT, migrated_by_a_newer_waguard
from tests.store.test_standby import waits
from waguard.store import migrations
from waguard.store.migrate import configuration, upgrade
from waguard.store.models import ACCOUNTS, METADATA
from waguard.store.new_database import create
from waguard.store.revision import HEAD, VERSION_TABLE, VERSIONS, is_newer, noted
from waguard.store.sql import SqlStore

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)


async def migrate(database: str) -> None:
    store = SqlStore(database)
    await store.open()
    await store.close()


async def migrate_by_steps(database: str) -> None:
    """As a database that an older waguard began."""

    def up(connection: Connection) -> None:
        upgrade(connection)
        connection.commit()

    await opened(database, up)


async def opened(database: str, begin: Any) -> Any:
    async with create_async_engine(database, poolclass=NullPool).connect() as connection:
        return await connection.run_sync(begin)


@every_database
async def test_the_migrations_lead_to_the_models(database: str) -> None:
    await migrate_by_steps(database)

    def differences(connection: Connection) -> list[Any]:
        options = {"version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, METADATA))

    assert await opened(database, differences) == []


def tables_of(connection: Connection) -> dict[str, Any]:
    """All that the server says of each table, in no order."""
    found = inspect(connection)
    autoincrement = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
    is_sqlite = connection.dialect.name == "sqlite"
    counted = connection.exec_driver_sql(autoincrement).scalars() if is_sqlite else ()

    def said(table: str) -> list[str]:
        parts = (
            *(it | {"type": repr(it["type"])} for it in found.get_columns(table)),
            *found.get_indexes(table),
            *found.get_unique_constraints(table),
            *found.get_check_constraints(table),
            found.get_pk_constraint(table),
        )
        return sorted(map(str, parts))

    return {it: said(it) for it in found.get_table_names()} | {"counted": sorted(counted)}


@every_database
async def test_a_new_database_is_as_the_migrations_leave_it(database: str) -> None:
    await migrate(database)
    created, revisions = await opened(database, lambda it: (tables_of(it), noted(it)))

    def drop(connection: Connection) -> None:
        METADATA.drop_all(connection)
        VERSIONS.drop(connection)
        connection.commit()

    await opened(database, drop)
    await migrate_by_steps(database)
    assert (created, revisions) == await opened(database, lambda it: (tables_of(it), noted(it)))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_two_that_open_a_new_database_at_once_both_can_use_it(database: str) -> None:
    """The other one creates its tables, and commits them while this one waits to do the same."""
    store = SqlStore(database, busy_timeout=PATIENT)
    async with create_async_engine(database, poolclass=NullPool).connect() as other:
        await other.run_sync(create)
        opening = asyncio.create_task(store.open())
        assert await waits(database, opening.done)
        await other.commit()
    try:
        await opening
        assert await store.sessions() == []
    finally:
        await store.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_one_whose_tables_come_before_its_first_statement_uses_them(database: str) -> None:
    """The other one commits when this one has seen that there are none."""
    store = SqlStore(database, busy_timeout=PATIENT)
    overtakers: list[threading.Thread] = []

    async def by_the_other() -> None:
        async with create_async_engine(database, poolclass=NullPool).begin() as other:
            await other.run_sync(create)

    def overtaken(*reported: Any) -> None:
        if not overtakers and reported[2].lstrip().startswith("CREATE TABLE"):
            other = threading.Thread(target=asyncio.run, args=(by_the_other(),))
            overtakers.append(other)
            other.start()
            other.join()

    event.listen(Engine, "before_cursor_execute", overtaken)
    try:
        await store.open()
        assert await store.sessions() == []
        assert overtakers
    finally:
        event.remove(Engine, "before_cursor_execute", overtaken)
        await store.close()


@every_database
async def test_a_first_start_beside_the_applications_table_warns_of_nothing(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database)

    def drop(connection: Connection) -> None:
        METADATA.drop_all(connection, [it for it in METADATA.sorted_tables if it is not ACCOUNTS])
        VERSIONS.drop(connection)
        connection.commit()

    await opened(database, drop)
    caplog.clear()
    await migrate(database)
    assert [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING] == []


@every_database
async def test_migrating_again_changes_nothing(database: str) -> None:
    store = SqlStore(database)
    await store.open()
    row = await store.create("a", 1, account_id=None, priority=0)
    await store.open()
    await store.close()
    await store.open()
    assert await store.sessions() == [row]
    await store.close()


@every_database
async def test_an_interrupted_migration_goes_on(database: str) -> None:
    """MySQL commits each statement: the tables can be there while the version is not."""
    await migrate(database)
    await SqlApplication(database).run(f"DROP TABLE {VERSION_TABLE}")
    await migrate(database)


@every_database
async def test_the_outbox_can_be_taken_back_and_made_again(database: str) -> None:
    await migrate(database)

    def down(connection: Connection) -> bool:
        command.downgrade(configuration(connection), "0002")
        connection.commit()
        return inspect(connection).has_table("waguard_outbox")

    assert not await opened(database, down)
    await migrate(database)
    assert await opened(database, lambda it: inspect(it).has_table("waguard_outbox"))


@every_database
async def test_the_applications_table_is_never_altered(database: str) -> None:
    await SqlApplication(database).run(tables.OLDER)

    def shape(connection: Connection) -> str:
        found = inspect(connection)
        columns = [(c["name"], str(c["type"])) for c in found.get_columns("whatsapp_accounts")]
        indexes = found.get_indexes("whatsapp_accounts")
        return str((columns, indexes, found.get_check_constraints("whatsapp_accounts")))

    before = await opened(database, shape)
    await migrate(database)
    assert await opened(database, shape) == before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_alembic_leaves_logging_alone(database: str) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("sqlalchemy").level)
    await migrate_by_steps(database)
    assert (root.level, list(root.handlers), logging.getLogger("sqlalchemy").level) == before


async def test_a_sqlite_file_is_private_durable_and_readable_beside_a_writer(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "waguard.db"
    await migrate(f"sqlite+aiosqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_daemon_does_without_the_orm() -> None:
    code = "import sys, waguard.daemon.root; sys.exit('sqlalchemy.orm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_needs_the_orm_is_refused() -> None:
    code = "import waguard.store; from sqlalchemy.ext.asyncio import AsyncSession; AsyncSession()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "without its ORM" in done.stderr


def test_the_newest_revision_is_the_one_that_a_start_wants() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__path__[0])))
    assert scripts.get_current_head() == HEAD


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_database_that_is_new_or_up_to_date_does_not_need_alembic(
    tmp_path: Path, *, is_new: bool
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'waguard.db'}"
    if not is_new:
        await migrate(url)
    begin = (
        "import asyncio, sys; from waguard.store.sql import SqlStore; store = SqlStore(sys.argv[1])\n"
        "async def main():\n    await store.open()\n    print(await store.sessions())\n"
        "    await store.close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", begin, url], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "False"]


@every_database
async def test_older_code_starts_on_a_newer_schema(database: str) -> None:
    """The way back from an upgrade: nothing is migrated, nothing is undone, rows are written."""
    await migrated_by_a_newer_waguard(database)
    store = SqlStore(database)
    await store.open()
    row = await store.create("a", 1, account_id=None, priority=0)
    assert await store.sessions() == [row]
    await store.close()
    assert await opened(database, noted) == ["9999"]


@pytest.mark.parametrize("revisions", [["later"], ["0007"], [], ["0008", "0009"]])
def test_only_a_greater_number_is_a_newer_schema(revisions: list[str]) -> None:
    assert not is_newer(revisions)


# from here on migrations only add: older code is put back onto their schema, and goes on writing
FREE_UNTIL = "0008"
_ADDS = re.compile(
    r"CREATE (INDEX|TABLE) |ALTER TABLE \S+ ADD COLUMN |PRAGMA|SELECT"
    rf"|(INSERT INTO|UPDATE|DELETE FROM) {VERSION_TABLE} ",
    re.IGNORECASE,
)


def adds(statement: str) -> bool:
    """Whether code that does not know of it reads and writes as before."""
    line = " ".join(statement.split())
    needed = line.startswith("ALTER") and "NOT NULL" in line and "DEFAULT" not in line
    return bool(_ADDS.match(line)) and not needed


async def test_migrations_only_add(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'db'}", poolclass=NullPool)
    statements: list[str] = []
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda *reported: statements.append(reported[2]),
    )

    def up(connection: Connection) -> None:
        command.upgrade(configuration(connection), FREE_UNTIL)
        connection.commit()
        statements.clear()
        command.upgrade(configuration(connection), "head")

    async with engine.connect() as connection:
        await connection.run_sync(up)
    assert statements
    assert [statement for statement in statements if not adds(statement)] == []


@pytest.mark.parametrize(
    ("statement", "only_adds"),
    [
        ("CREATE TABLE x (id INTEGER NOT NULL)", True),
        ("CREATE INDEX i ON x (id)", True),
        ("CREATE UNIQUE INDEX i ON x (id)", False),
        ("ALTER TABLE x ADD COLUMN y TEXT", True),
        ("ALTER TABLE x ADD COLUMN y TEXT DEFAULT '' NOT NULL", True),
        ("ALTER TABLE x ADD COLUMN y TEXT NOT NULL DEFAULT ''", True),
        ("ALTER TABLE x ADD COLUMN y TEXT NOT NULL", False),
        ("ALTER TABLE x DROP COLUMN y", False),
        ("ALTER TABLE x RENAME TO y", False),
        ("DROP TABLE x", False),
        ("UPDATE waguard_sessions SET y = 1", False),
        (f"UPDATE {VERSION_TABLE} SET version_num='9'", True),
    ],
)
def test_what_only_adds(statement: str, *, only_adds: bool) -> None:
    assert adds(statement) is only_adds
