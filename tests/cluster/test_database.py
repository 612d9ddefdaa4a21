"""What is the database's alone: the store around it."""

from pathlib import Path

import pytest

from tests.cluster.conftest import DatabaseBench
from tests.cluster.test_contract import A, assert_unavailable
from waguard.cluster.database import DatabaseLeases
from waguard.core.cluster.records import Found
from waguard.errors import DatabaseUnavailableError
from waguard.store.sql import SqlStore

servers = pytest.mark.parametrize("bench", ["postgresql", "mariadb"], indirect=True)


@servers
async def test_it_works_while_nobody_may_use_the_database(bench: DatabaseBench) -> None:
    store = await bench.store(bench.url)

    async def nobody() -> None:
        """Nobody is waited for."""

    store.guard(why_barred=lambda: "this host has no lease", before_migration=nobody)
    leases = DatabaseLeases(store.writing_the_lease, store.reading_the_lease)
    first = await leases.put(A, 0)
    assert await leases.read("a") == Found(A, first or 0)
    with pytest.raises(DatabaseUnavailableError, match="no lease"):
        await store.sessions()


@servers
async def test_a_store_whose_statement_was_alone_still_has_transactions(
    bench: DatabaseBench,
) -> None:
    """The connection of a write goes back to the pool, and begins a transaction when it is used next."""
    store = await bench.store(bench.url)
    leases = DatabaseLeases(store.writing_the_lease, store.reading_the_lease)
    assert await leases.put(A, 0)
    async with store.writing_the_lease() as connection:
        await connection.exec_driver_sql("DELETE FROM waguard_hosts")
        await connection.rollback()
    assert await leases.read("a")


async def test_a_store_that_was_never_reached_is_unavailable(tmp_path: Path) -> None:
    store = SqlStore(f"postgresql+asyncpg://nobody@/none?host={tmp_path}")
    leases = DatabaseLeases(store.writing_the_lease, store.reading_the_lease)
    await assert_unavailable(leases.read("a"), leases.hosts(), leases.put(A, 0))
    await leases.close()
