"""Connections that say nothing, too many of them, and no file left for one more."""

import asyncio
import contextlib
import errno
import io
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from loguru import logger

from tests.waiting import wait_until
from waguard.api import door, serve
from waguard.host.listen import listen

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 32 << 20  # bytes; more than all buffers hold


@dataclass
class House:
    """An application behind a door. While ``free`` is clear, it answers nothing on /slow."""

    port: int = 0
    working: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)
    door: Callable[[], Any] = lambda: None

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/slow":
            self.working += 1
            await self.free.wait()
            self.working -= 1
        if request.path == "/read":
            await request.read()
        if request.path == "/large":
            return web.Response(body=io.BytesIO(bytes(LARGE)))
        return web.Response(text="well")


class Client:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, raw: bytes = GET) -> bytes:
        self.writer.write(raw)
        async with asyncio.timeout(20):
            head = await self.reader.readuntil(b"\r\n\r\n")
            await self.reader.readexactly(len("well"))
            return head

    async def ended(self) -> None:
        """Wait until the server hangs up."""
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await self.reader.read() == b""

    @property
    def is_open(self) -> bool:
        return not self.reader.at_eof()


Knock = Callable[[], Any]


@contextlib.asynccontextmanager
async def house(
    most: int = 100, wrap: Callable[[socket.socket], Any] | None = None
) -> AsyncIterator[tuple[House, Knock]]:
    made = House()
    app = web.Application(client_max_size=10 << 20)
    app.router.add_route("*", "/{path:.*}", made.answer)
    listener: Any = listen("127.0.0.1", 0)
    made.port = listener.getsockname()[1]
    runner = await serve(app, wrap(listener) if wrap else listener, connections=most)
    made.door = lambda: next(iter(runner.sites))
    clients: list[Client] = []

    async def knock() -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", made.port)))
        return clients[-1]

    try:
        yield made, knock
    finally:
        made.free.set()
        for client in clients:
            client.writer.close()
        await runner.cleanup()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged as more than a detail."""
    found: list[str] = []
    sink = logger.add(found.append, level="INFO", format="{level} {message} {extra}")
    yield found
    logger.remove(sink)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: local"])
async def test_who_does_not_ask_in_time_is_shown_out(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(door, "HEAD_DEADLINE", 0.05)
    async with house() as (_, knock):
        client = await knock()
        client.writer.write(said)
        await client.ended()


async def test_who_asks_byte_by_byte_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HEAD_DEADLINE", 0.1)
    async with house() as (_, knock):
        client = await knock()

        async def drip() -> None:
            client.writer.write(GET.rstrip())  # the name of the host goes on
            while client.is_open:
                client.writer.write(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        await client.ended()
        dripping.cancel()


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
async def test_between_two_requests_it_may_be_quiet_for_longer(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(door, "HEAD_DEADLINE", 0.4)
    async with house() as (_, knock):
        client = await knock()
        assert b" 200 " in await client.ask()
        with pytest.raises(TimeoutError):  # the first deadline is over by then
            async with asyncio.timeout(0.5):
                await client.reader.read(1)
        monkeypatch.setattr(door, "IDLE_DEADLINE", 0.05)
        assert b" 200 " in await client.ask()
        client.writer.write(said)
        await client.ended()


async def test_a_request_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HEAD_DEADLINE", 0.5)
    monkeypatch.setattr(door, "IDLE_DEADLINE", 0.05)
    async with house() as (made, knock):
        client, other = await knock(), await knock()
        asking = asyncio.create_task(client.ask(GET.replace(b"/ ", b"/slow ")))
        await other.ended()
        assert made.working == 1
        made.free.set()
        assert b" 200 " in await asking


async def test_long_heads_that_do_not_end_are_kept_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parser keeps a megabyte of each; the oldest makes room."""
    monkeypatch.setattr(door, "HEADS", 50_000)
    begun = GET.rstrip() + b"\r\nA: " + b"x" * 7_000 + b"\r\n"
    async with house() as (_, knock):
        quiet = await knock()
        long = [await knock() for _ in range(20)]
        for one in long:
            one.writer.write(begun)
            assert b" 200 " in await (await knock()).ask()
        for one in long[:10]:
            await one.ended()
        for one in long[-3:]:
            assert b" 200 " in await one.ask(b"\r\n")
        for one in long[-3:]:  # what was said of a request that is answered is forgotten
            for _ in range(10):
                assert b" 200 " in await one.ask(begun + b"\r\n")
        assert b" 200 " in await quiet.ask()


async def test_requests_may_come_ahead_of_their_turn_but_not_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "AHEAD", 20_000)
    slow = GET.replace(b"/ ", b"/slow ")
    async with house() as (made, knock):
        client, greedy = await knock(), await knock()
        asking = asyncio.create_task(client.ask(slow))
        refused = asyncio.create_task(greedy.ask(slow))
        await wait_until(lambda: made.working == 2, "both are at work")
        client.writer.write(GET * 10)
        for _ in range(30):
            greedy.writer.write(GET.rstrip() + b"\r\nA: " + b"x" * 1_000 + b"\r\n\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await refused
        made.free.set()
        assert b" 200 " in await asking
        for _ in range(10):
            assert b" 200 " in await client.ask(b"")


async def test_a_large_body_is_nothing_ahead_of_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "AHEAD", 1_000)
    async with house() as (_, knock):
        client = await knock()
        head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
        client.writer.write(head)
        for _ in range(30):
            client.writer.write(bytes(100_000))
            await client.writer.drain()
        assert b" 200 " in await client.ask(b"")


async def test_who_takes_nothing_of_an_answer_is_shown_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the kernel, wherever the answer comes from."""
    monkeypatch.setattr(door, "READ_DEADLINE", 0.2)
    lost: list[BaseException | None] = []
    is_lost = door.Connection.connection_lost

    def noted(self: door.Connection, exc: BaseException | None) -> None:
        lost.append(exc)
        is_lost(self, exc)

    monkeypatch.setattr(door.Connection, "connection_lost", noted)
    async with house() as (_, knock):
        client = await knock()
        client.writer.transport.pause_reading()
        client.writer.write(GET.replace(b"/ ", b"/large "))
        await wait_until(lambda: lost, "it is shown out")
        assert isinstance(lost[0], OSError)
        assert lost[0].errno == errno.ETIMEDOUT


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
        first = await knock()
        await asyncio.gather(*(knock() for _ in range(200)))

        def are_open() -> bool:
            counts.append(len(made.door()._open))
            return counts[-1] == 50

        await wait_until(are_open, "all places are taken")
        await first.ended()
        assert b" 200 " in await (await knock()).ask()
        counts.append(len(made.door()._open))
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

    def close(self) -> None:
        self._real.close()


async def test_where_no_file_is_left_it_is_reported_once(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "PAUSE", 0.001)
    wrapped: list[Full] = []

    def wrap(real: socket.socket) -> Full:
        wrapped.append(Full(real, 0))
        return wrapped[0]

    async with house(wrap=wrap) as (_, knock):
        idle = await knock()
        assert b" 200 " in await idle.ask()
        wrapped[0].failures = 50
        asking = await knock()
        assert b" 200 " in await asking.ask()
        await idle.ended()  # it made room
        monkeypatch.setattr(door, "REPORTED_EVERY", 0.0)
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
from waguard.host import files
from waguard.host.listen import listen

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
