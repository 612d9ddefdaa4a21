"""Workers that are forked to run a test's code, and what is seen of them."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import psutil

from tests.host.processes import ended
from tests.waiting import DEADLINE
from waguard.host.process.children import PidfdProcess
from waguard.host.process.fork_server import Deadlines, ForkSpawn
from waguard.host.process.spares import Limits

Run = Callable[..., Coroutine[Any, Any, PidfdProcess]]


# in the place of a worker: the code that its instructions have for wa-js
STAND_IN: Final = """
import sys
from waguard.worker import fork_server
{preparation}
def job(spec):
    exec(spec.wajs, {{"spec": spec}})
    return 0
sys.exit(fork_server.main(job))
"""
SAYS_READY: Final = "import os, signal, sys, time; os.write(1, b'ready')\n"
STAYS: Final = SAYS_READY + "time.sleep(600)"
# a server that is slow because the machine is busy is no fault here
NONE: Final = Limits(most=0)
PATIENT: Final = Deadlines(answer=DEADLINE, start=DEADLINE)


EARLIER: set[int] = set()
"""Children of this process before the test: servers that other tests keep."""


def newcomers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.pid not in EARLIER]


@contextlib.asynccontextmanager
async def closing(spawner: ForkSpawn) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for process in list(spawner._children):
            process.kill()
            await ended(process)
        await spawner.close()


def server_of(spawner: ForkSpawn) -> int:
    assert spawner.server_pid
    return spawner.server_pid


def open_files(pid: int) -> dict[int, str]:
    found = {}
    for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found[int(entry.name)] = str(entry.readlink())
    return found


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def was_forked(process: PidfdProcess) -> bool:
    """It has its server's name, or that of a spare, before it knows its own."""
    return comm(process.pid) in {"waguard.forks", "waguard.spare", "waguard.worker"}


def environment_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")


def gone(pid: int) -> bool:
    """Ended and reaped."""
    return not psutil.pid_exists(pid)


def at_rest(pid: int) -> bool:
    """Ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
