"""The fork server of a real daemon: killed, replaced, and never missed by a living session."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import World
from waguard.host.process import procfs

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def servers(daemon: int) -> list[int]:
    return [child for child in procfs.children(daemon) if comm(child) == "waguard.forks"]


async def no_zombie(daemon: int) -> bool:
    # a zombie has no start time
    return all(procfs.start_time(child) for child in procfs.children(daemon))


async def ended(pid: int) -> bool:
    return procfs.start_time(pid) is None


@pytest.mark.long
async def test_the_fork_server_is_killed_and_then_the_daemon(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    first = await daemon.pair(world.standin, "s1", "6281180001")
    assert daemon.process
    pid = daemon.process.pid
    [server] = servers(pid)
    assert comm(first["worker_pid"]) == "waguard.worker"
    os.kill(server, signal.SIGKILL)

    second = await daemon.pair(world.standin, "s2", "6281180002")
    assert comm(second["worker_pid"]) == "waguard.worker"
    reported = await daemon.status("s1")
    assert (reported["status"], reported["worker_pid"], reported["restarts"]) == (
        *("connected", first["worker_pid"], 0),
    )

    # a killed worker leaves its browser's processes to the daemon, which buries them
    os.kill(second["worker_pid"], signal.SIGKILL)
    await daemon.wait_status("s2", "connected", restarts=1)
    await daemon.until(lambda: no_zombie(pid))
    [server] = servers(pid)

    await daemon.stop(signal.SIGKILL)

    await daemon.until(lambda: ended(server))
    await daemon.start()
    reported = await daemon.wait_status("s1", "connected")
    assert reported["worker_pid"] == first["worker_pid"]
