"""Too many connections, and no file left for one more: who is idle makes room."""

import asyncio
import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from tests.api.doors import GET, Client, house
from tests.waiting import wait_until
from waguard.api.intake import Intake
from waguard.api.timings import DEFAULT_TIMINGS, Timings


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged as more than a detail."""
    found: list[str] = []
    sink = logger.add(found.append, level="INFO", format="{level} {message} {extra}")
    yield found
    logger.remove(sink)


async def test_the_oldest_idle_one_makes_room(lines: list[str]) -> None:
    async with house(most=3) as (made, knock):
        busy = await knock()
        asking = asyncio.create_task(busy.ask(GET.replace(b"/ ", b"/slow ")))
        await wait_until(lambda: made.working, "it is at work")
        first = await knock()
        assert b" 200 " in await first.ask()
        second = await knock()
        assert b" 200 " in await second.ask()
        third = await knock()
        assert b" 200 " in await third.ask()
        await first.ended()
        assert b" 200 " in await second.ask()
        fourth = await knock()
        assert b" 200 " in await fourth.ask()
        await third.ended()  # the second one asked after it
        made.free.set()
        assert b" 200 " in await asking
    assert lines == []


async def test_where_one_is_idle_the_slowest_is_not_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many may wait as there are places."""
    monkeypatch.setattr(Intake, "slowest", property(lambda _: pytest.fail("all are searched")))
    async with house(most=1) as (_, knock):
        idle = await knock()
        assert b" 200 " in await idle.ask()
        assert b" 200 " in await (await knock()).ask()
        await idle.ended()


async def test_where_all_are_at_work_one_more_waits(lines: list[str]) -> None:
    async with house(most=2) as (made, knock):
        slow = [await knock(), await knock()]
        asking = [asyncio.create_task(one.ask(GET.replace(b"/ ", b"/slow "))) for one in slow]
        await wait_until(lambda: made.working == 2, "both are at work")
        waiting = asyncio.create_task((await knock()).ask())
        await wait_until(lambda: lines, "it is told")
        assert not waiting.done()
        made.free.set()
        assert b" 200 " in await waiting
        await asyncio.gather(*asking)
    assert len(lines) == 1
    assert "2 connections are at work" in lines[0]


async def test_hundreds_of_idle_ones_hold_up_nobody(lines: list[str]) -> None:
    async with house(most=50) as (_, knock):
        for number in range(400):
            await knock()
            if number % 40 == 0:
                assert b" 200 " in await (await knock()).ask()
    assert lines == []


async def test_a_crowd_at_once_is_let_in_up_to_the_limit_and_no_further(lines: list[str]) -> None:
    counts: list[int] = []
    async with house(most=50) as (made, knock):
        await asyncio.gather(*(knock() for _ in range(201)))

        def are_open() -> bool:
            door = made.door()
            counts.append(len(door._open) + len(door._newcomers))
            return counts[-1] == 50

        await wait_until(are_open, "all places are taken")
        assert b" 200 " in await (await knock()).ask()
        are_open()
    assert max(counts) == 50
    assert lines == []


class Full:
    """A listening socket that cannot accept, for some time."""

    def __init__(self, real: socket.socket, failures: int) -> None:
        self._real, self.failures = real, failures

    def fileno(self) -> int:
        return self._real.fileno()

    def getsockname(self) -> Any:
        return self._real.getsockname()

    def accept(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._real.accept()

    def shutdown(self, how: int) -> None:
        self._real.shutdown(how)

    def close(self) -> None:
        self._real.close()


async def test_where_no_file_is_left_it_is_reported_once(lines: list[str]) -> None:
    wrapped: list[Full] = []

    def wrap(real: socket.socket) -> Full:
        wrapped.append(Full(real, 0))
        return wrapped[0]

    async with house(wrap=wrap, timings=Timings(full=0.001)) as (made, knock):
        idle = await knock()
        assert b" 200 " in await idle.ask()
        wrapped[0].failures = 50
        asking = await knock()
        assert b" 200 " in await asking.ask()
        await idle.ended()  # it made room
        made.door()._no_room.reported_at -= (
            DEFAULT_TIMINGS.full_reported_every
        )  # it was so long ago
        wrapped[0].failures = 1
        assert b" 200 " in await (await knock()).ask()
    assert len(lines) == 2
    assert "Too many open files" in lines[0]
    assert "'times': 50" in lines[1]


async def test_one_that_is_gone_when_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as (_, knock):
        loop = asyncio.get_running_loop()
        receive = loop.connect_accepted_socket

        async def gone(*_: Any, **__: Any) -> Any:
            raise OSError(errno.ENOTCONN, "gone")

        monkeypatch.setattr(loop, "connect_accepted_socket", gone)
        await (await knock()).ended()
        monkeypatch.setattr(loop, "connect_accepted_socket", receive)
        assert b" 200 " in await (await knock()).ask()


FEW_FILES = """
import asyncio, resource, sys
from aiohttp import web
from waguard.api import serve
from waguard.host.process import open_files as files
from waguard.host.system.listen import listen

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
    async def answer(_):
        return web.Response(text="well")
    app = web.Application()
    app.router.add_get("/", answer)
    listener = listen("127.0.0.1", 0)
    runner = await serve(app, listener, connections=int(eval(sys.argv[1])))
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()

asyncio.run(main())
"""


@pytest.mark.parametrize("most", ["files.raise_limit() / 2", "10_000"], ids=["cap", "no cap"])
async def test_more_idle_connections_than_files(most: str) -> None:
    """In a process of its own, once with a cap that keeps files free and once by the files alone."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FEW_FILES, most),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    try:
        port = int(await process.stdout.readline())
        idle = []
        for number in range(300):
            idle.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
            if number % 30 == 0:
                asking = Client(*await asyncio.open_connection("127.0.0.1", port))
                assert b" 200 " in await asking.ask()
                asking.writer.close()
        for one in idle:
            one.writer.close()
    finally:
        _, reported = await process.communicate()
    assert b"Traceback" not in reported
    assert reported.count(b"\n") <= 2
