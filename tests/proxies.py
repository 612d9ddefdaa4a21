"""A proxy on loopback, as others run it: HTTP or SOCKS5, with or without a login."""

import asyncio
import base64
import contextlib
import ipaddress
from typing import Final, Self

from waguard.core.proxy import Proxy, parse

USER: Final = "me"
PASSWORD: Final = "hunter2 ü"
KINDS: Final = ("http", "socks5")


class FakeProxy:
    """Connects to ``leads_to`` whatever it is asked for; ``asked`` is what that was."""

    def __init__(self, kind: str, leads_to: tuple[str, int], *, login: bool = False) -> None:
        self.kind = kind
        self.login = login
        self.leads_to = leads_to
        self.refuses: int | None = None
        """An answer, of HTTP or of SOCKS, in place of a connection."""
        self.asked: list[str] = []
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def hang_up(self) -> None:
        """End all that goes through it."""
        for task in self._serving:
            task.cancel()

    def proxy(self, password: str = PASSWORD, mark: str = "m1") -> Proxy:
        """As a session has it."""
        login = (USER, password) if self.login else (None, None)
        return parse(f"{self.kind}://127.0.0.1:{self.port}", *login, mark=mark)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        try:
            greet = self._http if self.kind == "http" else self._socks
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                if await greet(reader, writer):
                    await self._relay(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        said = dict(line.split(": ", 1) for line in head[1:] if line)
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        status = self.refuses or 200
        if self.login and said.get("Proxy-Authorization") != f"Basic {wanted}":
            status = 407
        else:
            self.asked.append(head[0].split()[1])
        writer.write(f"HTTP/1.1 {status} It is so\r\nVia: a test\r\n\r\n".encode())
        return status == 200

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, count = await reader.readexactly(2)
        offered = await reader.readexactly(count)
        method = 2 if self.login else 0
        writer.write(bytes((5, method if method in offered else 255)))
        if method not in offered:
            return False
        if self.login:
            await reader.readexactly(1)
            said = [await reader.readexactly((await reader.readexactly(1))[0]) for _ in range(2)]
            good = said == [USER.encode(), PASSWORD.encode()]
            writer.write(bytes((1, not good)))
            if not good:
                return False
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append(f"{host}:{port}")
        writer.write(bytes((5, self.refuses or 0, 0, 3, 1)) + b"x\0\0")
        return self.refuses is None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, out = await asyncio.open_connection(*self.leads_to)
        both = [
            asyncio.ensure_future(_copy(source, sink))
            for source, sink in ((reader, out), (theirs, writer))
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for it in both:
                it.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            out.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(1 << 16):
        sink.write(piece)
        await sink.drain()
