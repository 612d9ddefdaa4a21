"""A worker that was started before its session has a start slot: Chromium waits, and nothing else does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.host.forking import PATIENT, closing
from tests.host.processes import ended, listening, worker_spec
from tests.host.test_fork_server import CHROMIUM
from tests.waiting import DEADLINE, wait_until
from waguard.host.process import procfs
from waguard.host.process.children import PidfdProcess
from waguard.host.process.fork_server import ForkSpawn
from waguard.profile.lock import is_free
from waguard.wire.channel import Channel
from waguard.wire.protocol import PROTOCOL, FromWorker, Hello, StartBrowser
from waguard.wire.reports import Heartbeat, Report
from waguard.wire.worker import WorkerSpec


@pytest.fixture
def spec(short_path: Path) -> WorkerSpec:
    browser = short_path / "chromium"
    browser.write_text(CHROMIUM)
    browser.chmod(0o700)
    plain = worker_spec(short_path, executable=str(browser), launch_timeout=600.0)
    return msgspec.structs.replace(plain, waits=True, heartbeat=0.05)


@pytest.fixture
async def worker(spec: WorkerSpec) -> AsyncIterator[PidfdProcess]:
    """One that listens."""
    spawner = ForkSpawn(deadlines=PATIENT)
    spawner.start()
    async with closing(spawner):
        process = await spawner.spawn(spec)
        await listening(process)
        yield process


async def greet(spec: WorkerSpec, *, grants: bool = True) -> Channel[FromWorker]:
    reader, writer = await asyncio.open_unix_connection(spec.socket)
    channel: Channel[FromWorker] = Channel(reader, writer, FromWorker)
    channel.post(
        Hello(
            protocol=PROTOCOL,
            instance=spec.instance,
            session=spec.session,
            generation=spec.generation,
            grants=grants,
        )
    )
    return channel


async def next_of(channel: Channel[FromWorker], kind: type[Report] | type[Heartbeat]) -> Any:
    async with asyncio.timeout(DEADLINE):
        while not isinstance(said := await channel.receive(), kind):
            pass
    return said


def launched(worker: PidfdProcess) -> list[int]:
    return [it for it in procfs.children(worker.pid) if procfs.command_line(it)[:1] == ["sleep"]]


async def test_chromium_is_started_when_the_daemon_says_so(
    worker: PidfdProcess, spec: WorkerSpec
) -> None:
    channel = await greet(spec)
    said = await next_of(channel, Report)
    assert (said.waits, said.phase) == (True, "launching")
    for _ in range(3):
        assert (await next_of(channel, Heartbeat)).page is None
    assert procfs.children(worker.pid) == []
    assert not is_free(Path(spec.profile)), "nobody else uses its profile meanwhile"
    channel.post(StartBrowser())
    assert not (await next_of(channel, Report)).waits
    await wait_until(lambda: launched(worker), "Chromium runs")
    channel.close()


async def test_the_next_daemon_hears_that_it_still_waits(
    worker: PidfdProcess, spec: WorkerSpec
) -> None:
    first = await greet(spec)
    await next_of(first, Heartbeat)
    first.close()
    second = await greet(spec)
    assert (await next_of(second, Report)).waits
    assert procfs.children(worker.pid) == []
    second.post(StartBrowser())
    await wait_until(lambda: launched(worker), "Chromium runs")
    second.close()


async def test_a_daemon_of_a_version_that_knows_no_waiting_finds_it_starting(
    worker: PidfdProcess, spec: WorkerSpec
) -> None:
    channel = await greet(spec, grants=False)
    await wait_until(lambda: launched(worker), "Chromium runs")
    channel.close()


async def test_a_stop_while_it_waits(worker: PidfdProcess, spec: WorkerSpec) -> None:
    channel = await greet(spec)
    await next_of(channel, Heartbeat)
    os.kill(worker.pid, signal.SIGTERM)
    assert await ended(worker) == 0
    assert is_free(Path(spec.profile))
    channel.close()
