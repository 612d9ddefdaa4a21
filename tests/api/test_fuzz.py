"""Seeded nonsense, as bytes on real sockets: no 5xx, no traceback, nothing done without a key."""

import asyncio
import gzip
import json
import random
import re
import socket
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from tests.api.test_odd_requests import assert_quiet
from tests.api.test_raw_requests import logged
from waguard.api.timings import Limits, Timings

__all__ = ["logged"]  # a fixture

AT_ONCE: Final = 8
TOGETHER: Final = 200  # requests between two looks at the log
SEED: Final = 20241122

METHODS: Final = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
FIELDS: Final = [
    *("session_id", "workspace_id", "account_id", "priority", "recipient_phone", "message", "type"),
    *("media_url", "media", "caption", "filename", "mimetype", "mentions", "quoted_message_id"),
    *(
        "recipients",
        "updates",
        "metadata",
        "url",
        "secret",
        "events",
        "hold",
        "fields",
        "phone_number",
    ),
    *("idempotency_key", "queue", "send_at", "expires_at", "ids", "api_key"),
]
QUERY: Final = ["wait", "format", "purge", "limit", "state", "session_id", "last_event_id", "since"]
HEADERS: Final = [
    *("Content-Type", "Content-Encoding", "Accept", "Last-Event-ID", "Idempotency-Key", "Range"),
    *("If-None-Match", "Origin", "X-Forwarded-For", "Authorization", "Cookie", "Upgrade"),
]
TEXTS: Final = [
    *(
        "",
        "0",
        "-1",
        "1e999",
        "9" * 19,
        "9" * 5_000,
        "NaN",
        "null",
        "true",
        "٣",
        "é",
        "😀",
        "..%2F..",
    ),
    *(
        "\0",
        "\r\n",
        "%00",
        "%",
        "%zz",
        "%ED%A0%80",
        "a" * 300,
        "' OR 1=1 --",
        "<script>",
        "{}",
        "[]",
    ),
    *("http://127.0.0.1/", "http://[", "data:,x", "gzip", "deflate", "application/json", "json"),
    *(
        "*/*",
        "image/png",
        "6281234567890",
        "1@c.us",
        "120363041234567890@g.us",
        SESSION,
        "100-continue",
    ),
]


@dataclass(frozen=True)
class Fuzzed:
    """One request; ``whole``: it is as long as it says, and is answered."""

    raw: bytes
    whole: bool


