"""What the tests of the browser's driver share: specs, a web server, and a look at what is left."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from waguard.core.replace import replace
from waguard.host.process.procfs import group_members
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, Flavour, find_executable, launch
from waguard.worker.browser.devtools import PageSession
from waguard.worker.browser.pipe import MAX_MESSAGE
from waguard.worker.browser.process import command_line, crash_handlers

BOTH: tuple[Flavour, ...] = ("chromium", "headless-shell")
both = pytest.mark.parametrize("flavour", BOTH, indirect=True)
"""For what the two do each in its own way: tests of the rest drive the second one in `make test-long`."""
LONG = 60.0  # s; for what works, on a machine that is busy with other things
SHORT = 0.7  # s; for what is silent by intention
# How a desktop Chromium may end that was closed in order while the machine was busy: it says "Init
# observer found at shutdown" (pref_notifier_impl.cc) and traps, one in 170, before any page one in
# 30 (measured). A worker takes such an end for a crash: no copy, no mark.
TRAPPED = -signal.SIGTRAP


async def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll a condition that has no event."""
    try:
        async with asyncio.timeout(LONG):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"never: {what}")


def live_processes(profile: Path, tmpdir: Path) -> list[int]:
    """All that runs for a profile: by command line, by group, by the crash handlers' TMPDIR."""
    reported = f"--user-data-dir={profile}"
    found = set(crash_handlers(tmpdir))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and reported in command_line(int(entry.name)):
            found.add(int(entry.name))
            with contextlib.suppress(OSError):
                found.update(group_members(os.getpgid(int(entry.name))))
    return sorted(found)


def renderers(chromium: Chromium) -> list[int]:
    """At least one. Chromium rewrites their command lines into one string."""
    found = [
        pid
        for pid in group_members(chromium.pid)
        if "--type=renderer" in " ".join(command_line(pid)).split()
    ]
    assert found
    return found


@pytest.fixture
def tmpdir_short() -> Iterator[Path]:
    """A folder with a short name: Chromium needs one, pytest's are long."""
    path = Path(tempfile.mkdtemp(prefix="wg-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["chromium", pytest.param("headless-shell", marks=pytest.mark.long)])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Put it before ``spec`` to test both browsers; else the default one is taken."""
    chosen: Flavour = request.param
    return chosen


@pytest.fixture
def spec(request: pytest.FixtureRequest, tmp_path: Path, tmpdir_short: Path) -> ChromiumSpec:
    chosen: Flavour = "chromium"
    if "flavour" in request.fixturenames:
        chosen = request.getfixturevalue("flavour")
    return ChromiumSpec(
        executable=find_executable(None, chosen),
        flavour=chosen,
        profile=tmp_path / "profile",
        tmpdir=tmpdir_short / "t",
        sandbox=os.geteuid() != 0,
        marks={"WAGUARD_SESSION": "test"},
    )


@pytest.fixture
async def start(spec: ChromiumSpec) -> AsyncIterator[Callable[..., Awaitable[Chromium]]]:
    """Launch with changes to the spec; all are closed at the end, and leave nothing."""
    running: list[tuple[Chromium, ChromiumSpec]] = []

    async def launch_one(*, message_limit: int = MAX_MESSAGE, **changes: Any) -> Chromium:
        changed = replace(spec, **changes)
        chromium = await launch(changed, timeout=LONG, message_limit=message_limit)
        running.append((chromium, changed))
        return chromium

    yield launch_one
    for chromium, _ in running:
        with contextlib.suppress(ProcessLookupError):
            if not chromium.exited.done():
                os.killpg(chromium.pid, signal.SIGCONT)
        await chromium.close()
    for _, changed in running:
        assert live_processes(changed.profile, changed.tmpdir) == []
        assert not changed.tmpdir.exists()


@pytest.fixture
async def chromium(start: Callable[..., Awaitable[Chromium]]) -> Chromium:
    return await start()


@pytest.fixture
async def page(chromium: Chromium) -> PageSession:
    return await chromium.devtools.open_page(LONG)


@pytest.fixture(autouse=True)
async def reports() -> AsyncIterator[list[dict[str, Any]]]:
    """What the loop's exception handler was told. A test that expects something clears it."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    yield reported
    assert reported == [], reported


@dataclass
class Web:
    """A server on loopback: ``/`` a page, ``/silent`` no answer ever, ``/away`` to another origin."""

    port: int
    requests: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


SERVICE_WORKER = """
onmessage = async (e) => { await fetch('/from-worker'); e.source.postMessage(navigator.userAgent) }
"""
RESPONSES = {
    "/sw.js": ("text/javascript", SERVICE_WORKER),
    "/worker.js": ("text/javascript", "onmessage = (e) => postMessage(e.data + 1)"),
}


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    served = Web(0, [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            served.requests.append(request)
            path = request.split(" ", 2)[1]
            if path == "/silent":
                await reader.read()
            elif path == "/away":
                where = f"http://localhost:{served.port}/"
                writer.write(
                    f"HTTP/1.1 302 Found\r\nLocation: {where}\r\n"
                    "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
            else:
                kind, body = RESPONSES.get(path, ("text/html", "<title>here</title><p>text"))
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
                )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    yield served
    server.close()
