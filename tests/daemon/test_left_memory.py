"""What only memory has of sessions of other hosts outlives the daemon: its next one hands it over, or stores it."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import msgspec
import pytest

from tests.clocks import Clock
from tests.daemon.test_left_behind import World, record
from tests.host.odd_files import refuse
from tests.waiting import DEADLINE, wait_until
from waguard.core.messages.inbox import InboxRecord
from waguard.core.replace import replace
from waguard.daemon.cluster import Cluster
from waguard.daemon.left_memory import LeftMemory
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.journal import Journal
from waguard.messaging.left_events import LeftEvents
from waguard.ports.messages import Written


class Store:
    """A database that refuses what is of sessions of other hosts."""

    def __init__(self) -> None:
        self.ours: set[str] = set()
        self.stored: list[str] = []
        self.away = False

    async def write(self, received: Sequence[InboxRecord], *_: Any, **__: Any) -> Written:
        if self.away:
            raise DatabaseUnavailableError("the database is away")
        taken = [it for it in received if it.session_id in self.ours]
        self.stored += [it.key for it in taken]
        return Written(
            news=(True,) * len(taken),
            received=tuple(taken),
            endpoints=frozenset(),
            lost=frozenset(it.session_id for it in received) - self.ours,
        )

    def forget(self, sessions: Sequence[str]) -> None:
        """It reads nothing again."""


async def _nothing(**_: object) -> None:
    """There is nothing to end."""


class Daemon:
    """What a daemon has of it. It is entered, and its end is in order."""

    def __init__(self, workers: Path, clock: Clock) -> None:
        store: Any = Store()
        files: Any = SimpleNamespace()
        self.store = store
        self.journal = Journal(store, files, base="http://a", for_global=lambda: ())
        self.kept = LeftMemory(workers, self.journal.left, clock)
        self.acknowledged: list[str] = []

    async def __aenter__(self) -> Self:
        self.kept.load()
        await self.journal.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.journal.__aexit__(None, None, None)
        await self.cluster().end()

    def cluster(self, end: Callable[..., Awaitable[None]] = _nothing) -> Cluster:
        """What remains of it, at its end; ``end``: that of owning."""
        it: Any = object.__new__(Cluster)
        it._kept, it._stop = self.kept, SimpleNamespace(hands_over=True)
        it.owners = SimpleNamespace(end=end)
        found: Cluster = it
        return found

    def receive(self, key: str, session: str = "s") -> None:
        self.journal.put((record(key, session),), lambda _: self.acknowledged.append(key))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def left_by_one(world: World, *keys: str) -> None:
    """A daemon received them of a session that it had lost, and ended."""
    async with Daemon(world.workers, world.clock) as daemon:
        for key in keys:
            daemon.receive(key)
        async with asyncio.timeout(DEADLINE):
            await daemon.journal.flushed(DEADLINE)
        assert daemon.journal.left.counts() == {"s": len(keys)}
    assert daemon.acknowledged == []


async def test_the_next_daemon_hands_it_to_the_owner(world: World) -> None:
    await left_by_one(world, "a", "b")
    world.clock.live(60)
    async with Daemon(world.workers, world.clock) as daemon:  # its owner is away meanwhile
        await daemon.kept.tidy()
        assert daemon.journal.left.counts() == {"s": 2}
    assert len(world.files()) == 1, "each daemon leaves one file"
    async with Daemon(world.workers, world.clock) as daemon:
        world.memory = daemon.journal.left
        world.__post_init__()
        await world.tick()
        assert world.stored == {"b": ["a", "b"]}
        await daemon.kept.tidy()
        assert world.files() == []
    assert world.files() == []


async def test_it_is_written_before_an_engine_or_a_database_is_waited_for(world: World) -> None:
    """The service manager may kill the daemon in such a wait."""

    async def hangs(**_: object) -> None:
        await asyncio.Event().wait()

    async with Daemon(world.workers, world.clock) as daemon:
        daemon.receive("a")
        await wait_until(daemon.journal.left.counts, "it is refused")
        ending = asyncio.create_task(daemon.cluster(hangs).end())
        await wait_until(world.files, "it is written")
        ending.cancel()


async def test_a_daemon_that_has_the_session_again_stores_it_and_keeps_it_until_then(
    world: World,
) -> None:
    await left_by_one(world, "a")
    async with Daemon(world.workers, world.clock) as daemon:
        daemon.store.ours, daemon.store.away = {"s"}, True
        await daemon.journal.acquire(["s"])
        await wait_until(lambda: daemon.journal.refusal, "it is tried")
        await daemon.kept.tidy()
        assert len(world.files()) == 1, "a daemon that is killed has lost nothing"
    assert len(world.files()) == 1
    async with Daemon(world.workers, world.clock) as daemon:
        daemon.store.ours = {"s"}
        await daemon.journal.acquire(["s"])
        await wait_until(lambda: daemon.store.stored, "it is stored")
        await wait_until(lambda: not daemon.journal.left.counts(), "nothing is left")
        assert daemon.store.stored == ["a"]
    assert world.files() == []


async def test_what_waits_for_a_database_that_is_away_is_kept_where_its_session_was_lost(
    world: World,
) -> None:
    """The worker of the other one lives, and reports it again."""
    async with Daemon(world.workers, world.clock) as daemon:
        daemon.store.away = True
        daemon.receive("a")
        daemon.receive("b", "ours")
        await wait_until(lambda: daemon.journal.refusal, "it is tried")
        await daemon.journal.lose(["s"])
    async with Daemon(world.workers, world.clock) as daemon:
        assert daemon.journal.left.counts() == {"s": 1}


async def test_one_that_is_lost_again_before_it_is_stored_is_left_once(world: World) -> None:
    async with Daemon(world.workers, world.clock) as daemon:
        daemon.receive("a")
        await wait_until(daemon.journal.left.counts, "it is refused")
        await daemon.journal.acquire(["s"])
        await daemon.journal.flushed(DEADLINE)
        assert daemon.journal.left.counts() == {"s": 1}


async def test_what_is_acquired_again_and_again_waits_for_the_database_once(world: World) -> None:
    """What is claimed is acquired until that works; each further one would fill the queue, which refuses work then."""
    async with Daemon(world.workers, world.clock) as daemon:
        daemon.receive("a")
        await wait_until(daemon.journal.left.counts, "it is refused")
        daemon.store.ours, daemon.store.away = {"s"}, True
        for _ in range(3):
            await daemon.journal.acquire(["s"])
        assert daemon.journal.backlog.count == 1
        daemon.store.away = False
        await daemon.journal.flushed(DEADLINE)
        assert daemon.store.stored == ["a"]
        await daemon.journal.lose(["s"])
        daemon.store.ours.clear()
        daemon.receive("b")
        await wait_until(daemon.journal.left.counts, "it is refused")
        daemon.store.ours = {"s"}
        await daemon.journal.acquire(["s"])
        await wait_until(lambda: not daemon.journal.left.counts(), "nothing is left")
        assert daemon.store.stored == ["a", "b"]


async def test_a_damaged_file_is_quarantined(world: World) -> None:
    await left_by_one(world, "a")
    [name] = world.files()
    (world.workers / name).write_bytes(b"\xc1")
    (world.workers / f"{name}.new").write_bytes(b"cut off")
    async with Daemon(world.workers, world.clock):
        pass
    assert world.files() == [f"{name}.unreadable"]
    await world.tick()
    assert f"kept in {name}.unreadable" in str(world.why)


async def test_more_than_a_file_may_have_is_in_several_in_their_order(world: World) -> None:
    """A larger one would be taken for a damaged one."""
    keys = [f"k{it}" for it in range(25)]
    memory = LeftEvents()
    memory.keep([record(it) for it in keys])
    limit = 4 * len(msgspec.msgpack.encode(record("k10")))
    LeftMemory(world.workers, memory, world.clock, limit=limit).save()
    assert len(world.files()) > 6
    read = LeftEvents()
    kept = LeftMemory(world.workers, read, world.clock, limit=limit)
    kept.load()
    assert [it.key for it in read.of("s")] == keys
    world.clock.live(60)
    kept.save()
    again = LeftEvents()
    LeftMemory(world.workers, again, world.clock, limit=limit).load()
    assert [it.key for it in again.of("s")] == keys, "those of before are removed"


async def test_a_session_whose_events_cannot_be_written_does_not_end_the_others(
    world: World,
) -> None:
    odd = [replace(record("a", name), chat="\udc80") for name in ("s", "u")]
    memory = LeftEvents()
    memory.keep([odd[0], record("b", "t"), odd[1]])
    LeftMemory(world.workers, memory, world.clock).save()
    read = LeftEvents()
    LeftMemory(world.workers, read, world.clock).load()
    assert read.counts() == {"t": 1}


async def test_a_file_that_cannot_be_read_or_written_now_is_the_next_daemons(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_by_one(world, "a")
    [name] = world.files()
    with monkeypatch.context() as patch:
        refuse(patch, world.workers / name, errno.EMFILE)
        world.clock.live(60)
        await left_by_one(world, "b")
    assert len(world.files()) == 2

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with Daemon(world.workers, world.clock) as daemon:
        assert daemon.journal.left.counts() == {"s": 2}
        monkeypatch.setattr(Path, "write_bytes", full)
    assert len(world.files()) == 2, "what was there stays"
