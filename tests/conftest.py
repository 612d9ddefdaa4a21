"""For every test: the event loop, and fixtures that see what a test leaves behind."""

import asyncio
import contextlib
import gc
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil
import pytest
from hypothesis import HealthCheck, settings
from loguru import logger

from tests.launcher import launcher_pid
from tests.statements import compile_once
from tests.virtual_time import VirtualTimeLoop

# An example that waits for a core is not a slow one (hypothesis allows 0.2 s). What is drawn is the
# same each time: whether a change passes depends on the change. --hypothesis-profile=search draws more.
_PATIENT: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _PATIENT, derandomize=True)
settings.register_profile("search", _PATIENT, max_examples=1_000)
settings.load_profile("same")

BROWSERS_END: Final = 0.8  # of all other files, when the last one with a browser begins
ENDING: Final = 20.0  # s that a process which was told to end may take


def pytest_configure() -> None:
    # in the background of a shell SIGINT is ignored, and by every process that is started from here
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    compile_once()
    gc.disable()  # what is collected stays: a sixth of the time would be spent on looking at it


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # with several processes, each of which takes a file at a time: those with a browser, which wait for it half
    # of the time, run beside others, which compute, and being long ones are not left for the end
    browsers = {item.path: 0.0 for item in items if item.get_closest_marker("chromium")}
    others = {item.path: 0.0 for item in items if item.path not in browsers}
    for files, end in ((browsers, BROWSERS_END), (others, 1.0)):
        files |= {path: end * number / len(files) for number, path in enumerate(files)}
    places = browsers | others
    items.sort(key=lambda item: places[item.path])


def pytest_collection_finish() -> None:
    # ten thousand tests and what they import stay until the end: no collection looks at them again
    gc.freeze()
    gc.enable()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The marker ``virtual_time`` chooses the loop whose clock jumps."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.SelectorEventLoop}


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder with a short name: pytest's own are too long for a socket below them."""
    with tempfile.TemporaryDirectory(prefix="wg-") as folder:
        yield Path(folder)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines of the log."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", format="{level} {message} {extra}\n{exception}")
    yield lines
    logger.remove(sink)


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """Fails a test that leaves a process of its own, or one that nobody reaped.

    Ask for it before the fixtures that start processes: it looks after they have cleaned up.
    """
    before = _descendants()
    yield
    end = time.monotonic() + ENDING
    while (left := _descendants() - before) and time.monotonic() < end:
        time.sleep(0.01)
    reported = [_describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert not reported, f"left behind: {', '.join(reported)}"


def _descendants() -> set[psutil.Process]:
    # psutil's own ways to wait would reap a zombie, and hide that the test did not
    found = psutil.Process().children(recursive=True)
    return {process for process in found if process.pid != launcher_pid()}


def _describe(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"pid {process.pid} {process.status()}: {' '.join(process.cmdline())[:120]}"
    return f"pid {process.pid}"
