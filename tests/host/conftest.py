import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from loguru import logger

from tests.host.forking import EARLIER, NONE, PATIENT, STAND_IN, Run, closing
from tests.host.processes import worker_spec
from waguard.host.process.children import PidfdProcess
from waguard.host.process.fork_server import ForkSpawn
from waguard.host.system import logs


@pytest.fixture
def earlier_children() -> None:
    """Servers that other tests of this process keep are none of ours."""
    EARLIER.clear()
    EARLIER.update(child.pid for child in psutil.Process().children())


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], tuple[str]]:
    """Python's arguments for a server whose workers run a test's code."""

    def write(preparation: str = "") -> tuple[str]:
        script = tmp_path / "server.py"
        script.write_text(STAND_IN.format(preparation=preparation))
        return (str(script),)

    return write


@pytest.fixture
async def forking(stand_in: Callable[..., tuple[str]]) -> AsyncIterator[ForkSpawn]:
    """A spawner; all that it started ends with the test."""
    made = ForkSpawn(stand_in(), PATIENT, spares=NONE)
    made.start()
    async with closing(made):
        yield made


@pytest.fixture
def run(forking: ForkSpawn, tmp_path: Path) -> Run:
    """Have a worker run some code."""

    async def spawn(code: str, **changes: Any) -> PidfdProcess:
        return await forking.spawn(worker_spec(tmp_path, wajs=code, **changes))

    return spawn


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What was logged."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    yield lines
    logger.remove(sink)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Everything that logs in this process is again as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []  # `configure` closes what it finds there
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logger.remove()
    logger.add(sys.stderr)
    logs._output = None
