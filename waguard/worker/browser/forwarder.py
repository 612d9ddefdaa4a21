"""The way of a session's Chromium to its proxy: a SOCKS door on loopback, for this user's processes alone.

Chromium has no login for SOCKS, asks a person for that of HTTP, and says little of what a proxy refuses. So it connects
here, whatever the proxy is, and knows no secret. The proxy resolves all names.
"""

import asyncio
import os
import socket
import struct
import time
from typing import Final, NamedTuple, Self

from loguru import logger

from waguard.core.proxy import FAILS, HOST, Proxy
from waguard.host.system.resolver import Resolver
from waguard.worker.browser.upstream import (
    ProxyRefusesError,
    Stream,
    Target,
    connect,
    read_address,
)
from waguard.worker.first_of import first_of

MOST: Final = 256  # connections; a page of WhatsApp's has some ten
GREETING: Final = 10.0  # s, for Chromium to say where to
ANSWER: Final = 20.0  # s, for the proxy to connect
ADDRESSES: Final = 4  # of the proxy's name that are tried in this time, should all be silent
WHATSAPP: Final = "whatsapp"
"""In the names of its hosts: a proxy need not lead to where Chromium itself calls home."""
RECENT: Final = 60.0  # s; a page that does without one address says nothing of the others
_PIECE: Final = 1 << 16  # bytes
_LOOPBACK: Final = "127.0.0.1"
_ADDRESS: Final = b"\x01\0\0\0\0\0\0"
_WELCOME, _REFUSED, _OPEN = b"\x05\x00", b"\x05\x01\x00" + _ADDRESS, b"\x05\x00\x00" + _ADDRESS
# linux/inet_diag.h and linux/sock_diag.h: a request for one socket, and the start of its answer
_SOCK_DIAG, _BY_FAMILY, _REQUEST, _ESTABLISHED = 4, 20, 1, 1
_HEADER: Final = struct.Struct("=IHHII")
_QUESTION: Final = struct.Struct("=BBBBI")
_SOCKET: Final = struct.Struct("!HH16s16sI8s")
_STATE: Final = struct.Struct("=BB")
_USER: Final = struct.Struct("=I")
_USER_AT: Final = _HEADER.size + 4 + _SOCKET.size + 12


class _Failure(NamedTuple):
    why: str
    target: Target | None
    at: float


class Forwarder:
    """``failure`` is the proxy's newest one, in words; None: it connects."""

    def __init__(self, proxy: Proxy, *, answer: float = ANSWER) -> None:
        self._proxy = proxy
        self._answer = answer
        self._failed: _Failure | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._resolver = Resolver()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def failure(self) -> str | None:
        """Why the proxy does not lead to where the page wants to."""
        it = self._failed
        if it is None or (it.target and time.monotonic() - it.at > RECENT):
            return None
        return f"{FAILS}{self._proxy.server} {it.why}"

    async def start(self) -> Self:
        """Listen. Raises ``OSError``."""
        self._server = await asyncio.start_server(self._on_connection, _LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """End all connections."""
        if self._server:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._serves(writer):
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(Stream(reader, writer)), name="forward")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    def _serves(self, writer: asyncio.StreamWriter) -> bool:
        if len(self._serving) >= MOST:
            self._fails(f"has {MOST} connections, and gets no more", None)
            return False
        try:
            return _is_ours(writer)
        except (OSError, struct.error):  # what cannot be known is not ours
            self._fails("cannot be used: the kernel does not say whose sockets they are", None)
            return False

    async def _serve(self, browser: Stream) -> None:
        upstream: Stream | None = None
        try:
            async with asyncio.timeout(GREETING):
                target = await _wanted(browser)
            upstream = await self._connect(target) if target else None
            browser.writer.write(_OPEN if upstream else _REFUSED)
            if upstream:
                await first_of(_pump(browser, upstream), _pump(upstream, browser))
        except (OSError, EOFError, ValueError):
            pass  # a time-out, too: whoever is there went away, or is no Chromium
        finally:
            for it in (browser, upstream):
                if it:
                    it.writer.close()

    async def _connect(self, target: Target) -> Stream | None:
        try:
            async with asyncio.timeout(self._answer):
                made = await connect(
                    self._proxy, target, self._resolver, each=self._answer / ADDRESSES
                )
        except TimeoutError:
            self._fails(f"does not answer within {self._answer:g} s", None)
        except ProxyRefusesError as error:
            if error.target is None or WHATSAPP in error.target.host:
                self._fails(str(error), error.target)
        else:
            if self._failed and self._failed.target in {None, target}:
                self._failed = None
            return made
        return None

    def _fails(self, why: str, target: Target | None) -> None:
        self._failed = _Failure(why, target, time.monotonic())
        logger.debug("the proxy does not connect", why=self.failure)


async def _wanted(browser: Stream) -> Target | None:
    """Where Chromium wants to; None: that is nowhere. Raises ``ValueError``, ``EOFError``, ``OSError``."""
    version, count = await browser.reader.readexactly(2)
    await browser.reader.readexactly(count)
    if version != _WELCOME[0]:
        raise ValueError("no SOCKS5")
    browser.writer.write(_WELCOME)
    _, command, _, kind = await browser.reader.readexactly(4)
    target = await read_address(browser.reader, kind)
    usable = command == 1 and target is not None and HOST.fullmatch(target.host)
    return target if usable else None


async def _pump(source: Stream, sink: Stream) -> None:
    while piece := await source.reader.read(_PIECE):
        sink.writer.write(piece)
        await sink.writer.drain()


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether a process of this user's opened it, and has it still. Raises ``OSError``, ``struct.error``."""
    owner = _owner(writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
    its = writer.get_extra_info("socket")
    if owner is None and its.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED:
        raise OSError("the other end is there, and the kernel does not find it")
    return owner == os.geteuid()


def _owner(source: tuple[str, int], target: tuple[str, int]) -> int | None:
    """The user of the process that has the socket from ``source`` to ``target``. Raises ``OSError``, ``struct.error``."""
    packed = [socket.inet_aton(host).ljust(16, b"\0") for host, _ in (source, target)]
    wanted = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED)
    wanted += _SOCKET.pack(source[1], target[1], *packed, 0, b"\xff" * 8)
    size = _HEADER.size + len(wanted)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _SOCK_DIAG
    ) as ask:
        ask.settimeout(1.0)
        ask.send(_HEADER.pack(size, _BY_FAMILY, _REQUEST, 1, 0) + wanted)
        answer = ask.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    _, state = _STATE.unpack_from(answer, _HEADER.size)
    if kind != _BY_FAMILY or state != _ESTABLISHED:
        return None
    user: int = _USER.unpack_from(answer, _USER_AT)[0]
    return user
