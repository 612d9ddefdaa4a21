"""What no HTTP client library would send: bytes on a socket, and what the log says of them."""

import asyncio
import json
import logging
import zlib
from collections.abc import Iterator

import pytest
from loguru import logger

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from tests.waiting import DEADLINE, wait_until
from waguard.errors import NotYetError, UnavailableError, WaguardError
from waguard.host.system import logs

SECRET = "secret-of-a-client"
ONE = f"/api/sessions/{SESSION}"
HEAD = f"Host: localhost\r\nX-Api-Key: {KEY}\r\nContent-Type: application/json\r\n"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines, with what aiohttp logs by the standard library."""
    lines: list[str] = []
    intercept = logs.InterceptHandler()
    logging.getLogger().addHandler(intercept)
    sink = logger.add(lines.append, level="TRACE", format="{level} {message} {extra}\n{exception}")
    yield lines
    logger.remove(sink)
    logging.getLogger().removeHandler(intercept)


async def sent(api: Api, data: bytes) -> bytes:
    """All that is answered until the server hangs up, or its first head."""
    reader, writer = await asyncio.open_connection(*api.base.removeprefix("http://").split(":"))
    writer.write(data)
    await writer.drain()
    async with asyncio.timeout(20):
        reported = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return reported


NO_HTTP: list[tuple[str, bytes]] = [
    (
        "control character in a key",
        f"GET /health HTTP/1.1\r\nX-Api-Key: {SECRET}\1\r\n\r\n".encode(),
    ),
    ("NUL in the query", f"GET /health?api_key={SECRET}\0 HTTP/1.1\r\n\r\n".encode()),
    ("long line", f"GET /?api_key={SECRET}{'x' * 20_000} HTTP/1.1\r\nHost: a\r\n\r\n".encode()),
    ("space in a header's name", f"GET /?api_key={SECRET} HTTP/1.1\r\nX y: z\r\n\r\n".encode()),
    ("two hosts", b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n"),
    ("raw UTF-8 in the path", f"GET /ü?api_key={SECRET} HTTP/1.1\r\nHost: a\r\n\r\n".encode()),
    (
        "length twice",
        f"POST / HTTP/1.1\r\n{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(),
    ),
    ("negative length", f"POST / HTTP/1.1\r\n{HEAD}Content-Length: -1\r\n\r\n".encode()),
    (
        "length and chunks",
        f"POST / HTTP/1.1\r\n{HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
    ),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET.encode() + b"\r\n\r\n"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("many headers", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 30_000 + b"\r\n"),
]


@pytest.mark.parametrize("data", [data for _, data in NO_HTTP], ids=[name for name, _ in NO_HTTP])
async def test_no_http_is_refused_and_its_bytes_are_not_logged(
    api: Api, logged: list[str], data: bytes
) -> None:
    assert b" 400 " in await sent(api, data)
    assert (await api.call("GET", "/health", key=None)).status == 200
    text = "".join(logged)
    assert "Traceback" not in text
    assert "ERROR" not in text
    assert SECRET not in text
    assert KEY not in text


@pytest.mark.parametrize(
    "line", ["GET /my file?api_key={} HTTP/1.1", "GET /?api_key={}\0 HTTP/1.1"]
)
async def test_no_http_is_answered_without_its_bytes(api: Api, line: str) -> None:
    reader, writer = await asyncio.open_connection(*api.base.removeprefix("http://").split(":"))
    writer.write(f"{line.format(SECRET)}\r\nHost: a\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert b" 400 " in head
    assert b"application/json" in head
    assert json.loads(body)["remedy"]
    assert SECRET.encode() not in body


async def test_a_mistake_of_the_server_is_still_logged(logged: list[str]) -> None:
    logging.getLogger("waguard.http").error("a real one")
    assert any("a real one" in line for line in logged)


async def test_chunks_over_the_limit_are_cut_off(api: Api) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    head = f"POST /api/sessions HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in await sent(api, head.encode() + chunk * 17)


async def test_what_unpacks_to_too_much_is_cut_off(api: Api) -> None:
    packed = zlib.compress(bytes(100 << 20), 9)
    head = f"POST /api/sessions HTTP/1.1\r\n{HEAD}Content-Encoding: deflate\r\n"
    head += f"Content-Length: {len(packed)}\r\n\r\n"
    assert b" 413 " in await sent(api, head.encode() + packed)


async def test_a_client_that_asks_before_it_sends_may_go_on(api: Api) -> None:
    head = f"POST /api/sessions HTTP/1.1\r\n{HEAD}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert b" 100 Continue" in await sent(api, head.encode())


@pytest.mark.parametrize(
    ("raw", "expected_words"),
    [
        (b'{"metadata": {"a": 1e999}}', "too large a number"),
        (b'{"metadata": {"a": -1e999}}', "too large a number"),
        (b'{"metadata": {"a": "\\u0000"}}', "NUL"),
        (b'{"metadata": {"\\u0000": 1}}', "NUL"),
        (b'{"metadata": {"a": "\\\\\\u0000"}}', "NUL"),
    ],
)
async def test_what_no_database_or_reader_could_take_is_refused(
    api: Api, raw: bytes, expected_words: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.call("PUT", f"{ONE}/metadata", data=raw, headers=headers)
    assert (answer.status, answer.json()["field"]) == (400, "body")
    assert expected_words in answer.json()["error"]
    assert answer.json()["remedy"]
    assert await api.store.metadata(SESSION) == {}


async def test_what_only_resembles_it_is_kept(api: Api) -> None:
    wanted = {"a": "\\u0000", "b": "\\\\u0000", "c": 1e308, "d": -0.5, "e": "\u2028😀"}
    assert (await api.call("PUT", f"{ONE}/metadata", {"metadata": wanted})).status == 200
    assert await api.store.metadata(SESSION) == wanted


async def test_of_a_key_that_comes_twice_the_last_counts(api: Api) -> None:
    raw = (
        f'{{"session_id": "a", "session_id": "b", "workspace_id": 1, "api_key": "{KEY}"}}'.encode()
    )
    headers = {"Content-Type": "application/json"}
    answer = await api.call("POST", "/api/sessions", data=raw, key=None, headers=headers)
    assert (answer.status, answer.json()["session_id"]) == (201, "b")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", "/api/sessions", 405),
        ("OPTIONS", "/api/nothing", 404),
        ("GET", "/api/sessions/", 404),
        ("GET", "//api/sessions", 404),
        ("POST", "/health", 405),
        ("TRACE", "/health", 405),
        ("HEAD", "/api/events", 405),
    ],
)
async def test_a_route_that_is_not_there_needs_no_key_to_be_reported(
    api: Api, method: str, path: str, status: int
) -> None:
    answer = await api.call(method, path, key=None)
    assert answer.status == status
    assert bool(answer.headers.get("Allow")) == (status == 405)
    if method != "HEAD":
        assert answer.json()["remedy"]


async def test_a_client_that_leaves_does_not_stop_its_change(api: Api, logged: list[str]) -> None:
    api.sessions.free.clear()
    body = json.dumps({"api_key": KEY})
    _, writer = await asyncio.open_connection(*api.base.removeprefix("http://").split(":"))
    writer.write(
        f"DELETE {ONE} HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    await writer.drain()
    await wait_until(lambda: api.sessions.begun == ["delete"], "it has begun")
    writer.close()
    await writer.wait_closed()
    assert (await api.call("GET", "/health", key=None)).status == 200
    api.sessions.free.set()
    await wait_until(lambda: api.sessions.done == ["delete"], "the delete ends")
    assert not any(line.startswith("ERROR") for line in logged)


@pytest.mark.parametrize(
    ("error", "status"), [(UnavailableError("down"), 503), (NotYetError("soon"), 425)]
)
async def test_what_passes_says_when_to_come_back(
    api: Api, error: WaguardError, status: int
) -> None:
    api.sessions.fail = error
    answer = await api.call("GET", f"{ONE}/qr")
    assert answer.status == status
    assert int(answer.headers["Retry-After"]) > 0
