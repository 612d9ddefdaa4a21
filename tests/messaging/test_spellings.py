"""This machine and the metadata address, written in every way that an HTTP client takes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import pytest

from waguard.config.sections import Send
from waguard.core import outgoing_address as address
from waguard.errors import InvalidInputError, UnavailableError
from waguard.host.system.resolver import Resolver
from waguard.messaging.outbox.fetch import Fetcher
from waguard.messaging.webhooks.sender import AddressRefusedError, CheckedConnector, WebhookSender


def script(zero: int, one: int | None = None) -> dict[int, int]:
    """A table that writes ASCII digits in another script, whose 0 and 1 have these code points."""
    digits = [zero, *range(one or zero + 1, (one or zero + 1) + 9)]
    return {ord("0") + n: digit for n, digit in enumerate(digits)}


# whose digits become ASCII ones in a host
FULLWIDTH = script(0xFF10)
CIRCLED = script(0x24EA, 0x2460)
SUBSCRIPT = script(0x2080)
BOLD = script(0x1D7CE)
DOUBLE_STRUCK = script(0x1D7D8)
MONOSPACE = script(0x1D7F6)
SEGMENTED = script(0x1FBF0)
SCRIPTS = (FULLWIDTH, CIRCLED, SUBSCRIPT, BOLD, DOUBLE_STRUCK, MONOSPACE, SEGMENTED)
ARABIC = script(0x0660)  # these are letters of a name
DOTS = "\u3002\uff0e\uff61"


def dressed(plain: str) -> list[str]:
    """An IPv4 address in other scripts' digits and dots."""
    return [
        *(plain.translate(script) for script in SCRIPTS),
        *(plain.replace(".", dot) for dot in DOTS),
        *(plain.translate(FULLWIDTH).replace(".", dot) for dot in DOTS),
        quote(plain.translate(FULLWIDTH)),
    ]


def as_ipv6(plain: str) -> list[str]:
    """The IPv6 addresses that lead to it."""
    high, low = (f"{n:x}" for n in divmod(int.from_bytes(socket.inet_aton(plain)), 1 << 16))
    return [
        f"[::ffff:{plain}]",
        f"[::ffff:{high}:{low}]",
        f"[0:0:0:0:0:ffff:{high}:{low}]",
        f"[::{plain}]",
        f"[::{high}:{low}]",
        f"[64:ff9b::{plain}]",
        f"[64:ff9b:1::{high}:{low}]",
        f"[2002:{high}:{low}::1]",
        f"[2001:db8::5efe:{high}:{low}]",
        f"[2001:db8::200:5efe:{high}:{low}]",
        f"[::FFFF:{high.upper()}:{low.upper()}]",
    ]


