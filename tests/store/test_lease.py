"""The lease on every database, and in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, ready_database
from tests.store.memory import MemoryLease
from waguard.core.lease import Holder, Lease, Terms, of_cluster
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError, InstanceHeldError
from waguard.ports.store import LeaseStore
from waguard.store.revision import VERSION_TABLE
from waguard.store.sql import SqlStore

A = Holder(machine="m1", runtime="/run/a", host="alpha", pid=7, instance="i7")
B = Holder(machine="m2", runtime="/run/b", host="beta", pid=8, instance="i8")
TERMS = Terms(lasts=75.0, renewed_every=5.0)


async def nothing() -> None:
    """Nobody has to be waited for."""


@dataclass
class Bench:
    """The lease, and another connection to it."""

    lease: LeaseStore
    other: LeaseStore
    url: str | None = None

    async def found(self) -> Lease | None:
        """What is there; it is not taken."""
        seen: list[Lease | None] = []

        def is_so(found: Lease | None) -> bool:
            seen.append(found)
            return False

        assert await self.lease.acquire(A, TERMS, is_so) is None
        return seen[-1]

    async def mark(self, installation: str) -> None:
        """The database is this installation's from now on."""
        if self.url:
            marked = f"INSERT INTO waguard_installation VALUES (1, '{installation}')"
            await SqlApplication(self.url).run(marked)
        for lease in (self.lease, self.other):
            if isinstance(lease, MemoryLease):
                lease.installation = installation

    async def held(self) -> Lease:
        found = await self.found()
        assert found is not None
        return found


@pytest.fixture(params=["memory", *BACKENDS])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "memory":
        memory = MemoryLease()
        yield Bench(memory, memory)
        return
    url = await ready_database(request.param, request, tmp_path)
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(2):
            # its wall clock must not matter: it stands in the year 2001
            store = SqlStore(url, wall=lambda: 1e9)
            await store.open()
            stack.push_async_callback(store.close)
            stores.append(store.lease)
        yield Bench(stores[0], stores[1], url)


def always(_: Lease | None) -> bool:
    return True


async def test_nobody_has_it_at_first(bench: Bench) -> None:
    assert await bench.found() is None
    assert not await bench.lease.renew(1, TERMS)
    await bench.lease.release(1)
    assert await bench.found() is None


async def test_who_takes_it_is_named_and_each_taking_counts_the_epoch_up(bench: Bench) -> None:
    assert await bench.lease.acquire(A, TERMS, always) == 1
    first = await bench.held()
    assert (first.epoch, first.holder, first.terms, first.released) == (1, A, TERMS, False)
    # the server's clock is read twice, and it may be descheduled in between
    assert first.taken_at == pytest.approx(first.renewed_at, abs=60.0)
    assert first.taken_at <= first.now
    assert await bench.other.acquire(B, replace(TERMS, lasts=9.0), always) == 2
    second = await bench.held()
    assert (second.epoch, second.holder, second.terms.lasts) == (2, B, 9.0)
    assert second.taken_at >= first.taken_at
    assert await bench.lease.acquire(A, TERMS, always, above=7) == 8


async def test_the_databases_clock_counts_and_it_moves(bench: Bench) -> None:
    await bench.lease.acquire(A, TERMS, always)
    first = await bench.held()
    assert first.now > 1_700_000_000  # the wall clock of the store stands in 2001

    times: list[float] = []

    async def is_so() -> None:
        times.append((await bench.held()).now)

    while not times or times[-1] <= first.now:
        await is_so()
    assert first.now < times[-1] < first.now + 3_600


async def test_the_lease_is_evaluated_while_nobody_else_can_take_it(bench: Bench) -> None:
    def free(found: Lease | None) -> bool:
        return found is None

    taken = await asyncio.gather(
        *(store.acquire(who, TERMS, free) for store, who in ((bench.lease, A), (bench.other, B)))
    )
    assert sorted(taken, key=str) == [1, None]


async def test_a_renewal_moves_its_end_and_nothing_else(bench: Bench) -> None:
    epoch = await bench.lease.acquire(A, TERMS, always)
    assert epoch is not None
    before = await bench.held()
    longer = Terms(lasts=100.0, renewed_every=6.0)
    assert await bench.lease.renew(epoch, longer)
    after = await bench.held()
    assert after.renewed_at >= before.renewed_at
    assert after == replace(
        before, terms=longer, renewed_at=after.renewed_at, now=after.now, released=False
    )
    assert await bench.lease.renew(epoch, longer)  # also when nothing but the time has changed


