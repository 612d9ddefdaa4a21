"""Files fetched from a real server, from one that fails, and from where nothing may be fetched."""

import asyncio
import contextlib
import hashlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tests.messaging.test_outgoing_files import nobody_waits
from tests.silent_names import ZONE, common_thread_is_free, silent_names
from tests.waiting import wait_until
from waguard.config.sections import Config, Media, Send
from waguard.core.messages.transfers import RATE
from waguard.errors import InvalidInputError, NoRoomError, UnavailableError, WaguardError
from waguard.host.files.media import START, MediaFolder
from waguard.host.system.resolver import Resolver
from waguard.messaging.outbox import fetch
from waguard.messaging.outbox.fetch import Fetched, Fetcher, NotFetchedError
from waguard.messaging.outbox.outgoing_files import OutgoingFile, OutgoingFiles
from waguard.messaging.webhooks.answer_reader import AnswerReader
from waguard.ports.clock import WallAges

LIMIT = 1_000  # bytes that are held in memory
MOST = 1 << 20  # bytes of a file
PNG = {"Content-Type": "image/png"}


@dataclass
class Server:
    """Files by path. While ``free`` is clear, it answers nothing."""

    files: OutgoingFiles
    settings: Send
    fetcher: Fetcher = field(init=False)
    base: str = ""
    arrived: int = 0
    busy: int = 0
    busiest: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.fetcher = self.made(limit=LIMIT)

    def made(self, **more: Any) -> Fetcher:
        return Fetcher(lambda: self.settings, files=self.files, **more)

    async def fetch(self, path: str = "/a.png", session_id: str = "a") -> Fetched:
        return await self.fetcher.fetch(self.base + path, "media_url", session_id)

    def configure(self, **changes: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **changes)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.arrived += 1
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.free.wait()
            return await _answer(request)
        finally:
            self.busy -= 1


async def _answer(request: web.Request) -> web.StreamResponse:
    match request.path.split("/")[1:]:
        case ["hops", count]:
            there = f"/hops/{int(count) - 1}" if int(count) else "/a.png"
            return web.Response(status=302, headers={"Location": there})
        case ["to", *_]:
            return web.Response(status=307, headers={"Location": request.query["there"]})
        case ["status", number]:
            return web.Response(status=int(number), body=b"an error page")
        case ["size", number]:
            return web.Response(body=bytes(int(number)), headers=PNG)
        case ["named", name]:
            disposition = f'attachment; filename="{name}"'
            return web.Response(body=b"x", headers={"Content-Disposition": disposition})
        case ["gzip"]:
            return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})
        case ["endless" | "continue" | "chunks" as what]:
            return await _endless(request, what)
        case ["torn" | "stalled" as what, size]:
            assert request.transport
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\nhalf"
            request.transport.write(head.encode())
            if what == "torn":
                request.transport.close()
            return await asyncio.Event().wait()  # type: ignore[return-value] # never
        case _:
            return web.Response(body=b"a picture", headers=PNG)


async def _raw(request: web.Request, again: bytes, head: bytes = b"") -> web.StreamResponse:
    """Forever."""
    assert request.transport
    transport: Any = request.transport
    transport.write(head)
    many = again * 5_000
    while not transport.is_closing():
        if transport.get_write_buffer_size() < len(many):
            transport.write(many)
        await asyncio.sleep(0)
    return web.Response()


async def _endless(request: web.Request, what: str) -> web.StreamResponse:
    if what == "continue":
        return await _raw(request, b"HTTP/1.1 100 Continue\r\n\r\n")
    if what == "chunks":
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return await _raw(request, b"1\r\nx\r\n", head)
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    while True:
        await response.write(bytes(100))


def files_in(folder: MediaFolder, *, limit: int) -> OutgoingFiles:
    config = Config(media=Media(file_limit=limit))
    return OutgoingFiles(folder, lambda: config, nobody_waits, WallAges(time.time))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    files = files_in(MediaFolder(tmp_path / "outgoing"), limit=1)
    made = Server(files, Send(allow_private=True, fetch_timeout=30.0))
    made.free.set()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
        made.files.close()


async def failing(server: Server, path: str, kind: type[WaguardError] = NotFetchedError) -> str:
    """The error of a fetch that fails."""
    url = path if "://" in path else server.base + path
    with pytest.raises(kind) as raised:
        await server.fetcher.fetch(url, "media_url", "a")
    assert raised.value.field == "media_url"
    assert raised.value.remedy
    return raised.value.message


