"""What stands still or hangs is found, and what only seems to is left alone."""

import os
import signal

import pytest

from tests.e2e.conftest import World
from waguard.host import procfs

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(120)]

PHONES = {"s1": "6281180001", "s2": "6281180002"}


async def gone(pid: int) -> bool:
    return procfs.start_time(pid) is None


async def test_a_stopped_worker_is_replaced(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    os.kill(before["worker_pid"], signal.SIGSTOP)
    after = await daemon.wait_status("s1", "connected", restarts=1)
    assert after["worker_pid"] != before["worker_pid"]
    assert "the worker was stopped (SIGSTOP)" in daemon.log()
    await daemon.until(lambda: gone(before["browser_pid"]))


async def test_an_adopted_worker_that_is_stopped_is_replaced(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    await daemon.wait_status("s1", "connected", worker_pid=before["worker_pid"])
    os.kill(before["worker_pid"], signal.SIGSTOP)
    after = await daemon.wait_status("s1", "connected", restarts=1)
    assert after["browser_pid"] != before["browser_pid"]
    assert "the worker was stopped (SIGSTOP)" in daemon.log()


async def test_a_stopped_chromium_is_replaced(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    os.kill(before["browser_pid"], signal.SIGSTOP)
    after = await daemon.wait_status("s1", "connected", restarts=1)
    assert after["browser_pid"] != before["browser_pid"]
    assert "Chromium was stopped (SIGSTOP)" in daemon.log()
    await daemon.until(lambda: gone(before["browser_pid"]))