LOOPBACK = [
    *("127.0.0.1", "127.0.0.1.", "127.8.9.1", "127.1", "127.0.1", "2130706433", "017700000001"),
    *("0x7f000001", "0x7F.0x0.0x0.0x1", "0177.0.0.1", "127.000.000.001", "00127.0.0.1"),
    *("localhost", "LOCALHOST.", "a.localhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "localhost。"),
    *("[::1]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[::1%lo]", "[::]", "0.0.0.0", "0"),
    "0.0.0.0".translate(FULLWIDTH),
    *("harmless.example@127.0.0.1", "harmless.example:80@①②⑦.⓪.⓪.①", "127.0.0.1\\@a.example"),
    *("%31%32%37.0.0.1", "127%2e0%2e0%2e1", "127.0.0.1%00.a.example", "127.0.0.1%23.a.example"),
    *dressed("127.0.0.1"),
    *as_ipv6("127.0.0.1"),
]
METADATA = [
    *("169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9.0xFE.43518"),
    *("0251.0376.0251.0376", "169.254.43518", "[fe80::1]", "[fe80::a9fe:a9fe%25eth0]"),
    *(
        "[fd20:ce::254]",
        "[fd20:00ce:0:0:0:0:0:254]",
        "[fd00:c1::a9fe:a9fe]",
        "[fd00:c1::169.254.169.254]",
    ),
    *("[fd00:42::42]", "[FD00:0042::0042]"),
    *("[fd00:ec2::254]", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    *dressed("169.254.169.254"),
    *dressed("100.100.100.200"),
    *as_ipv6("169.254.169.254"),
]


@dataclass
class World:
    """Somebody who listens on this machine: ``heard`` counts who came. ``called`` are the addresses
    that a socket was to be connected to; it is to this machine only."""

    settings: Send = field(default_factory=Send)
    port: int = 0
    heard: int = 0
    called: list[Any] = field(default_factory=list)

    async def fetch(self, url: str) -> str:
        """Why nothing was fetched."""
        fetcher = Fetcher(lambda: self.settings, files=cast("Any", None))
        with pytest.raises(InvalidInputError, match="refused") as raised:
            await fetcher.fetch(url, "media_url", "a")
        return raised.value.message

    async def post(self, url: str) -> None:
        """A webhook that is refused for good."""
        async with WebhookSender(lambda: self.settings.allow_private) as one:
            answer = await one.post(url, b"{}", {})
        assert answer.refused
        assert "refused" in (answer.error or "")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()

    async def hear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.heard += 1
        writer.close()

    connect = asyncio.get_running_loop().sock_connect

    async def noted(sock: socket.socket, there: Any) -> None:
        made.called.append(there)
        if there[0] != "127.0.0.1":
            raise OSError("a test calls nobody else")
        await connect(sock, there)

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", noted)
    yield made
    server.close()
    await server.wait_closed()
    assert not made.heard
    assert not made.called


def test_there_are_enough() -> None:
    assert len({*LOOPBACK, *METADATA}) >= 100


@pytest.mark.parametrize("host", LOOPBACK)
async def test_this_machine_is_not_called(world: World, host: str) -> None:
    url = f"http://{host}:{world.port}/a.png"
    await world.fetch(url)
    await world.post(url)


@pytest.mark.parametrize("host", METADATA)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_metadata_is_not_called_whatever_is_allowed(
    world: World, host: str, scheme: str
) -> None:
    world.settings = Send(allow_private=True)
    await world.fetch(f"{scheme}://{host}/latest")
    await world.post(f"{scheme}://{host}/latest")


@pytest.mark.parametrize("host", [*dressed("127.0.0.1"), "[::127.0.0.1]", "0x7f000001"])
async def test_a_redirect_is_not_followed_there(world: World, host: str) -> None:
    """From an address that may be called, as if it were elsewhere."""
    url = f"http://{host}:{world.port}/a.png"
    fetcher = Fetcher(lambda: world.settings, files=cast("Any", None))
    asked: list[str] = []

    async def redirected(
        http: aiohttp.ClientSession, at: str, name: str, end: asyncio.Timeout
    ) -> Any:
        asked.append(at)
        return url if len(asked) == 1 else await get(http, at, name, end)

    get, fetcher._get = fetcher._get, redirected  # type: ignore[assignment,method-assign]
    with pytest.raises(InvalidInputError, match="refused"):
        await fetcher.fetch("https://files.example/a.png", "media_url", "a")


@pytest.mark.parametrize("host", [*LOOPBACK, "127.0.0.1".translate(ARABIC)])
async def test_the_connection_refuses_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Where a spelling passes the first check."""
    monkeypatch.setattr(address, "url_refusal", lambda *_, **__: None)
    monkeypatch.setattr(address, "has_user", lambda _: False)
    url = f"http://{host}:{world.port}/a.png"
    with contextlib.suppress(UnavailableError):  # a name that leads nowhere
        await world.fetch(url)
    async with WebhookSender(lambda: False) as one:
        assert (await one.post(url, b"{}", {})).status is None


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_peer_is_checked_before_anything_is_sent(allowed: bool) -> None:  # noqa: FBT001 - a parameter
    """Also of a connection that was made when it was allowed."""
    heard = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while head := await reader.readuntil(b"\r\n\r\n"):
                heard.extend(head)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    allow = [True]
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connector = CheckedConnector(lambda: allow[0], Resolver())
    async with aiohttp.ClientSession(connector=connector) as http:
        assert (await http.get(url)).status == 200
        said = len(heard)
        allow[0] = allowed
        if allowed:
            assert (await http.get(url)).status == 200
        else:
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await http.get(url)
            assert isinstance(refused.value.os_error, AddressRefusedError)
            assert len(heard) == said
    server.close()
    await server.wait_closed()
