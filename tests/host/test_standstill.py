"""Processes that are stopped and go on, or do not."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.host.processes import worker_spec
from tests.waiting import DEADLINE, wait_until
from waguard.host.process import procfs
from waguard.host.process.children import ExecSpawn, PidfdProcess
from waguard.host.process.fork_server import SERVER, Deadlines, ForkSpawn
from waguard.host.process.standstill import Timings
from waguard.wire.worker import WorkerRecord

pytestmark = pytest.mark.usefixtures("no_child_left")

SOON: Final = Timings(grace=0.05, poll=0.05)
NEVER: Final = Timings(grace=3_600.0)
HASTENED: Final = Timings(grace=3_600.0, poll=3_600.0, hastened=0.05, late=DEADLINE)
LATE: Final = Timings(grace=0.05, late=-1.0)  # every timer is late


@pytest.fixture(params=["forked", "executed"])
async def child(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PidfdProcess]:
    """A worker that waits for its instructions' browser, and is killed at the end."""
    script = tmp_path / "chromium"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o700)
    patient = Deadlines(start=DEADLINE, answer=DEADLINE)
    given = {"forked": SERVER, "executed": ("-c", "")}[request.param]
    spawner = ForkSpawn(given, patient)
    spawner.start()
    process = await spawner.spawn(worker_spec(tmp_path, executable=str(script)))
    yield process
    process.kill()
    async with asyncio.timeout(DEADLINE):
        await process.wait()
    await spawner.close()


@pytest.fixture
async def adopted() -> AsyncIterator[PidfdProcess]:
    """Adopted: the kernel does not tell us of it."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        adopted = ExecSpawn().adopt(
            WorkerRecord(
                pid=process.pid,
                start_time=procfs.start_time(process.pid) or 0,
                boot_id=procfs.boot_id(),
                instance="f00d",
                session="a",
                generation=1,
                profile="/p",
                socket="/s",
            )
        )
        assert adopted
        yield adopted
        process.kill()


async def test_a_child_that_is_stopped(child: PidfdProcess) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    async with asyncio.timeout(DEADLINE):
        await child.stopped(SOON)


async def test_a_child_that_goes_on_within_the_grace(child: PidfdProcess) -> None:
    seen = child._standstill
    watching = asyncio.create_task(child.stopped(NEVER))
    os.kill(child.pid, signal.SIGSTOP)
    await wait_until(seen.begun.is_set, "the stop is reported")
    os.kill(child.pid, signal.SIGCONT)
    await wait_until(lambda: not seen.begun.is_set(), "that it goes on is reported")
    os.kill(child.pid, signal.SIGSTOP)
    async with asyncio.timeout(DEADLINE):
        await child.stopped(SOON)
    assert not watching.done()
    watching.cancel()


async def test_the_exit_of_a_stopped_process_is_left_to_its_parent(child: PidfdProcess) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    await wait_until(child._standstill.begun.is_set, "the stop is reported")
    child.kill()
    async with asyncio.timeout(DEADLINE):
        assert await child.wait() == -signal.SIGKILL


async def test_an_adopted_worker_is_polled(adopted: PidfdProcess) -> None:
    watching = asyncio.create_task(adopted.stopped(SOON))
    os.kill(adopted.pid, signal.SIGSTOP)
    async with asyncio.timeout(DEADLINE):
        await watching


async def terminated(process: PidfdProcess) -> None:
    """It stands still, and its end is requested then."""
    watching = asyncio.create_task(process.stopped(HASTENED))
    os.kill(process.pid, signal.SIGSTOP)
    await wait_until(lambda: procfs.is_stopped(process.pid), "it is stopped")
    process.terminate()
    async with asyncio.timeout(DEADLINE):
        await watching


async def test_a_child_that_is_to_end_stands_still_for_a_moment_only(child: PidfdProcess) -> None:
    """Its grace has begun."""
    await terminated(child)


async def test_an_adopted_worker_that_is_to_end_stands_still_for_a_moment_only(
    adopted: PidfdProcess,
) -> None:
    """The pause before it is polled again has begun."""
    await terminated(adopted)


async def test_one_that_is_to_end_and_is_stopped_then(child: PidfdProcess) -> None:
    child._standstill.hasten()
    watching = asyncio.create_task(child.stopped(HASTENED))
    os.kill(child.pid, signal.SIGSTOP)
    async with asyncio.timeout(DEADLINE):
        await watching


async def test_who_stood_still_itself_has_seen_nothing(child: PidfdProcess) -> None:
    """Its own timer comes late: the grace begins again, and the other one may go on meanwhile."""
    seen = child._standstill
    watching = asyncio.create_task(child.stopped(LATE))
    os.kill(child.pid, signal.SIGSTOP)
    await wait_until(seen.begun.is_set, "the stop is seen")
    os.kill(child.pid, signal.SIGCONT)
    await wait_until(lambda: not seen.begun.is_set(), "that it goes on is seen")
    assert not watching.done()
    watching.cancel()
