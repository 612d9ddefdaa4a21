"""Requests that are HTTP and make no sense: a clear answer, and no traceback in the log."""

import asyncio
import gzip
import itertools
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from tests.api.test_raw_requests import logged, sent
from tests.waiting import wait_until
from waguard.api import limits
from waguard.api.timings import DEFAULT_LIMITS, Limits, Timings

__all__ = ["logged"]  # a fixture

METADATA = f"/api/sessions/{SESSION}/metadata"
WANTED = {"a": "x" * 5_000, "b": [1, 2, 3]}
PLAIN = json.dumps({"metadata": WANTED}).encode()
GZIP, ZLIB = gzip.compress(PLAIN, mtime=0), zlib.compress(PLAIN)
RAW_DEFLATE = zlib.compress(PLAIN, wbits=-15)
AT_ONCE = Timings(refusal=0.0)


async def put(api: Api, encoding: str, raw: bytes, *, chunk: int = 0) -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(raw), chunk):
            yield raw[at : at + chunk]

    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    return await api.call("PUT", METADATA, data=pieces() if chunk else raw, headers=headers)


@pytest.mark.parametrize("limits", [Limits(), Limits(piece=10)], ids=["large", "small"])
async def test_what_is_packed_well_is_taken(api: Api, subtests: pytest.Subtests) -> None:
    packed = [
        ("gzip", GZIP),
        ("GZIP", GZIP),
        ("deflate", ZLIB),
        ("deflate", RAW_DEFLATE),
        ("identity", PLAIN),
        ("gzip", gzip.compress(PLAIN, 0, mtime=0)),
    ]
    for (encoding, raw), chunk in itertools.product(packed, (0, 1, 7)):
        with subtests.test(encoding=encoding, raw=raw, chunk=chunk):
            await api.call("PUT", METADATA, {"metadata": {}})
            assert (await put(api, encoding, raw, chunk=chunk)).status == 200
            assert await api.store.metadata(SESSION) == WANTED


BROKEN = [
    *(("gzip", GZIP[:length]) for length in (1, 2, 9, 10, 20, len(GZIP) - 8, len(GZIP) - 1)),
    *(("deflate", ZLIB[:length]) for length in (1, 2, 20, len(ZLIB) - 1)),
    ("deflate", RAW_DEFLATE[:-1]),
    ("gzip", GZIP[:10] + b"\xff" * 50),
    ("gzip", GZIP[:-8] + bytes(8)),  # its checksum
    ("gzip", GZIP + b"more"),
    ("gzip", GZIP + GZIP),
    ("gzip", PLAIN),
    ("gzip", ZLIB),
    ("deflate", GZIP),
    ("deflate", b"\x78\x9c\xff\xff"),
]


async def test_a_broken_packed_body_is_refused_whole(
    api: Api, logged: list[str], subtests: pytest.Subtests
) -> None:
    """Half of one would be an empty body: the metadata would be gone."""
    await api.call("PUT", METADATA, {"metadata": {"kept": 1}})
    for (encoding, raw), chunk in itertools.product(BROKEN, (0, 5)):
        with subtests.test(encoding=encoding, raw=raw, chunk=chunk):
            answer = await put(api, encoding, raw, chunk=chunk)
            reported = answer.json()
            assert (answer.status, reported["field"]) == (400, "body")
            assert reported["remedy"]
            assert await api.store.metadata(SESSION) == {"kept": 1}
            assert_quiet(logged)


async def test_another_packing_is_reported(
    api: Api, logged: list[str], subtests: pytest.Subtests
) -> None:
    encodings = ("br", "zstd", "compress", "x", "gzip, gzip", "\xff", "é" * 50)
    for encoding, raw in itertools.product(encodings, (GZIP, b"{}", b"\xff")):
        with subtests.test(encoding=encoding, raw=raw):
            answer = await put(api, encoding, raw)
            reported = answer.json()
            assert (answer.status, reported["field"]) == (415, "Content-Encoding")
            assert "gzip" in reported["remedy"]
            assert_quiet(logged)


