"""Real processes that look like what a dead instance leaves, and like other people's."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from tests.waiting import DEADLINE, wait_until
from waguard.core.host.strays import Seen
from waguard.host.process import procfs, strays
from waguard.host.process.strays import Timings
from waguard.ports.process import Swept

Start = Callable[..., "subprocess.Popen[str]"]

WAITS = "import signal, sys; print('up', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS
# one more process in its group, which is stopped
WITH_CHILD = (
    "import os, signal\nif not os.fork():\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    "os.waitpid(-1, os.WUNTRACED)\n" + WAITS
)


@pytest.fixture
def start() -> Iterator[Start]:
    """A process that has printed a line, with these arguments and this record as its mark."""
    running: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: str, record: Path | None = None) -> "subprocess.Popen[str]":
        marks = {"WAGUARD_RECORD": str(record), "WAGUARD_SESSION": "s"} if record else {}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **marks},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


HASTY: Final = Timings(follows=0.05, worker_grace=DEADLINE, browser_grace=DEADLINE)


async def sweep(folder: Path, kept: set[int] | None = None, *, timings: Timings = HASTY) -> Swept:
    async with asyncio.timeout(DEADLINE):
        return await strays.sweep(
            records=str(folder / "run/workers"),
            profiles=str(folder / "sessions"),
            kept=kept or set(),
            timings=timings,
        )


def profile(folder: Path) -> str:
    return f"--user-data-dir={folder}/sessions/a"


def record(folder: Path) -> Path:
    return folder / "run/workers/a.json"


async def test_a_worker_and_a_browser_without_records_are_ended(
    start: Start, tmp_path: Path
) -> None:
    worker = start(WAITS, "waguard.worker", "s", record=record(tmp_path))
    browser = start(WAITS, profile(tmp_path), record=record(tmp_path))
    swept = await sweep(tmp_path)
    assert [one.pid for one in swept.ended] == [worker.pid, browser.pid]
    assert [one.session for one in swept.ended] == ["s", "s"]
    assert [worker.wait(), browser.wait()] == [-signal.SIGTERM, -signal.SIGTERM]
    assert await sweep(tmp_path) == Swept()


async def test_one_that_hears_nothing_is_killed(start: Start, tmp_path: Path) -> None:
    browser = start(DEAF, profile(tmp_path), record=record(tmp_path))
    await sweep(tmp_path, timings=replace(HASTY, browser_grace=0.05))
    assert browser.wait() == -signal.SIGKILL


async def test_what_stands_still_in_its_group_is_killed_too(start: Start, tmp_path: Path) -> None:
    browser = start(WITH_CHILD, profile(tmp_path), record=record(tmp_path))
    members = procfs.group_members(browser.pid)
    assert len(members) == 2
    await sweep(tmp_path, timings=replace(HASTY, browser_grace=0.2))
    await wait_until(lambda: not procfs.group_members(browser.pid), "the group is gone")


@pytest.mark.parametrize("what", ["worker", "browser"])
async def test_one_that_stands_still_is_killed_at_once(
    start: Start, tmp_path: Path, what: str
) -> None:
    """Grace and patience are longer than this test may take."""
    long = 10 * DEADLINE
    patient = Timings(follows=long, worker_grace=long, browser_grace=long)
    arguments = ("waguard.worker", "s") if what == "worker" else (profile(tmp_path),)
    left = start(WAITS, *arguments, record=record(tmp_path))
    left.send_signal(signal.SIGSTOP)
    await wait_until(lambda: procfs.is_stopped(left.pid), "it stands still")
    swept = await sweep(tmp_path, timings=patient)
    assert [one.pid for one in swept.ended] == [left.pid]
    assert left.wait() == -signal.SIGKILL


async def test_one_that_ends_by_itself_is_no_stray(start: Start, tmp_path: Path) -> None:
    """A Chromium follows its killed worker within some milliseconds."""
    browser = start(WAITS, profile(tmp_path), record=record(tmp_path))
    sweeping = asyncio.create_task(sweep(tmp_path, timings=replace(HASTY, follows=DEADLINE)))
    asyncio.get_running_loop().call_soon(browser.kill)
    assert await sweeping == Swept()


async def test_one_that_ends_while_it_is_read_is_not_foreign(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mark is gone before it is."""
    browser = start(WAITS, profile(tmp_path), record=record(tmp_path))
    read = procfs.environment

    def ends_first(pid: int) -> dict[str, str]:
        if pid == browser.pid:
            browser.kill()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return read(pid)

    monkeypatch.setattr(procfs, "environment", ends_first)
    assert await sweep(tmp_path) == Swept()


async def test_a_living_worker_of_ours_keeps_its_browser(start: Start, tmp_path: Path) -> None:
    worker = start(WAITS, "waguard.worker", "s", record=record(tmp_path))
    browser = start(WAITS, profile(tmp_path), record=record(tmp_path))  # a child of this process
    assert await sweep(tmp_path, kept={worker.pid, os.getpid()}) == Swept()
    assert (worker.poll(), browser.poll()) == (None, None)


async def test_other_peoples_processes_are_reported_and_left_alone(
    start: Start, tmp_path: Path
) -> None:
    by_hand = start(WAITS, profile(tmp_path))
    renderer = start(WAITS, profile(tmp_path), "--type=renderer")
    elsewhere = start(WAITS, "waguard.worker", "s", record=tmp_path / "run2/workers/a.json")
    swept = await sweep(tmp_path)
    assert swept.ended == ()
    [foreign] = swept.foreign
    assert foreign.browser.pid == by_hand.pid
    assert f"Chromium {by_hand.pid} uses {tmp_path}/sessions/a" in str(foreign)
    assert {one.poll() for one in (by_hand, renderer, elsewhere)} == {None}


async def test_a_relative_profile_is_found(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    relative = os.path.relpath(tmp_path / "sessions/a")
    by_hand = start(WAITS, f"--user-data-dir={relative}")
    [foreign] = (await sweep(tmp_path)).foreign
    assert foreign.browser.pid == by_hand.pid


@pytest.mark.virtual_time
async def test_those_who_ask_soon_after_a_scan_share_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = itertools.count()

    async def at_once(do: Callable[[], list[Seen]]) -> list[Seen]:
        return do()

    def scan() -> list[Seen]:
        next(began)
        return []

    monkeypatch.setattr(strays, "scan", scan)
    monkeypatch.setattr(asyncio, "to_thread", at_once)  # a thread has no virtual time
    scans = strays.Scans(apart=1.0)
    await scans.read()
    first = asyncio.create_task(scans.read())
    await asyncio.wait([first], timeout=0.2)  # the scan that it gets could have begun
    await asyncio.gather(first, scans.read())
    assert next(began) == 2