@pytest.mark.parametrize("path", ["/continue", "/chunks"])
async def test_an_answer_in_countless_pieces_is_cut_off(server: Server, path: str) -> None:
    server.fetcher = server.made()
    with pytest.raises(NotFetchedError, match="too many small pieces"):
        await server.fetch(path)


async def test_content_type_and_name(server: Server) -> None:
    assert await server.fetch("/some/a%20picture.png?signature=secret") == Fetched(
        content=b"a picture", mimetype="image/png", filename="a picture.png"
    )
    assert (await server.fetch("/named/bill.pdf")).filename == "bill.pdf"
    assert (await server.fetch("/size/1000")).content == bytes(LIMIT)


async def test_redirects_are_followed_three_times(server: Server) -> None:
    assert (await server.fetch("/hops/2")).content == b"a picture"
    assert "more than 3 redirects" in await failing(server, "/hops/3")
    assert (await server.fetch("/to/it?there=/a%20picture.png")).filename == "a picture.png"
    absolute = f"/to/it?there={server.base}/a.png"
    assert (await server.fetch(absolute)).content == b"a picture"


@pytest.mark.parametrize(
    "there",
    [
        "http://169.254.169.254/latest/meta-data",
        "//[::ffff:169.254.169.254]/",
        "file:///etc/passwd",
        "http://[",
        "http://user:password@127.0.0.1/",
        "http://a b/",
    ],
)
async def test_each_redirect_is_checked_again(server: Server, there: str) -> None:
    assert "refused" in await failing(server, f"/to/it?there={there}", InvalidInputError)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0/",
        "http://[::1",
        "http://user:password@files.example/",
        "http://files.example:70000/",
        "https://" + "x" * 2_000,
        "http://" + "x" * 100 + ".example/",
    ],
)
async def test_what_is_refused_everywhere(server: Server, url: str) -> None:
    error = await failing(server, url, InvalidInputError)
    assert "refused" in error
    assert len(error) < 300


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:7f00:1]"]
)
async def test_nothing_is_fetched_from_this_machine(server: Server, host: str) -> None:
    server.configure(allow_private=False)
    url = server.base.replace("127.0.0.1", host)
    error = await failing(server, url, InvalidInputError)
    assert "refused" in error
    assert server.arrived == 0


async def test_a_name_is_checked_by_where_it_leads(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses(self: Any, host: str) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(Resolver, "addresses", addresses)
    url = server.base.replace("127.0.0.1", "harmless.example") + "/a.png"
    assert (await server.fetcher.fetch(url, "media_url", "a")).content == b"a picture"
    server.configure(allow_private=False)
    assert "private address" in await failing(server, url, InvalidInputError)
    assert server.arrived == 1


async def test_a_name_that_nobody_answers_for_takes_one_thread_of_its_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.configure(fetch_timeout=0.1)
    with silent_names(monkeypatch) as names:
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await server.fetcher.fetch(f"https://dead{ZONE}/a.png", "media_url", "s")
        await wait_until(lambda: names.asked, "its thread has begun")
        assert names.asked == [f"dead{ZONE}"]
        assert await common_thread_is_free()


@pytest.mark.parametrize("path", [f"/size/{MOST + 1}", "/endless"])
async def test_no_more_is_read_than_the_limit(server: Server, path: str) -> None:
    assert f"more than {MOST} bytes" in await failing(server, path)
    assert server.files.folder.size() == 0
    assert not left(server)


async def test_what_is_too_large_for_memory_goes_to_the_disk(server: Server) -> None:
    found = await server.fetch(f"/size/{MOST}")
    name = hashlib.sha256(bytes(MOST)).hexdigest()
    assert (found.content, found.mimetype) == (b"", "image/png")
    assert (
        found.file
        == OutgoingFile(name, MOST, "image/png", bytes(START))
        == await server.files.find(name)
    )
    assert not left(server)


async def test_where_the_disk_takes_no_more_nothing_is_fetched(
    server: Server, tmp_path: Path
) -> None:
    server.files.folder = MediaFolder(tmp_path / "outgoing", reserve=lambda: 1 << 60)
    error = await failing(server, f"/size/{MOST}", NoRoomError)
    assert "limits.disk_reserve" in error
    assert not left(server)


def left(server: Server) -> list[Path]:
    """What is not whole."""
    folder = server.files.folder.coming("drafts")
    return list(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/status/404", "answered 404"),
        ("/status/204", "answered 204"),
        ("/status/302", "answered 302"),  # to nowhere
        ("/size/0", "empty"),
        ("/gzip", "gzip"),
    ],
)
async def test_a_file_that_cannot_be_had(server: Server, path: str, why: str) -> None:
    error = await failing(server, f"{path}?signature=secret")
    assert why in error
    assert path in error
    assert "secret" not in error