async def test_no_body_is_none_however_it_is_packed(api: Api) -> None:
    for encoding in ("gzip", "br"):
        assert (await put(api, encoding, b"")).status == 200
        answer = await api.call("GET", METADATA, headers={"Content-Encoding": encoding})
        assert answer.status == 200
    empty = f"PUT {METADATA} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
    empty += "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert b" 200 " in await sent(api, empty.encode())


def assert_quiet(logged: list[str]) -> None:
    """Nothing but details was logged."""
    text = "".join(logged)
    assert "Traceback" not in text
    assert not any(line.startswith(("ERROR", "WARNING", "CRITICAL")) for line in logged)


async def test_the_id_of_an_event(api: Api, logged: list[str], subtests: pytest.Subtests) -> None:
    ids = ("0" * 5_000, "1" * 5_000, "9" * 19, "9" * 25, "-1", "1.0", "²")
    for given, place in itertools.product(ids, ("header", "query")):
        with subtests.test(given=given, place=place):
            asked = f"?last_event_id={given}" if place == "query" else ""
            head = f"GET /api/events{asked} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
            head += f"Last-Event-ID: {given}\r\n" if place == "header" else ""
            assert b" 400 " in await sent(api, f"{head}\r\n".encode())
            assert_quiet(logged)


# ---- half surrogate pairs, and bytes that are no UTF-8 ----

HALVES = [b"\xed\xa0\x80", b"\xff", b"%ED%A0%80", b"%FF", b"%ud800"]
IN_A_PATH = ["/%s", "/api/sessions/%s/status", "/api/messages/%s", "/api/media/%s"]
IN_A_PATH += ["/api/webhooks/dead/%s", "/sessions/%s/status"]
IN_A_QUERY = ["/api/sessions/{}/qr?format=%s", "/api/sessions/{}/qr?wait=%s", "/health?%s=1"]
IN_A_QUERY += ["/api/messages?state=%s", "/api/events?last_event_id=%s", "/health?api_key=%s"]
HEADERS = ["Host", "X-Api-Key", "Authorization", "Last-Event-ID", "Accept", "Idempotency-Key"]
HEADERS += ["Content-Type", "Origin", "Range", "If-None-Match", "Cookie", "Expect", "Forwarded"]
HEADERS += ["X-Ticket"]


@pytest.mark.parametrize("timings", [AT_ONCE], ids=["at once"])
async def test_half_a_character_in_the_address(
    api: Api, logged: list[str], subtests: pytest.Subtests
) -> None:
    paths = (*IN_A_PATH, *IN_A_QUERY)
    for path, half, key in itertools.product(paths, HALVES, (KEY, "none")):
        with subtests.test(path=path, half=half, key=key):
            address = path.replace("{}", SESSION).encode().replace(b"%s", half)
            head = b"GET " + address + b" HTTP/1.1\r\nHost: localhost\r\n"
            reported = await sent(api, head + f"X-Api-Key: {key}\r\n\r\n".encode())
            assert reported.split()[1] in {b"200", b"400", b"401", b"404"}
            assert_quiet(logged)


@pytest.mark.parametrize("timings", [AT_ONCE], ids=["at once"])
async def test_half_a_character_in_a_header(
    api: Api, logged: list[str], subtests: pytest.Subtests
) -> None:
    """Of every route that reads headers, and where it is the key itself."""
    body = json.dumps({"session_id": SESSION, "recipient_phone": "6281234567890", "message": "a"})
    lines = ["GET /health", "GET /api/sessions", "POST /api/messages/send"]
    lines += ["POST /api/keys/exchange"]
    for header, half, line in itertools.product(HEADERS, HALVES, lines):
        with subtests.test(header=header, half=half, line=line):
            usual = {"Host": "localhost", "X-Api-Key": KEY, "Content-Type": "application/json"}
            usual.pop(header, None)
            head = f"{line} HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in usual.items())
            raw = head.encode() + header.encode() + b": " + half + b"\r\n\r\n" + body.encode()
            status = int((await sent(api, raw)).split()[1])
            assert status == 200 or 400 <= status < 500
            assert_quiet(logged)


