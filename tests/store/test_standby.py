"""A daemon that lost the lease writes nothing any more, not even what it had begun to write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from tests.store.conftest import BACKENDS
from tests.waiting import DEADLINE
from waguard.core.lease import Holder, Lease, Terms
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.errors import DatabaseUnavailableError
from waguard.store.sql import SqlStore

A = Holder(machine="m1", runtime="/run/a", host="alpha", pid=7, instance="i7")
B = Holder(machine="m2", runtime="/run/b", host="beta", pid=8, instance="i8")
TERMS = Terms(lasts=75.0, renewed_every=5.0)
SERVERS = ("postgresql", "mariadb")
WRITTEN = DerivedStatus(Status.FAILED, Reason.ERROR, "written by the one that lost it")


async def nothing() -> None:
    """Nobody has to be waited for."""


def always(_: Lease | None) -> bool:
    return True


@dataclass
class Pair:
    """Two daemons; the first one has the lease."""

    first: SqlStore
    second: SqlStore

    async def acquire_next(self) -> None:
        assert await self.second.lease.acquire(B, TERMS, always) == 2


@pytest.fixture
async def pair(database: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        pair = Pair(SqlStore(database, standby=True), SqlStore(database, standby=True))
        for store in (pair.first, pair.second):
            await store.open()
            stack.push_async_callback(store.close)
        await pair.first.create("s1", 1, account_id=None, priority=0)
        assert await pair.first.lease.acquire(A, TERMS, always) == 1
        pair.first.guard(before_migration=nothing, fence=lambda: 1)
        pair.second.guard(before_migration=nothing, fence=lambda: 2)
        yield pair


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_a_write_after_the_takeover_is_refused(pair: Pair) -> None:
    row = await pair.first.session("s1")
    assert row
    assert await pair.first.write_status("s1", row.generation, WRITTEN)
    await pair.acquire_next()
    with pytest.raises(DatabaseUnavailableError, match="another daemon"):
        await pair.first.set_desired("s1", up=False)
    with pytest.raises(DatabaseUnavailableError, match="another daemon"):
        await pair.first._database.write_at_once(lambda _: pytest.fail("it is written"))
    assert await pair.second.set_desired("s1", up=False)
    assert await pair.second._database.write_at_once(lambda _: "written") == "written"


@pytest.mark.parametrize("database", SERVERS, indirect=True)
async def test_a_transaction_that_stood_still_is_not_committed_after_the_takeover(
    pair: Pair,
) -> None:
    """Its daemon is stopped between its last statement and its commit."""
    stands_still, taken = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with pair.first._database.writing() as work:
            held = await work.lock_ours("s1")
            assert held
            await work.derive(held, WRITTEN, None)
            stands_still.set()
            await taken.wait()

    writing = asyncio.create_task(first())
    await stands_still.wait()
    try:
        await pair.acquire_next()  # it waits for the transaction, which the server ends
        assert await pair.second.set_desired("s1", up=True), "nothing blocks the new holder"
    finally:
        taken.set()
        [outcome] = await asyncio.gather(writing, return_exceptions=True)
    assert isinstance(outcome, DatabaseUnavailableError)
    row = await pair.second.session("s1")
    assert row
    assert row.status != WRITTEN.status


@pytest.mark.parametrize("database", SERVERS, indirect=True)
async def test_the_limit_is_of_the_daemons_own_connections(pair: Pair, database: str) -> None:
    application = SqlStore(database)
    await application.open()
    shown = {
        "postgresql": "SHOW idle_in_transaction_session_timeout",
        "mysql": "SELECT @@SESSION.idle_transaction_timeout",
    }
    try:
        found = []
        for store in (pair.first, application):
            async with store._database.reading() as (connection, _):
                query = shown[store._database.backend]
                found.append(str(await connection.scalar(text(query))).removesuffix("s"))
    finally:
        await application.close()
    assert found == ["4", "0"]


@pytest.mark.parametrize("database", SERVERS, indirect=True)
async def test_who_waits_keeps_nobody_from_renewing_it(pair: Pair) -> None:
    """Also where it is stopped while it decides."""
    renewed = asyncio.Event()
    decided: list[Lease | None] = []
    loop = asyncio.get_running_loop()

    def waits(found: Lease | None) -> bool:
        decided.append(found)
        return False

    assert await pair.second.lease.acquire(B, TERMS, waits) is None
    async with pair.second._database.reading_the_lease() as connection:
        await connection.scalar(text("SELECT epoch FROM waguard_lease"))
        renewing = loop.create_task(pair.first.lease.renew(1, TERMS))
        renewing.add_done_callback(lambda _: renewed.set())
        async with asyncio.timeout(DEADLINE):
            await renewed.wait()
    assert await renewing
    assert len(decided) == 1
