"""What many small things cost: chunks, requests ahead of their turn, bodies that nobody waits for."""

import asyncio
import contextlib
import gc
import http.client
import json
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.doors import house
from tests.api.fake_sessions import SESSION
from tests.api.test_without_a_key import half_sent
from tests.waiting import wait_until
from waguard.api import connection
from waguard.api.limits import BODY_LIMIT, LOAD, MEDIA_BODY_LIMIT
from waguard.api.timings import Limits, Timings

SEND, MEDIA = "/api/messages/send", "/api/messages/send-media"
STATUS = f"/api/sessions/{SESSION}/status"
METADATA = f"/api/sessions/{SESSION}/metadata"
KEYED = f"X-Api-Key: {KEY}\r\n"
ONE_BYTE = b"1\r\n \r\n"
END = b"0\r\n\r\n"


def address(api: Api) -> tuple[str, int]:
    host, port = api.base.removeprefix("http://").split(":")
    return host, int(port)


def chunked(path: str, key: str = "", method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{key}"
    return f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


async def answers(reader: asyncio.StreamReader) -> list[bytes]:
    """The status lines of all that comes before the server hangs up."""
    raw = b""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while more := await reader.read(1 << 16):
                raw += more
    return [line for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all that was parsed."""
    sizes: list[int] = []
    receive = connection.Connection.data_received

    def noted(self: connection.Connection, data: bytes) -> None:
        sizes.append(len(data))
        receive(self, data)

    monkeypatch.setattr(connection.Connection, "data_received", noted)
    return sizes


# ---- chunks ----


async def test_chunks_of_one_byte_without_a_key_are_refused_early(api: Api, fed: list[int]) -> None:
    reader, writer = await asyncio.open_connection(*address(api))
    writer.write(chunked(SEND) + ONE_BYTE * 200_000)
    reported = await answers(reader)
    writer.close()
    assert len(reported) <= 1  # or the end of the connection comes first
    assert all(b" 400 " in line for line in reported)
    assert sum(fed) < 64 << 10


@pytest.mark.parametrize(
    ("key", "piece", "count", "status"),
    [
        (KEYED, ONE_BYTE, 20_000, b" 200 "),
        (KEYED, ONE_BYTE, 10, b" 200 "),
        ("X-Api-Key: wrong\r\n", ONE_BYTE, 2_000, b" 400 "),
        ("", ONE_BYTE, 50, b" 200 "),  # its key is in the body
        ("", b"28\r\n" + b" " * 40 + b"\r\n", 5_000, b" 200 "),
    ],
)
async def test_with_a_key_they_are_read(
    api: Api, key: str, piece: bytes, count: int, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*address(api))
    body = json.dumps({"metadata": {"a": "b"}, "api_key": KEY}).encode()
    writer.write(chunked(METADATA, key, "PUT") + piece * count)
    writer.write(b"%x\r\n%s\r\n" % (len(body), body) + END)
    async with asyncio.timeout(60):
        assert status in await reader.readline()
    writer.close()


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize("limits", [Limits(keyless_cpu_free=-1.0)])
async def test_while_its_share_is_spent_a_whole_small_request_does_not_wait(
    api: Api, fed: list[int]
) -> None:
    """There is never time for anything else."""
    _, writer = await asyncio.open_connection(*address(api))
    writer.write(chunked(SEND) + ONE_BYTE)
    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi"}
    assert (await api.call("POST", SEND, body | {"api_key": KEY}, key=None)).status == 200
    assert (await api.call("GET", STATUS)).status == 200
    assert (await api.call("GET", "/health", key=None)).status == 200
    assert len(chunked(SEND) + ONE_BYTE) not in fed
    writer.close()


async def test_after_shreds_with_a_key_comes_a_request_without_one(api: Api) -> None:
    reader, writer = await asyncio.open_connection(*address(api))
    body = json.dumps({"metadata": {"a": "b"}}).encode()
    writer.write(chunked(METADATA, KEYED, "PUT") + ONE_BYTE * 2_000)
    writer.write(b"%x\r\n%s\r\n" % (len(body), body) + END)
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
        writer.write(request(HELLO, ""))  # its key is in the body
        assert b" 200 " in await reader.readline()
    writer.close()


# ---- requests ahead of their turn ----


async def test_requests_without_a_key_get_one_answer_for_a_connection(api: Api) -> None:
    reader, writer = await asyncio.open_connection(*address(api))
    writer.write(f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 300)
    reported = await answers(reader)
    writer.close()
    assert len(reported) == 1
    assert b" 401 " in reported[0]


@pytest.mark.parametrize("key", ["", KEYED])
async def test_what_needs_no_key_may_be_asked_ahead(api: Api, key: str) -> None:
    reader, writer = await asyncio.open_connection(*address(api))
    for _ in range(3):
        writer.write(f"GET /health HTTP/1.1\r\nHost: localhost\r\n{key}\r\n".encode() * 100)
        await writer.drain()
    async with asyncio.timeout(60):
        for _ in range(300):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
    writer.close()


# ---- clients that have left ----


def request(body: bytes, key: str = KEYED) -> bytes:
    head = f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


HELLO = json.dumps(
    {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi", "api_key": KEY}
).encode()


@pytest.mark.parametrize("key", ["", KEYED])
async def test_who_left_before_being_accepted_has_nothing_begun(api: Api, key: str) -> None:
    """It waited for longer than its client did, as while waguard restarts."""
    for _ in range(5):  # nothing is awaited: the server cannot accept it before it is closed
        with socket.create_connection(address(api)) as client:
            client.sendall(request(HELLO, key))
    assert (await api.call("GET", STATUS)).status == 200
    assert (await api.call("GET", STATUS)).status == 200
    assert api.sessions.calls == []
    assert (await api.call("POST", SEND, json.loads(HELLO))).status == 200


@pytest.mark.parametrize("key", ["", KEYED])
async def test_who_left_with_the_end_of_its_body_has_nothing_begun(
    api: Api, fed: list[int], key: str
) -> None:
    raw = request(HELLO, key)
    client = socket.create_connection(address(api))
    client.sendall(raw[:-5])
    await wait_until(lambda: sum(fed) >= len(raw) - 5, "its beginning is read")
    client.sendall(raw[-5:])
    client.close()
    await wait_until(lambda: sum(fed) >= len(raw), "its end is read")
    assert (await api.call("GET", STATUS)).status == 200
    assert api.sessions.calls == []


# ---- who is slow makes room ----


@pytest.mark.parametrize("limits", [Limits(searched_bytes=100_000)])
async def test_the_slowest_body_makes_room_not_the_oldest(api: Api) -> None:
    async with half_sent(api, b"x" * 60_000, b"y") as (fast, slow):
        assert api.app[LOAD].search.held == 60_001
        body = HELLO[:-1] + b', "note": "' + b"x" * 60_000 + b'"}'
        answer = await api.call(
            "POST", SEND, data=body, key=None, headers={"Content-Type": "application/json"}
        )
        assert answer.status == 200
        assert b" 503 " in await slow.answer()
        assert b" 503 " in await fast.answer()  # one byte was not enough


# ---- answers that reach their client ----


def posted(api: Api, path: str, body: bytes, headers: dict[str, str]) -> Callable[[], Any]:
    """As urllib, requests and others do it: the whole body first, then the answer."""

    def post() -> tuple[int, str | None]:
        client = http.client.HTTPConnection(*address(api), timeout=60)
        try:
            client.request("POST", path, body, {"Content-Type": "application/json"} | headers)
            answer = client.getresponse()
            answer.read()
            return answer.status, answer.getheader("Connection")
        finally:
            client.close()

    return post


@pytest.mark.parametrize(
    ("path", "size", "key", "status"),
    [
        pytest.param(MEDIA, MEDIA_BODY_LIMIT - 1, "", 401, marks=pytest.mark.long),
        (SEND, 900_000, "", 401),
        (SEND, BODY_LIMIT + 1, "", 413),
        (SEND, BODY_LIMIT + 1, KEY, 413),
        pytest.param(SEND, 20 << 20, KEY, 413, marks=pytest.mark.long),
        pytest.param(MEDIA, MEDIA_BODY_LIMIT + 1, "", 413, marks=pytest.mark.long),
        pytest.param(MEDIA, 40 << 20, KEY, 413, marks=pytest.mark.long),
    ],
)
async def test_a_refused_large_body_gets_its_answer(
    api: Api, path: str, size: int, key: str, status: int
) -> None:
    headers = {"X-Api-Key": key} if key else {}
    post = posted(api, path, b"x" * size, headers)
    assert await asyncio.to_thread(post) == (status, "close")


@pytest.mark.parametrize("limits", [Limits(discarded=1 << 20)])
async def test_but_not_without_an_end(api: Api) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - broken pipe or reset, as it comes
        await asyncio.to_thread(posted(api, MEDIA, b"x" * (40 << 20), {}))


# ---- what is left of who has left ----


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[connection.Connection]]]:
    """All connections, as long as somebody holds them."""
    found: list[weakref.ref[connection.Connection]] = []
    begin = connection.Connection.connection_made

    def noted(self: connection.Connection, transport: asyncio.BaseTransport) -> None:
        found.append(weakref.ref(self))
        begin(self, transport)

    monkeypatch.setattr(connection.Connection, "connection_made", noted)
    gc.disable()
    yield found
    gc.enable()


@pytest.mark.parametrize("limits", [Limits(searched=1)])
@pytest.mark.parametrize("first", [b"", b"y"])
async def test_a_refused_body_leaves_nothing_for_the_collector(
    api: Api, made: list[weakref.ref[connection.Connection]], first: bytes
) -> None:
    """Neither one that made room, nor one that is not read; aiohttp would keep each for ten seconds."""
    reader, writer = await asyncio.open_connection(*address(api))
    writer.write(request(b"x" * (BODY_LIMIT if first else 2 * BODY_LIMIT), "")[:2_000])
    if first:
        await wait_until(lambda: api.app[LOAD].search.held, "it is searched")
        assert (await api.call("POST", SEND, json.loads(HELLO), key=None)).status == 200
    assert (b" 503 " if first else b" 413 ") in await reader.readline()
    writer.close()
    await wait_until(lambda: made[0]() is None, "it is gone")


@pytest.mark.parametrize("limits", [Limits(discarding=2)])
async def test_of_so_many_refused_bodies_the_rest_is_read(api: Api) -> None:
    raw = request(b"x" * (2 * BODY_LIMIT), "")
    clients = []
    for _ in range(3):
        clients.append(await asyncio.open_connection(*address(api)))
        clients[-1][1].write(raw[:2_000])
        assert b" 413 " in await clients[-1][0].readline()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(60):
            await clients[0][0].read()  # to its end: it made room
    assert not any(reader.at_eof() for reader, _ in clients[1:])
    for _, writer in clients[1:]:
        writer.write(raw[2_000:])
        await writer.drain()
    for reader, writer in clients:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(60):
                await reader.read()
        writer.close()


async def test_a_stop_does_not_wait_for_the_rest_of_a_refused_body() -> None:
    async with house(timings=Timings(last_requests=0.01)) as (made, knock):
        door, left = made.door(), list[int]()
        stop = door.stop

        async def noted() -> None:
            await stop()
            left.append(len(door._open))

        door.stop = noted
        client = await knock()
        client.writer.write(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\nx"
        )
        assert b" 200 " in await client.reader.readline()
        await wait_until(lambda: door._discarding, "the rest is waited for")
    assert left == [0]
