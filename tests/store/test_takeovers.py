"""Owners change while others write, on real servers: nothing accepted is missed, and nothing of an owner before is written."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.util import await_only

from tests.store.application import SqlApplication
from tests.store.hosts import SERVERS, Host, hosts, message
from tests.store.test_messages import entry
from tests.waiting import wait_until
from waguard.core.cluster.records import Owning
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.errors import DatabaseUnavailableError, NotOwnedError
from waguard.store import epochs
from waguard.store.models import OWNERS

on_servers = pytest.mark.parametrize("ready", SERVERS, indirect=True)
WRITTEN = DerivedStatus(Status.FAILED, Reason.ERROR, "written by the one that lost it")
ACCEPTORS = 4
LOCKED_EACH = 60  # times
PLANTED = 60  # takeovers at most until a mistake that was planted shows


@dataclass
class Barrier:
    """Hosts accept for a session that changes hands."""

    acceptors: list[Host]
    owners: list[Host]
    accepted: dict[int, set[str]] = field(default_factory=dict)
    """By the epoch that was seen."""
    read: dict[int, set[str]] = field(default_factory=dict)
    """By epoch, what its owner read first."""
    epoch: int = 1

    async def accept(self, host: Host, ended: asyncio.Event) -> None:
        """One after the other."""
        number = 0
        while not ended.is_set():
            number += 1
            name, seen = f"{host.name}-{number}", self.epoch
            written = await host.store.messages.write([], outgoing=[message("s1", name, seen=seen)])
            if written.kept[0]:
                self.accepted.setdefault(seen, set()).add(name)

    async def move(self) -> None:
        """The next owner claims it, and reads what it has to send."""
        host = self.owners[self.epoch % len(self.owners)]
        epoch = await host.claim("s1")
        assert epoch
        left = await host.store.outbox.unfinished(
            uncertain_since=0.0, answered_since=0.0, sessions=["s1"]
        )
        self.read[epoch], self.epoch = {row.fingerprint for row in left}, epoch

    def unread(self) -> set[str]:
        """Accepted in an epoch, and not there when the next owner read."""
        return {
            name
            for seen, names in self.accepted.items()
            for name in names - self.read.get(seen + 1, names)
        }

    async def run(self, takeovers: int, *, until_mistake: bool = False) -> None:
        """So many, each after something was accepted."""
        ended = asyncio.Event()
        tasks = [asyncio.create_task(self.accept(host, ended)) for host in self.acceptors]
        try:
            for _ in range(takeovers):
                await wait_until(
                    lambda: self.accepted.get(self.epoch) or any(it.done() for it in tasks),
                    "something is accepted",
                )
                await self.move()
                if until_mistake and self.unread():
                    break
        finally:
            ended.set()
            await asyncio.gather(*tasks)


@pytest.fixture
def slow_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the check and the commit other things happen."""
    checked = epochs.allowed

    def allowed(connection: Connection, owning: Owning, batch: epochs.Batch) -> epochs.Allowed:
        found = checked(connection, owning, batch)
        await_only(asyncio.sleep(random.random() * 0.01))
        return found

    monkeypatch.setattr(epochs, "allowed", allowed)


