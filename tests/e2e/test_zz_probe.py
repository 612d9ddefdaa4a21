"""The fork server of a real daemon: killed, replaced, and never missed by a living session."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import World
from waguard.host import procfs

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(120)]


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def states(pids: list[int]) -> list[str]:
    return [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids]


async def test_the_fork_server_is_killed_and_then_the_daemon(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    first = await daemon.pair(world.standin, "s1", "6281180001")
    assert daemon.process
    pid = daemon.process.pid
    [server] = [child for child in procfs.children(pid) if comm(child) == "waguard.forks"]
    assert comm(first["worker_pid"]) == "waguard.worker"
    os.kill(server, signal.SIGKILL)

    second = await daemon.pair(world.standin, "s2", "6281180002")
    assert comm(second["worker_pid"]) == "waguard.worker"
    told = await daemon.status("s1")
    assert (told["status"], told["worker_pid"], told["restarts"]) == (
        *("connected", first["worker_pid"], 0),
    )

    # a killed worker leaves its browser's processes to the daemon, which buries them
    os.kill(second["worker_pid"], signal.SIGKILL)
    third = await daemon.wait_status("s2", "connected", restarts=1)
    workers = {first["worker_pid"], third["worker_pid"]}

    import asyncio, subprocess

    await asyncio.sleep(4)
    print(
        subprocess.run(
            ["ps", "--ppid", str(pid), "-o", "pid,ppid,sid,pgid,stat,comm,args"],
            capture_output=True,
            text=True,
        ).stdout[:3000]
    )

    async def only_the_living() -> bool:
        children = procfs.children(pid)
        return len(children) == 3 and workers < set(children) and "Z" not in states(children)

    await daemon.until(only_the_living, deadline=1)
    [server] = set(procfs.children(pid)) - workers

    await daemon.stop(signal.SIGKILL)

    async def server_gone() -> bool:
        return comm(server) != "waguard.forks"

    await daemon.until(server_gone)
    await daemon.start()
    told = await daemon.wait_status("s1", "connected")
    assert told["worker_pid"] == first["worker_pid"]
