"""A daemon that was forked from the launcher is as one that was executed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.harness import Daemon, short_folder
from tests.launcher import launcher
from tests.waiting import block_until
from waguard.host.process import procfs

ALONE: Final = {
    "WAGUARD_API__PORT": "0",
    "WAGUARD_FLEET__NETWORK": "off",
    "WAGUARD_BROWSER__SANDBOX": "false",  # the tests may run as root
}
both = pytest.mark.parametrize("executed", [False, True], ids=["launched", "executed"])


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def seen(pid: int) -> dict[str, Any]:
    """What the system shows of a daemon, without what changes from run to run."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    known = dict(line.split(":\t", 1) for line in status)
    return {
        "session and group": (os.getsid(pid) == pid, os.getpgid(pid) == pid),
        "arguments": [it for it in procfs.command_line(pid) if it],  # there is room for more
        "executable": Path(f"/proc/{pid}/exe").readlink(),
        "folder": Path(f"/proc/{pid}/cwd").readlink(),
        **{key: known[key] for key in ("Name", "SigBlk", "SigIgn", "SigCgt", "Umask")},
    }


def descriptors(pid: int) -> set[str]:
    return {str(it.readlink()) for it in Path(f"/proc/{pid}/fd").iterdir() if it.name != "0"}


async def test_the_system_shows_no_difference(folder: Path) -> None:
    found = []
    for executed in (False, True):
        async with Daemon(folder, ALONE, executed=executed) as daemon:
            await daemon.start()
            assert daemon.process
            found.append(seen(daemon.process.pid))
            shared = descriptors(daemon.process.pid) & descriptors(launcher().pid)
            assert shared <= {"anon_inode:[pidfd]"}, "nothing of the launcher's is left open"
    assert found[0] == found[1]


@both
async def test_a_daemon_that_cannot_start_says_why_and_ends(
    folder: Path, *, executed: bool
) -> None:
    settings = ALONE | {"WAGUARD_API__PORT": "nonsense"}
    async with Daemon(folder, settings, executed=executed) as daemon:
        process = await daemon.spawn()
        assert await process.wait() == 2
        assert daemon.log().startswith("waguard: api.port: 'nonsense' is not allowed")


@both
async def test_the_exit_code_names_the_signal_that_ended_it(
    folder: Path, *, executed: bool
) -> None:
    async with Daemon(folder, ALONE, executed=executed) as daemon:
        process = await daemon.spawn()
        assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        assert process.returncode == -signal.SIGKILL
        assert await daemon.stop() == -signal.SIGKILL


async def test_every_waiter_has_its_exit_code(folder: Path) -> None:
    async with Daemon(folder, ALONE) as daemon:
        process = await daemon.spawn()
        waiting = asyncio.create_task(process.wait())
        await asyncio.sleep(0)
        process.send_signal(signal.SIGKILL)
        block_until(lambda: process.returncode, "it was seen to have ended")
        assert await waiting == process.returncode == -signal.SIGKILL