@on_servers
@pytest.mark.parametrize("takeovers", [20, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.usefixtures("slow_commits")
async def test_a_new_owner_reads_all_that_was_accepted(ready: str, takeovers: int) -> None:
    async with hosts(ready, ACCEPTORS + 2, sessions=["s1"]) as made:
        barrier = Barrier(made[2:], made[:2])
        await barrier.run(takeovers)
    assert sum(map(len, barrier.accepted.values())) >= takeovers
    assert barrier.unread() == set()


@on_servers
@pytest.mark.usefixtures("slow_commits")
async def test_a_comparison_without_the_lock_misses_some(
    ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: so the test above can fail."""

    def read(connection: Connection, sessions: Iterable[str]) -> dict[str, epochs.Held]:
        query = select(OWNERS).where(OWNERS.c.session_id.in_(sorted(sessions)))
        rows = connection.execute(query)
        return {row.session_id: epochs.Held(row.epoch, row.host, row.incarnation) for row in rows}

    monkeypatch.setattr(epochs, "hold", read)
    async with hosts(ready, ACCEPTORS + 2, sessions=["s1"]) as made:
        barrier = Barrier(made[2:], made[:2])
        await barrier.run(PLANTED, until_mistake=True)
    assert barrier.unread()


@on_servers
@pytest.mark.usefixtures("slow_commits")
async def test_two_hosts_that_accept_one_request_at_once_keep_it_once(ready: str) -> None:
    async with hosts(ready, 3, sessions=["s1"]) as (_, *others):
        for number in range(8):
            key = f"order-{number}"
            asked = (
                host.store.messages.write(
                    [], outgoing=[message("s1", f"{key}-{host.name}", seen=1, key=key)]
                )
                for host in others
            )
            kept = [written.kept[0] for written in await asyncio.gather(*asked)]
            assert sum(it is None for it in kept) == 1
        rows = await others[0].store.outbox.listing()
        assert sorted(row.key or "" for row in rows) == [f"order-{it}" for it in range(8)]


@on_servers
async def test_an_owner_that_stood_still_commits_nothing_after_a_takeover(ready: str) -> None:
    """Its daemon is stopped between its last statement and its commit; the server ends its transaction, and the claim
    goes on."""
    async with hosts(ready, 2, sessions=["s1"], busy_timeout=20.0) as (first, second):
        stands_still, taken = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            async with first.store._database.writing() as work:
                await work.own("s1")
                held = await work.lock_ours("s1")
                assert held
                await work.derive(held, WRITTEN, None)
                stands_still.set()
                await taken.wait()

        writing = asyncio.create_task(write())
        await stands_still.wait()
        try:
            assert await second.claim("s1") == 2
            row = await second.store.session("s1")
            assert row
            assert await second.store.write_status(
                "s1", row.generation, DerivedStatus(Status.CONNECTED)
            )
        finally:
            taken.set()
            [outcome] = await asyncio.gather(writing, return_exceptions=True)
        assert isinstance(outcome, DatabaseUnavailableError)
        row = await second.store.session("s1")
        assert row
        assert row.status == Status.CONNECTED


@pytest.mark.long
@on_servers
async def test_a_storm_of_all_that_locks_has_no_deadlock(ready: str) -> None:
    """Claims, group commits of many sessions in any order, statuses, and transactions of the application that hold rows of
    accounts; each store says of a deadlock that the database is unavailable."""
    names = [f"s{number:02}" for number in range(30)]
    async with hosts(ready, 3, sessions=names) as made:
        failures: list[DatabaseUnavailableError] = []
        ended = asyncio.Event()

        counts: list[int] = []

        async def repeat(do: Callable[[], Awaitable[object]]) -> None:
            place = len(counts)
            counts.append(0)
            while not ended.is_set():
                try:
                    await do()
                    counts[place] += 1
                except DatabaseUnavailableError as error:
                    failures.append(error)
                except NotOwnedError:
                    pass

        async def commit(host: Host) -> None:
            some = random.sample(names, 12)
            records = [entry(f"{host.name}{random.random()}", session=name) for name in some]
            await host.store.messages.write(
                records, outgoing=[message(name, f"{random.random()}") for name in some]
            )

        async def status(host: Host) -> None:
            await asyncio.gather(
                *(
                    host.store.write_status(name, 9, DerivedStatus(Status.CONNECTED))
                    for name in random.sample(names, 12)
                ),
                host.store.touch(random.choice(names)),
            )

        async def claim(host: Host) -> None:
            await host.claim(random.choice(names))
            await host.claim_free(random.sample(names, 12))

        async def create(host: Host) -> None:
            await host.store.create(random.choice(names), 1, account_id=None, priority=0)

        app = SqlApplication(ready)

        async def update() -> None:
            some = ", ".join(f"'{name}'" for name in sorted(random.sample(names, 5)))
            await app.run(
                f"UPDATE whatsapp_accounts SET is_primary = false WHERE session_id IN ({some})"
            )

        each = (commit, status, claim, create)
        doing = [repeat(update), *(repeat(partial(do, it)) for it in made for do in each)]
        tasks = [asyncio.create_task(it) for it in doing]
        try:
            await wait_until(
                lambda: failures or (len(counts) == len(tasks) and min(counts) >= LOCKED_EACH),
                "each is done often enough",
                deadline=900.0,
            )
        finally:
            ended.set()
            await asyncio.gather(*tasks)
    assert [error.message for error in failures] == []
