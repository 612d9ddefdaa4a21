"""What a Chromium leaves when it dies: real processes in its group, one of them stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.host.processes import no_descriptor
from tests.waiting import wait_until
from waguard.core.reconcile import EndRemains, plan
from waguard.host.process import procfs, strays
from waguard.host.process.children import ExecSpawn
from waguard.host.process.subreaper import Subreaper
from waguard.supervision.fleet.inventory import read_inventory

# a browser with a renderer, whose arguments Chromium has written over its environment
BROWSER = """
import os, signal, sys
from pathlib import Path
if os.fork() == 0:
    os.execve(sys.executable, [sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); signal.pause()", "--type=renderer --user-data-dir=" + sys.argv[1] + " --lang=en"], {})
signal.pause()
"""


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    made = tmp_path / "sessions"
    (made / "workspace_1/session-a").mkdir(parents=True)
    return made


@pytest.fixture
async def renderer(sessions: Path) -> AsyncIterator[int]:
    """It is stopped, and its browser was killed."""
    reaper = Subreaper(lambda: (), lambda: None)
    reaper.start()
    browser = subprocess.Popen(
        [sys.executable, "-c", BROWSER, str(sessions / "workspace_1/session-a")],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert browser.stdout
    assert browser.stdout.readline() == b"up\n"
    (found,) = set(procfs.group_members(browser.pid)) - {browser.pid}
    os.kill(found, signal.SIGSTOP)
    await wait_until(lambda: procfs.is_stopped(found), "it stands still")
    os.kill(browser.pid, signal.SIGKILL)
    browser.wait()
    await wait_until(lambda: procfs.parent(found) == os.getpid(), "it is ours")
    try:
        yield found
    finally:
        if procfs.start_time(found) is not None:
            os.kill(found, signal.SIGKILL)
        reaper.stop()
        browser.stdout.close()


async def gone(pid: int) -> None:
    await wait_until(lambda: procfs.start_time(pid) is None, f"{pid} is gone")


async def test_what_is_left_of_its_group_is_ended(renderer: int) -> None:
    browser = os.getpgid(renderer)
    assert ExecSpawn().end_remains(browser) is True
    await gone(renderer)


async def test_a_group_whose_leader_lives_is_not_touched() -> None:
    assert ExecSpawn().end_remains(os.getpgrp()) is False


async def test_a_group_of_whose_leader_nothing_can_be_read_is_not_touched() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as leader:
        with no_descriptor():
            assert ExecSpawn().end_remains(leader.pid) is False
        assert leader.poll() is None
        leader.kill()


async def test_without_a_descriptor_a_sweep_does_not_say_that_nothing_is_left(
    renderer: int, sessions: Path
) -> None:
    (left,) = strays.remains([renderer])
    with no_descriptor(), pytest.raises(OSError, match="Too many open files"):
        await strays.end(left, timings=strays.Timings(follows=0.0, browser_grace=0.05))
    assert procfs.is_stopped(renderer)


async def test_a_sweep_ends_it_by_its_profile(renderer: int, sessions: Path) -> None:
    swept = await strays.sweep(records=str(sessions / "none"), profiles=str(sessions))
    assert [one.pid for one in swept.ended] == [renderer]
    await gone(renderer)


async def test_one_that_leads_no_group_and_hears_nothing_is_killed(renderer: int) -> None:
    os.kill(renderer, signal.SIGCONT)
    await wait_until(lambda: not procfs.is_stopped(renderer), "it runs")
    (left,) = strays.remains([renderer])
    assert await strays.end(left, timings=strays.Timings(follows=0.0, browser_grace=0.05)) is True
    await gone(renderer)


async def test_the_reconciler_sees_it(renderer: int, sessions: Path) -> None:
    host = read_inventory(sessions, sessions / "none", instance="me")
    assert plan({}, {}, host) == [EndRemains("a", renderer)]
    (left,) = strays.remains([renderer])
    assert await strays.end(left) is True
    await gone(renderer)
