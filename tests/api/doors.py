"""An application behind a door, and clients that speak byte by byte."""

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from waguard.api import connection, serve
from waguard.api.timings import DEFAULT_LIMITS, DEFAULT_TIMINGS, Limits, Timings
from waguard.host.system.listen import listen

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
        if "X-Api-Key" in request.headers and (of := connection.of(request)):
            of.recognize(known=True)
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
    most: int = 100,
    wrap: Callable[[socket.socket], Any] | None = None,
    *,
    timings: Timings = DEFAULT_TIMINGS,
    limits: Limits = DEFAULT_LIMITS,
) -> AsyncIterator[tuple[House, Knock]]:
    made = House()
    app = web.Application(client_max_size=10 << 20)
    app.router.add_route("*", "/{path:.*}", made.answer)
    listener: Any = listen("127.0.0.1", 0)
    made.port = listener.getsockname()[1]
    runner = await serve(
        app,
        wrap(listener) if wrap else listener,
        connections=most,
        timings=timings,
        limits=limits,
    )
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
