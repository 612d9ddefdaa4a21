"""Two hosts, as far as one machine can be two: a holder that stands still, and a standby that takes over."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.e2e.browsers import SAMPLED_EVERY, Browsers
from tests.e2e.conftest import World
from tests.e2e.harness import Daemon, short_folder
from tests.store.conftest import new_database
from tests.store.servers import Server
from waguard.host.process import procfs

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(400),
]

PHONE, PERSON = "6281180001", "6281180002"
# s; the lease lasts 35 s and is renewed each 5 s, workers end 5 s before it does
STANDBY: Mapping[str, str] = {
    "WAGUARD_LEASE__STANDBY": "true",
    "WAGUARD_LEASE__MARGIN": "15",
    "WAGUARD_WORKER__ORPHAN_GRACE": "20",
}
LONGER: Final = 40.0  # s, than the lease lasts
RENEWED_EVERY: Final = 5.0  # s
ENDS: Final = {"ended": signal.SIGTERM, "killed": signal.SIGKILL, "stopped": signal.SIGSTOP}
POSTGRESQL = pytest.mark.parametrize("backend", ["postgresql"])


@dataclass
class Hosts:
    """Each has folders of its own; the second one has a copy of the paired profile."""

    world: World
    first: Daemon
    second: Daemon

    def browsers(self) -> set[str]:
        """The hosts with a living Chromium."""
        return {host for host, _ in self._browsers().living()}

    def _browsers(self) -> Browsers:
        return Browsers({"first": self.first.folder, "second": self.second.folder})

    async def overlap(self, over: asyncio.Event) -> float:
        """Seconds in which both lived, until ``over``."""
        browsers, total, last, both = self._browsers(), 0.0, time.monotonic(), False
        while not over.is_set():
            now = time.monotonic()
            total += now - last if both else 0.0
            living = await asyncio.to_thread(lambda: {host for host, _ in browsers.living()})
            last, both = now, len(living) > 1
            await asyncio.sleep(SAMPLED_EVERY)
        return total

    def tree(self) -> list[int]:
        """Every process of the first host, its daemon first."""
        assert self.first.process
        mine = f"{self.first.folder}/".encode()
        pids = [self.first.process.pid]
        for path in Path("/proc").glob("[0-9]*"):
            try:
                known = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
                other = (path / "cwd").readlink() == self.second.folder
            except OSError:
                continue
            if mine in known and not other and int(path.name) not in {os.getpid(), *pids}:
                pids.append(int(path.name))
        return pids


@pytest.fixture
async def hosts(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, backend: str
) -> AsyncIterator[Hosts]:
    url = await new_database(backend, request, tmp_path)
    first = world.daemon
    first.settings = {**first.settings, **STANDBY, "WAGUARD_DATABASE__URL": url}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_folder())
        second = await stack.enter_async_context(Daemon(folder, first.settings))
        await first.start()
        await first.pair(world.standin, "s1", PHONE)
        await world.receiver.wait_for("session_ready")
        assert await first.stop() == 0
        shutil.copytree(first.folder / "sessions", folder / "sessions", symlinks=True)
        await first.start()
        await first.wait_status("s1", "connected", lifecycle="running")
        await second.start(ready=False)
        await second.logs("event=standby")
        yield Hosts(world, first, second)


def go_on(stopped: Iterable[int]) -> None:
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def shown(daemon: Daemon, kind: str) -> bool:
    _, found = await daemon.call("GET", "/health/detailed")
    return kind in {it["type"] for it in found["conditions"]}


@POSTGRESQL
@pytest.mark.parametrize("whole", [False, True], ids=["the daemon", "the whole host"])
async def test_never_two_browsers_of_one_pairing_and_nothing_is_lost_silently(
    hosts: Hosts, *, whole: bool
) -> None:
    first, second, standin = hosts.first, hosts.second, hosts.world.standin
    assert await shown(second, "standby")
    over = asyncio.Event()
    sampling = asyncio.create_task(hosts.overlap(over))
    assert first.process
    frozen = hosts.tree() if whole else [first.process.pid]
    began = time.monotonic()
    try:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        standin.phone.incoming(phone=PHONE, from_=PERSON, body="to a frozen host")
        await second.until(lambda: second.answers("/health/ready"))
        await second.wait_status("s1", "connected")
        print(f"taken over {time.monotonic() - began:.1f} s after the freeze")
    finally:
        go_on(frozen)
    async with asyncio.timeout(90):
        assert await first.process.wait() == 6
    over.set()
    overlap = await sampling
    print(f"overlap {1000 * overlap:.0f} ms")
    assert overlap == 0.0
    assert hosts.browsers() == {"second"}
    assert await shown(second, "events_left_behind")
    delivered = hosts.world.receiver.count("message_received")
    kept = list((first.folder / "run/workers").glob("*.unstored"))
    print(f"delivered {delivered}, kept on the first host: {len(kept)}")
    assert whole or delivered or kept, "it is delivered, or lies on the first host's disk"
    if kept:  # as the remedy says
        assert await second.stop() == 0
        for path in kept:
            shutil.copy(path, second.folder / "run/workers")
        await second.start()
        await hosts.world.receiver.wait_for(
            "message_received", where=lambda it: it["message"]["body"] == "to a frozen host"
        )


FAILOVERS: Final = [
    ("mariadb", "ended"),
    ("postgresql", "killed"),
    ("mariadb", "killed whole"),
    ("postgresql", "stopped"),
    ("mariadb", "stopped whole"),
]


@pytest.mark.parametrize(("backend", "how"), FAILOVERS)
async def test_the_standby_takes_over_and_the_holder_comes_back_as_the_standby(
    hosts: Hosts, how: str
) -> None:
    first, second = hosts.first, hosts.second
    assert first.process
    over = asyncio.Event()
    sampling = asyncio.create_task(hosts.overlap(over))
    pids = hosts.tree() if "whole" in how else [first.process.pid]
    began = time.monotonic()
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it ended with the one that it served
                os.kill(pid, ENDS[how.split(maxsplit=1)[0]])
        await second.logs("event=lease_acquired")
        taken = time.monotonic() - began
        await second.until(lambda: second.answers("/health/ready"))
        answers = time.monotonic() - began
        after = await second.wait_status("s1", "connected", lifecycle="running")
        connected = time.monotonic() - began
    finally:
        go_on(pids)
    async with asyncio.timeout(90):
        code = await first.process.wait()
    assert code == {"ended": 0, "killed": -signal.SIGKILL, "stopped": 6}[how.split(maxsplit=1)[0]]
    began = time.monotonic()
    await first.start(ready=False)  # as systemd does
    await first.until(lambda: shown(first, "standby"))
    came_back = time.monotonic() - began
    code, found = await first.call("GET", "/health", key=False)
    assert (code, found["status"]) == (503, "standby")
    await asyncio.sleep(RENEWED_EVERY * 2)  # it goes on: nobody takes back what was taken
    over.set()
    overlap = await sampling
    print(
        f"{how}: lease {taken:.1f} s, answers {answers:.1f} s, connected {connected:.1f} s,"
        f" the first one waits after {came_back:.1f} s, overlap {1000 * overlap:.0f} ms"
    )
    assert overlap == 0.0
    assert hosts.browsers() == {"second"}
    assert (await second.status("s1"))["worker_pid"] == after["worker_pid"]
    assert await shown(second, "events_left_behind") == (how != "ended")
    began = time.monotonic()
    assert await first.stop() == 0
    print(f"a standby ends in {time.monotonic() - began:.1f} s")


@POSTGRESQL
async def test_a_database_that_is_away_for_longer_than_the_lease_moves_nothing(
    hosts: Hosts, request: pytest.FixtureRequest
) -> None:
    first, second = hosts.first, hosts.second
    server: Server = request.getfixturevalue("postgresql")
    over = asyncio.Event()
    sampling = asyncio.create_task(hosts.overlap(over))
    with server.frozen():
        await second.until(lambda: shown(second, "database_down"))
        code, found = await second.call("GET", "/health", key=False)
        assert (code, found["status"]) == (503, "standby")
        assert "the database does not answer" in found["error"]
        await asyncio.sleep(LONGER)
        assert not hosts.browsers(), "the lease is over"
    await first.wait_status("s1", "connected", lifecycle="running")
    await second.until(lambda: answers_again(second))
    over.set()
    assert await sampling == 0.0
    assert hosts.browsers() == {"first"}
    assert "lease_acquired" not in second.log()


async def answers_again(daemon: Daemon) -> bool:
    return await shown(daemon, "standby") and not await shown(daemon, "database_down")


@POSTGRESQL
async def test_a_restart_of_the_holder_moves_nothing(hosts: Hosts) -> None:
    first, second = hosts.first, hosts.second
    before = await first.status("s1")
    assert await first.stop(signal.SIGUSR2) == 0
    await first.start()
    after = await first.wait_status("s1", "connected", lifecycle="running")
    assert after["worker_pid"] == before["worker_pid"]
    await asyncio.sleep(LONGER)  # what the earlier daemon lent would be over
    assert (await first.status("s1"))["worker_pid"] == before["worker_pid"]
    assert await shown(second, "standby")


@POSTGRESQL
async def test_an_older_daemon_disarms_what_a_newer_one_lent(hosts: Hosts) -> None:
    """It lends nothing, and so does one of a version that cannot."""
    first, second = hosts.first, hosts.second
    await second.stop()
    before = await first.status("s1")
    assert await first.stop(signal.SIGUSR2) == 0
    first.settings = {**first.settings, "WAGUARD_LEASE__STANDBY": "false"}
    await first.start()
    after = await first.wait_status("s1", "connected", lifecycle="running")
    assert first.process
    first.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(LONGER)
        assert procfs.start_time(after["worker_pid"]), "it lives"
        assert after["worker_pid"] == before["worker_pid"]
    finally:
        first.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("backend", ["sqlite"])
async def test_without_a_database_workers_end_with_the_lease_and_start_again_with_it(
    hosts: Hosts,
) -> None:
    first, second = hosts.first, hosts.second
    before = await first.status("s1")
    engine = create_async_engine(first.settings["WAGUARD_DATABASE__URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text("BEGIN EXCLUSIVE"))

        async def waits() -> bool:
            shown_now = await first.status("s1")
            return shown_now["worker_pid"] is None and "lease" in str(shown_now["waiting"])

        await first.until(waits)
        assert procfs.start_time(before["worker_pid"]) is None
        assert not hosts.browsers()
        await connection.execute(text("ROLLBACK"))
    await engine.dispose()
    after = await first.wait_status("s1", "connected", lifecycle="running")
    assert (after["restarts"], after["worker_pid"] != before["worker_pid"]) == (0, True)
    assert await shown(second, "standby")
