"""A daemon that lost the lease writes nothing any more, not even what it had begun to write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, PATIENT
from tests.waiting import DEADLINE
from waguard.core.lease import Holder, Lease, Terms
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.errors import DatabaseUnavailableError
from waguard.store.lease import SqlLease
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


# transactions that wait for a lock; the server is this test's alone
_WAITING = {
    "postgresql": "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) AS n FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


async def waits(database: str, over: Callable[[], bool], *, waiters: int = 1) -> bool:
    """Whether it waits for a lock, as the last of so many; else it is over."""
    app, query = SqlApplication(database), _WAITING[database.partition("+")[0]]
    async with asyncio.timeout(DEADLINE):
        while not over():
            [row] = await app.rows(query)
            if row["n"] >= waiters:
                return True
            # InnoDB shows what it has shown before to whoever asks again within 0.1 s
            await asyncio.sleep(0.2)
    return False


@pytest.fixture
async def patient(database: str) -> AsyncIterator[Pair]:
    """As ``pair``; the server ends no transaction that stands still."""
    async with AsyncExitStack() as stack:
        made = [SqlStore(database, busy_timeout=PATIENT) for _ in range(2)]
        for store in made:
            await store.open()
            stack.push_async_callback(store.close)
        patient = Pair(*made)
        await patient.first.create("s1", 1, account_id=None, priority=0)
        assert await patient.first.lease.acquire(A, TERMS, always) == 1
        patient.first.guard(before_migration=nothing, fence=lambda: 1)
        yield patient


@dataclass
class Write:
    """A write of the first daemon, whose transaction is open until it may end."""

    begun: asyncio.Event
    may_end: asyncio.Event
    task: asyncio.Task[object]

    @classmethod
    def of(cls, store: SqlStore) -> "Write":
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            async with store._database.writing():
                begun.set()
                await may_end.wait()

        return cls(begun, may_end, asyncio.create_task(write()))

    async def end(self) -> None:
        self.may_end.set()
        await self.task


async def within(it: Awaitable[object]) -> object:
    async with asyncio.timeout(DEADLINE):
        return await it


@pytest.mark.parametrize("database", SERVERS, indirect=True)
async def test_writes_that_overlap_without_an_end_do_not_starve_the_renewal(
    patient: Pair, database: str
) -> None:
    first = Write.of(patient.first)
    await within(first.begun.wait())
    renewing = asyncio.create_task(patient.first.lease.renew(1, TERMS))
    renewal_waits = await waits(database, renewing.done)
    second = Write.of(patient.first)  # before the first one ends
    if renewal_waits:
        queued = await waits(database, second.begun.is_set, waiters=2)
        assert queued, "the second one passes the renewal"
    await first.end()
    assert await within(renewing)
    await second.end()


@pytest.mark.parametrize("database", SERVERS, indirect=True)
async def test_a_takeover_waits_for_a_write_that_has_begun(patient: Pair, database: str) -> None:
    write = Write.of(patient.first)
    await within(write.begun.wait())
    taking = asyncio.create_task(patient.second.lease.acquire(B, TERMS, always))
    assert await waits(database, taking.done)
    await write.end()
    assert await within(taking) == 2


@pytest.mark.parametrize("database", SERVERS, indirect=True)
async def test_a_write_waits_for_a_takeover_that_has_begun_and_is_refused(
    patient: Pair, database: str
) -> None:
    """A write whose lock is weaker than a takeover's update would read the epoch before it."""
    taken, may_end = asyncio.Event(), asyncio.Event()
    second = patient.second._database

    @asynccontextmanager
    async def late() -> AsyncIterator[AsyncConnection]:
        async with second.writing_the_lease() as connection:
            yield connection
            taken.set()
            await may_end.wait()

    assert await patient.first.lease.renew(1, TERMS)
    lease = SqlLease(second.backend, late, second.reading_the_lease)
    taking = asyncio.create_task(lease.acquire(B, TERMS, always))
    await within(taken.wait())
    write = Write.of(patient.first)
    assert await waits(database, write.begun.is_set)
    may_end.set()
    assert await within(taking) == 2
    with pytest.raises(DatabaseUnavailableError, match="another daemon"):
        await within(write.task)
