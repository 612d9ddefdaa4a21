"""A connection through a proxy: the login, and in words what the proxy refuses."""

import asyncio
import base64
import ipaddress
import os
import re
import socket
import ssl
from typing import Final, NamedTuple

from waguard.core.proxy import Proxy
from waguard.host.system.resolver import Resolver

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_LOGIN: Final = 407  # HTTP
_VERSION, _NONE, _PASSWORD, _CONNECT, _NOTHING = 5, 0, 2, 1, 255
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LENGTHS: Final = {_IPV4: 4, _IPV6: 16}
_ANSWERS: Final = {
    1: "it failed",
    2: "its rules do not allow it",
    3: "no network leads there",
    4: "the host cannot be reached",
    5: "the connection is refused",
    6: "it took too long",
}
"""Answers of a SOCKS proxy to a request, RFC 1928."""
_GIVEN_UP: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),  # s
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),  # s
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),  # ms
)
"""When the kernel ends a connection: the proxy is gone (1 min of silence), or takes nothing of what is sent."""


class Stream(NamedTuple):
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Target(NamedTuple):
    """Where a connection is to lead: a name or an address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ProxyRefusesError(Exception):
    """The proxy does not connect, in words. ``target``: it may connect elsewhere; None: it serves nobody."""

    def __init__(self, why: str, target: Target | None = None) -> None:
        super().__init__(why)
        self.target = target


async def connect(proxy: Proxy, target: Target, resolver: Resolver, *, each: float) -> Stream:
    """A stream to ``target``. Each address of the proxy has ``each`` s where others follow. Raises ``ProxyRefusesError``; cancelled, it leaves none."""
    try:
        stream = await _dial(proxy, resolver, each)
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", None) or error.reason
        raise ProxyRefusesError(f"speaks no TLS that can be trusted: {why}") from None
    except OSError as error:
        number = error.errno or 0  # negative: of the resolver
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise ProxyRefusesError(f"accepts no connection: {why}") from None
    except ValueError:  # of the codec for names, and of ssl
        raise ProxyRefusesError("accepts no connection: its name cannot be looked up") from None
    greet = _through_socks if proxy.scheme == "socks5" else _through_http
    try:
        await greet(proxy, target, stream)
    except (OSError, EOFError):
        stream.writer.close()
        raise ProxyRefusesError("hangs up") from None
    except BaseException:
        stream.writer.close()
        raise
    return stream


async def _dial(proxy: Proxy, resolver: Resolver, each: float) -> Stream:
    tls = ssl.create_default_context() if proxy.scheme == "https" else None
    stream = Stream(*await resolver.connect(proxy.host, proxy.port, tls, each=each))
    for option in _GIVEN_UP:
        stream.writer.get_extra_info("socket").setsockopt(*option)
    return stream


async def _through_http(proxy: Proxy, target: Target, stream: Stream) -> None:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        login = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    stream.writer.write("\r\n".join((*lines, "", "")).encode())
    try:
        head = await stream.reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        head = b""
    if not (found := _STATUS.match(head)):
        raise ProxyRefusesError("does not answer as an HTTP proxy does")
    status = int(found[1])
    if status == _LOGIN:
        raise ProxyRefusesError(_login(proxy))
    if not 200 <= status < 300:  # noqa: PLR2004 - HTTP
        raise ProxyRefusesError(f"does not connect to {target}: HTTP status {status}", target)


async def _through_socks(proxy: Proxy, target: Target, stream: Stream) -> None:
    methods = bytes((_NONE,) if proxy.user is None else (_NONE, _PASSWORD))
    stream.writer.write(bytes((_VERSION, len(methods))) + methods)
    version, method = await stream.reader.readexactly(2)
    if version != _VERSION or method not in {*methods, _NOTHING}:
        raise ProxyRefusesError("does not answer as a SOCKS5 proxy does")
    if method == _NOTHING:
        raise ProxyRefusesError(_login(proxy))
    if method == _PASSWORD:
        login = b"".join(_counted(it or "") for it in (proxy.user, proxy.password))
        stream.writer.write(b"\x01" + login)
        _, refused = await stream.reader.readexactly(2)
        if refused:
            raise ProxyRefusesError(_login(proxy))
    port = target.port.to_bytes(2)
    stream.writer.write(bytes((_VERSION, _CONNECT, 0)) + _address(target.host) + port)
    version, answer, _, kind = await stream.reader.readexactly(4)
    if version != _VERSION:
        raise ProxyRefusesError("does not answer as a SOCKS5 proxy does")
    if answer:
        why = _ANSWERS.get(answer, f"SOCKS answer {answer}")
        raise ProxyRefusesError(f"does not connect to {target}: {why}", target)
    await read_address(stream.reader, kind)


def _login(proxy: Proxy) -> str:
    return "asks for a login" if proxy.user is None else "refuses the login"


def _counted(text: str) -> bytes:
    return bytes((len(text.encode()),)) + text.encode()


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bytes((_NAME,)) + _counted(host)
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed  # noqa: PLR2004


async def read_address(reader: asyncio.StreamReader, kind: int) -> Target | None:
    """An address as SOCKS writes it, with its port; None: of a kind that nobody knows."""
    if kind == _NAME:
        (length,) = await reader.readexactly(1)
        host = (await reader.readexactly(length)).decode("ascii", "replace")
    elif size := _LENGTHS.get(kind):
        host = str(ipaddress.ip_address(await reader.readexactly(size)))
    else:
        return None
    return Target(host, int.from_bytes(await reader.readexactly(2)))