async def test_the_remedy_of_a_file_that_its_server_does_not_give(
    server: Server,
) -> None:
    with pytest.raises(NotFetchedError) as raised:
        await server.fetch("/status/404")
    assert raised.value.remedy == "see what this address answers without a login"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        *((f"/status/{status}", f"answered {status}") for status in (408, 425, 429, 500, 503)),
        ("/torn/900", "connection broke"),
    ],
)
async def test_a_file_that_may_be_had_in_a_moment(server: Server, path: str, why: str) -> None:
    error = await failing(server, f"{path}?signature=secret", UnavailableError)
    assert why in error
    assert path in error
    assert "secret" not in error


@pytest.mark.parametrize("limit", [LIMIT, 1])
async def test_what_came_before_a_reset_is_no_file(
    server: Server, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    read, data_received = asyncio.Event(), AnswerReader.data_received

    def received(self: AnswerReader, data: bytes) -> None:
        data_received(self, data)
        read.set()

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
        await read.wait()
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()

    monkeypatch.setattr(AnswerReader, "data_received", received)
    server.fetcher = server.made(limit=limit)
    async with await asyncio.start_server(reset, "127.0.0.1", 0) as resetting:
        url = f"http://127.0.0.1:{resetting.sockets[0].getsockname()[1]}/a.png"
        assert "connection broke" in await failing(server, url, UnavailableError)
    assert not left(server)


async def test_an_address_where_nobody_listens_has_no_connection(
    server: Server, dead_port: int
) -> None:
    for base in (f"http://127.0.0.1:{dead_port}", server.base.replace("http:", "https:")):
        assert "no connection" in await failing(server, f"{base}/a.png", UnavailableError)


async def test_a_server_that_never_answers(server: Server) -> None:
    server.free.clear()
    server.configure(fetch_timeout=0.05)
    assert "within 0.05 s" in await failing(server, "/a.png", UnavailableError)


async def test_what_was_declared_gives_no_time(server: Server) -> None:
    server.files = files_in(server.files.folder, limit=16)
    server.fetcher = server.made()
    server.configure(fetch_timeout=0.05)
    async with asyncio.timeout(10):  # the whole would have 32 s
        assert "did not arrive" in await failing(server, f"/stalled/{16 << 20}", UnavailableError)


@pytest.mark.virtual_time
async def test_what_comes_gives_the_rest_its_time() -> None:
    async def came(size: int) -> int:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(100):
                await asyncio.sleep(1)
                yield bytes(size)

        received = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10.7) as end:
                async for _ in fetch.timely(pieces(), end):
                    received += 1
        return received

    assert [await came(RATE // n) for n in (1, 2, RATE)] == [100, 20, 10]


async def test_only_so_many_at_once_and_all_in_the_end(server: Server) -> None:
    server.free.clear()
    sessions = map(str, range(fetch.AT_ONCE * 2))
    fetching = [asyncio.ensure_future(server.fetch(session_id=one)) for one in sessions]
    await wait_until(lambda: server.arrived == fetch.AT_ONCE, "all places are taken")
    server.free.set()
    assert len(await asyncio.gather(*fetching)) == fetch.AT_ONCE * 2
    assert server.busiest == fetch.AT_ONCE


async def test_a_session_leaves_places_to_the_others(server: Server) -> None:
    server.free.clear()
    fetching = [asyncio.ensure_future(server.fetch()) for _ in range(fetch.AT_ONCE)]
    await wait_until(lambda: server.arrived == fetch.OF_A_SESSION, "it has its places")
    fetching.append(asyncio.ensure_future(server.fetch(session_id="b")))
    await wait_until(lambda: server.arrived == fetch.OF_A_SESSION + 1, "another has one, too")
    server.free.set()
    assert len(await asyncio.gather(*fetching)) == fetch.AT_ONCE + 1


async def test_who_gets_no_place_may_ask_again(server: Server) -> None:
    server.fetcher = server.made(limit=LIMIT, at_once=1)
    server.free.clear()
    first = asyncio.ensure_future(server.fetch())
    await wait_until(lambda: server.arrived, "the place is taken")
    server.configure(fetch_timeout=0.05)
    assert "too many" in await failing(server, "/a.png", UnavailableError)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    server.free.set()
    server.configure(fetch_timeout=30.0)
    await failing(server, "/status/404")
    assert (await server.fetch()).content == b"a picture"  # both gave their place back