class Fuzzer:
    """Requests by a seed, for routes (method and path, with names in braces)."""

    def __init__(self, seed: int, routes: list[tuple[str, str]], *, keyed: float) -> None:
        self._random = random.Random(seed)
        self._keyed = keyed
        self._routes = routes

    def request(self) -> Fuzzed:
        chance, pick = self._random.random, self._random.choice
        if chance() < 0.03:
            noise = self._random.randbytes(self._random.randrange(1, 300))
            return Fuzzed(noise + b"\r\n\r\n", whole=False)
        has_key = chance() < self._keyed
        lines = [f"{self._target()} HTTP/1.1".encode(errors="replace")]
        lines += [b"Host: localhost"] * (chance() < 0.97)
        lines += [f"X-Api-Key: {KEY}".encode()] if has_key else []
        lines += [b"Expect: 100-continue"] * (chance() < 0.02)
        lines += [
            f"{pick(HEADERS)}: {self._header()}".encode(errors="replace")
            for _ in range(int(chance() * 2.5))
        ]
        body = self._body()
        if chance() < 0.1:
            name, packed = pick(
                [(b"gzip", gzip.compress(body, mtime=0)), (b"deflate", zlib.compress(body))]
            )
            body = packed if chance() < 0.5 else self._broken(packed)
            lines.append(b"Content-Encoding: " + name)
        head = b"\r\n".join([*lines, b"Content-Type: application/json"])
        if chance() < 0.3:
            chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            raw = head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        else:
            raw = head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        if chance() < 0.05:
            return Fuzzed(self._broken(raw), whole=False)
        return Fuzzed(raw, whole=True)

    def _target(self) -> str:
        """Method and address; mostly they fit."""
        chance = self._random.random
        method, path = self._random.choice(self._routes)
        if chance() < 0.1:
            method = self._random.choice(METHODS)
        if chance() < 0.8:
            path = path.replace("{session_id}", SESSION)
        path = re.sub(r"\{[^/]*\}", lambda _: self._escaped(), path)
        query = "&".join(
            f"{self._random.choice(QUERY)}={self._escaped()}" for _ in range(int(chance() * 2.5))
        )
        return f"{method} {path}{'?' + query if query else ''}"

    def _escaped(self) -> str:
        word = self._word()
        return word if self._random.random() < 0.05 else quote(word, safe="%")

    def _header(self) -> str:
        word = self._word()
        return word if word.isprintable() or self._random.random() < 0.05 else quote(word)

    def _word(self) -> str:
        word = self._random.choice(TEXTS)
        odd = chr(self._random.randrange(32, 0x2FF))
        return word if self._random.random() < 0.9 else word + odd

    def _body(self) -> bytes:
        chance = self._random.random()
        if chance < 0.15:
            return b""
        if chance < 0.2:
            return self._random.choice(
                [b"[" * 200, b"{" * 5_000, b"null", b"[]", b"1", b'"', b"\xff"]
            )
        fields = self._random.sample(FIELDS, self._random.randrange(8))
        body = {field: self._value(3) for field in fields} | {"session_id": SESSION}
        raw = json.dumps(body, ensure_ascii=self._random.random() < 0.5)
        text = raw.encode(errors="surrogatepass")
        return self._broken(text) if chance < 0.4 else text

    def _value(self, depth: int) -> Any:
        chance = self._random.random()
        if chance < 0.55 or not depth:
            return self._random.choice([*TEXTS, "\ud800", "\udfff"])
        if chance < 0.75:
            return self._random.choice([None, True, 0, -1, 1.5, 10**30, 2**63, 1e308, float("nan")])
        some = range(self._random.randrange(4))
        if chance < 0.9:
            return [self._value(depth - 1) for _ in some]
        return {self._random.choice(TEXTS): self._value(depth - 1) for _ in some}

    def _broken(self, raw: bytes) -> bytes:
        """With some bytes changed, added or left out."""
        broken = bytearray(raw)
        for _ in range(self._random.randrange(1, 4)):
            at = self._random.randrange(len(broken) + 1)
            end = at + self._random.choice([0, 1, 1, 5, len(broken)])
            broken[at:end] = self._random.randbytes(self._random.choice([0, 1, 3]))
        return bytes(broken)


async def status(api: Api, one: Fuzzed) -> int:
    """Of the answer; 0: it hung up, for the request had no end."""
    host, port = api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)
    # the port is free again at once
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    try:
        writer.write(one.raw)
        if not one.whole:
            writer.write_eof()
        async with asyncio.timeout(30):
            while (line := await reader.readline()).startswith((b"HTTP/1.1 100", b"\r\n")):
                pass
            assert line or not one.whole, one.raw[:2_000]
            return int(line.split()[1]) if line else 0
    except ConnectionError:
        return 0
    finally:
        writer.close()


async def fuzz(api: Api, logged: list[str], count: int, *, keyed: float) -> Counter[int]:
    """How often each status was answered; ``keyed`` is the share of requests with a good key."""
    routes = [
        (route.method, route.resource.canonical)
        for route in api.app.router.routes()
        if route.resource
    ]
    fuzzer, seen = Fuzzer(SEED, routes, keyed=keyed), Counter[int]()
    for first in range(0, count, TOGETHER):
        batch = iter([fuzzer.request() for _ in range(TOGETHER)])

        async def work() -> None:
            for one in batch:  # noqa: B023 - it is over before the next batch
                reported = await status(api, one)
                assert reported < 500, (reported, one.raw[:2_000])
                seen[reported] += 1

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        assert (await api.call("GET", "/health", key=None)).status == 200, first
        assert_quiet(logged)
        logged.clear()
    return seen


@pytest.fixture
def timings() -> Timings:
    return Timings(refusal=0.0)


@pytest.fixture
def limits() -> Limits:
    return Limits(streams=25_000)  # that a stream's client is gone shows at the next comment


@pytest.mark.parametrize(
    "count",
    [1_000, pytest.param(25_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
)
async def test_no_request_breaks_the_api(api: Api, logged: list[str], count: int) -> None:
    seen = await fuzz(api, logged, count, keyed=0.7)
    assert seen.total() == count
    print(dict(sorted(seen.items())))
    # it is no fuzz where all is refused at the same place
    assert min(seen[wanted] for wanted in (200, 400, 401, 404, 405)) > count / 100


async def test_without_a_key_nothing_is_done(api: Api, logged: list[str]) -> None:
    seen = await fuzz(api, logged, 600, keyed=0.0)
    assert seen[401] > 200
    assert not api.sessions.done
    assert not api.sessions.calls
