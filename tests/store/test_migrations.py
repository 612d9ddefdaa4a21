"""Migrating: from nothing, again, after an interruption, beside the application's table."""

import logging
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.store import tables
from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS
from waguard.store import migrations
from waguard.store.migrate import configuration
from waguard.store.models import METADATA
from waguard.store.revision import HEAD, VERSION_TABLE
from waguard.store.sql import SqlStore

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)


async def migrate(database: str) -> None:
    store = SqlStore(database)
    await store.open()
    await store.close()


async def looked_at(database: str, look: Any) -> Any:
    async with create_async_engine(database, poolclass=NullPool).connect() as connection:
        return await connection.run_sync(look)


@every_database
async def test_the_migrations_lead_to_the_models(database: str) -> None:
    await migrate(database)

    def differences(connection: Connection) -> list[Any]:
        options = {"version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, METADATA))

    assert await looked_at(database, differences) == []


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

    assert not await looked_at(database, down)
    await migrate(database)
    assert await looked_at(database, lambda it: inspect(it).has_table("waguard_outbox"))


@every_database
async def test_the_applications_table_is_never_altered(database: str) -> None:
    await SqlApplication(database).run(tables.OLDER)

    def shape(connection: Connection) -> str:
        found = inspect(connection)
        columns = [(c["name"], str(c["type"])) for c in found.get_columns("whatsapp_accounts")]
        indexes = found.get_indexes("whatsapp_accounts")
        return str((columns, indexes, found.get_check_constraints("whatsapp_accounts")))

    before = await looked_at(database, shape)
    await migrate(database)
    assert await looked_at(database, shape) == before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_alembic_leaves_logging_alone(database: str) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("sqlalchemy").level)
    await migrate(database)
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


def test_alembic_is_imported_only_to_open() -> None:
    code = "import sys, waguard.store.sql; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_newest_revision_is_the_one_that_a_start_looks_for() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__path__[0])))
    assert scripts.get_current_head() == HEAD


async def test_a_database_that_is_up_to_date_does_not_need_alembic(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'waguard.db'}"
    await migrate(url)
    look = (
        "import asyncio, sys; from waguard.store.sql import SqlStore; store = SqlStore(sys.argv[1])\n"
        "async def main():\n    await store.open()\n    print(await store.sessions())\n"
        "    await store.close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", look, url], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "False"]