async def test_a_renewal_for_an_installation_changes_nothing_in_the_database_of_another(
    bench: Bench,
) -> None:
    epoch = await bench.lease.acquire(A, TERMS, always)
    assert epoch is not None
    await bench.mark("ours")
    before = await bench.held()
    assert not await bench.lease.renew(epoch, TERMS, of="theirs")
    assert not await bench.lease.renew(epoch, TERMS, of="")
    assert replace(await bench.held(), now=0.0) == replace(before, now=0.0)
    assert await bench.lease.renew(epoch, replace(TERMS, lasts=9.0), of="ours")
    assert (await bench.held()).terms.lasts == 9.0


async def test_an_older_epoch_renews_and_releases_nothing(bench: Bench) -> None:
    old = await bench.lease.acquire(A, TERMS, always)
    assert old is not None
    await bench.other.acquire(B, TERMS, always)
    before = await bench.held()
    assert not await bench.lease.renew(old, TERMS)
    await bench.lease.release(old)
    assert replace(await bench.held(), now=0.0) == replace(before, now=0.0)


async def test_what_was_released_is_not_renewed_any_more(bench: Bench) -> None:
    epoch = await bench.lease.acquire(A, TERMS, always)
    assert epoch is not None
    await bench.lease.release(epoch)
    assert (await bench.held()).released
    assert not await bench.lease.renew(epoch, TERMS)
    assert await bench.other.acquire(B, TERMS, always) == epoch + 1
    assert not (await bench.held()).released


async def test_a_row_that_somebody_deleted_is_made_again_above_the_epoch_before(
    bench: Bench,
) -> None:
    epoch = await bench.lease.acquire(A, TERMS, always)
    assert epoch is not None
    if bench.url:
        await SqlApplication(bench.url).run("DELETE FROM waguard_lease")
    else:
        assert isinstance(bench.lease, MemoryLease)
        bench.lease.row = None
    assert not await bench.lease.renew(epoch, TERMS)
    assert await bench.lease.acquire(A, TERMS, always, above=epoch) == epoch + 1


async def test_the_hosts_of_a_cluster_have_one_lease_in_one_epoch(bench: Bench) -> None:
    hosts = of_cluster("c1")
    for store in (bench.lease, bench.other, bench.lease):
        assert await store.acquire(hosts, TERMS, always) == 1
    assert await bench.lease.renew(1, TERMS)
    assert await bench.other.renew(1, TERMS)
    first = await bench.held()
    assert (first.holder, first.released) == (hosts, False)
    assert await bench.lease.acquire(A, TERMS, always) == 2
    assert not await bench.other.renew(1, TERMS)
    assert await bench.other.acquire(hosts, TERMS, always) == 3


async def test_hosts_of_a_cluster_that_begin_at_once_have_one_lease(bench: Bench) -> None:
    hosts = of_cluster("c1")
    both = (store.acquire(hosts, TERMS, always) for store in (bench.lease, bench.other))
    assert await asyncio.gather(*both) == [1, 1]


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_who_is_barred_reaches_nothing_but_the_lease(database: str) -> None:
    store = SqlStore(database)
    await store.open()
    why: list[str] = ["another one holds it"]
    store.guard(why_barred=lambda: why[0] if why else None, before_migration=nothing)
    try:
        for call in (
            store.sessions,
            store.ping,
            partial(store.touch, "a"),
            store.messages.endpoints,
            partial(store.messages.write, ()),
            store.outbox.largest_body,
        ):
            with pytest.raises(DatabaseUnavailableError, match="another one holds it"):
                await call()
        assert await store.lease.acquire(A, TERMS, always) == 1
        assert await store.lease.renew(1, TERMS)
        why.clear()
        assert await store.sessions() == []
    finally:
        await store.close()


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_tables_that_somebody_may_be_using_are_changed_only_after_the_lease(
    database: str,
) -> None:
    store, app = SqlStore(database), SqlApplication(database)
    await store.open()
    await store.close()
    await app.run(f"UPDATE {VERSION_TABLE} SET version_num = '0005'")

    async def refuse() -> None:
        raise InstanceHeldError("another one holds it")

    store.guard(before_migration=refuse)
    with pytest.raises(InstanceHeldError):
        await store.open()
    taken: list[int | None] = []

    async def acquire() -> None:
        taken.append(await store.lease.acquire(A, TERMS, always))

    store.guard(before_migration=acquire)
    await store.open()
    assert taken == [1]
    await store.close()
    await store.open()  # nothing is to be changed any more
    await store.close()
    assert taken == [1]


async def test_before_the_database_is_open_nothing_is_known_of_it(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite+aiosqlite:///{tmp_path / 'w.db'}")
    with pytest.raises(DatabaseUnavailableError):
        await store.lease.acquire(A, TERMS, always)
    await store.open()
    assert await store.lease.acquire(A, TERMS, always) == 1
    await store.close()
    with pytest.raises(DatabaseUnavailableError):
        await store.lease.renew(1, TERMS)