async def test_half_a_character_in_the_body(
    api: Api, logged: list[str], subtests: pytest.Subtests
) -> None:
    bodies: list[dict[str, Any]] = [
        {"session_id": "\ud800"},
        {"\udfff": 1},
        {"api_key": "\ud800"},
        {"session_id": SESSION, "metadata": {"a": ["\udc80"]}},
    ]
    for body, key in itertools.product(bodies, (KEY, None)):
        with subtests.test(body=body, key=key):
            answer = await api.call("PUT", METADATA, body, key=key)
            assert answer.status == (400 if key else 401)
            assert answer.json()["remedy"]
            assert_quiet(logged)


async def test_what_is_expected(api: Api, logged: list[str], subtests: pytest.Subtests) -> None:
    expectations = (b"200-ok", b"\xff", b"100-continue, x", b"x" * 5_000)
    for expected, path in itertools.product(expectations, (b"/health", b"/nowhere")):
        with subtests.test(expected=expected, path=path):
            head = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nExpect: " + expected
            reported = await sent(api, head + b"\r\n\r\n")
            assert b" 417 " in reported
            assert b"application/json" in reported
            assert_quiet(logged)


# ---- bad keys ----


class Clock:
    """asyncio as the limits see it: its time stands, and who sleeps does so until ``go_on``."""

    def __init__(self) -> None:
        self.now, self.slept = 1_000.0, 0
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def get_running_loop(self) -> "Clock":
        return self

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        await self.go_on.wait()
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "asyncio", made)
    return made


async def test_bad_keys_are_slow_and_good_ones_are_not(api: Api, clock: Clock) -> None:
    at_once = [
        await api.call("GET", "/api/sessions", key="x")
        for _ in range(DEFAULT_LIMITS.refused_at_once)
    ]
    assert {answer.status for answer in at_once} == {401}
    slow = [asyncio.create_task(api.call("GET", "/api/sessions", key="x")) for _ in range(20)]
    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "a"}
    await wait_until(lambda: waiting(api) == 20, "they wait")
    for _ in range(10):
        assert (await api.call("GET", "/api/sessions")).status == 200
        assert (await api.call("GET", "/health", key=None)).status == 200
        sent_ = await api.call("POST", "/api/messages/send", body | {"api_key": KEY}, key=None)
        assert sent_.status == 200
    assert not any(task.done() for task in slow)
    clock.go_on.set()
    assert {(await task).status for task in slow} == {401}
    assert waiting(api) == 0


@pytest.mark.parametrize("limits", [Limits(refusals_waiting=2)])
async def test_so_many_bad_keys_wait(api: Api, clock: Clock) -> None:
    for _ in range(DEFAULT_LIMITS.refused_at_once):
        await api.call("GET", "/api/sessions", key="x")
    slow = [asyncio.create_task(api.call("GET", "/api/sessions", key="x")) for _ in range(2)]
    await wait_until(lambda: waiting(api) == 2, "they wait")
    assert (await api.call("GET", "/api/sessions", key="x")).status == 401
    assert not any(task.done() for task in slow)
    clock.go_on.set()
    assert {(await task).status for task in slow} == {401}


async def test_after_a_quiet_second_a_bad_key_is_refused_at_once(api: Api, clock: Clock) -> None:
    clock.go_on.set()
    for _ in range(
        DEFAULT_LIMITS.refused_at_once + 1
    ):  # the last one waits, and so the second is over
        await api.call("GET", "/api/sessions", key="x")
    assert clock.slept == 1
    assert (await api.call("GET", "/api/sessions", key="x")).status == 401
    assert clock.slept == 1


def waiting(api: Api) -> int:
    """Refusals that are not told yet."""
    return api.app[limits.LOAD].refusals._waiting
