"""Who sends a body and no key: nothing is decoded, little is kept, nobody else is held up."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import KEY, Answer, Api
from tests.api.fake_sessions import SESSION
from tests.waiting import wait_until
from waguard.api import body, limits
from waguard.api.limits import LOAD, Search
from waguard.api.timings import LIMITS, Limits, Timings
from waguard.core.text import json_text
from waguard.errors import UnavailableError

SEND, MEDIA = "/api/messages/send", "/api/messages/send-media"
METADATA = f"/api/sessions/{SESSION}/metadata"
JSON = {"Content-Type": "application/json"}
MB = 1 << 20


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bodies that were decoded."""
    sizes: list[int] = []
    decode = body._decode

    def noted(raw: bytearray) -> dict[str, Any]:
        sizes.append(len(raw))
        return decode(raw)

    monkeypatch.setattr(body, "_decode", noted)
    return sizes


def held(api: Api) -> int:
    """Bytes of bodies in which a key is looked for."""
    return api.app[LOAD].search.held


async def put(api: Api, raw: bytes, path: str = METADATA) -> Answer:
    return await api.call("PUT", path, data=raw, key=None, headers=JSON)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000_000,
        b"[]," * 300_000,
        b'{"api_key": "wrong"}',
        b'{"api_key": "' + KEY.encode()[:-1] + b'"}',
        b'{"message": "\\"api_key\\":\\"' + KEY.encode() + b'\\""}',
        b'{"api_key": ["' + KEY.encode() + b'"]}',
        b'{"api_key": "\\ud800"}',
        b'{"api_key": "\\u0000\\udfff"}',
        b"\xff\xfe",
        b"no JSON",
    ],
    ids=lambda raw: raw[:30],
)
async def test_nothing_is_decoded(api: Api, decoded: list[int], raw: bytes) -> None:
    answer = await put(api, raw)
    assert (answer.status, answer.json()["error"]) == (401, "Invalid API key")
    assert decoded == []


async def test_a_key_within_something_else_is_none(api: Api, decoded: list[int]) -> None:
    """Whoever has it there may have it decoded, and no more."""
    for inner in ({"metadata": {"api_key": KEY}}, {"api_key": "wrong", "a": {"api_key": KEY}}):
        assert (await put(api, json.dumps(inner).encode())).status == 401
    assert len(decoded) == 2
    assert not api.sessions.done


@pytest.mark.parametrize(
    "name", ["api_key", "\\u0061pi\\u005Fkey", "\\u0061\\u0070\\u0069\\u005f\\u006b\\u0065\\u0079"]
)
@pytest.mark.parametrize("key", [KEY, "".join(f"\\u{ord(c):04X}" for c in KEY)])
async def test_the_key_may_be_escaped(api: Api, name: str, key: str) -> None:
    raw = f'{{"metadata": {{"a": "}}\\"]"}}, "{name}" : "{key}"}}'
    assert (await put(api, raw.encode())).status == 200


async def test_the_last_one_counts(api: Api) -> None:
    assert (await put(api, f'{{"api_key": "x", "api_key": "{KEY}"}}'.encode())).status == 200
    assert (await put(api, f'{{"api_key": "{KEY}", "api_key": "x"}}'.encode())).status == 401


async def test_the_application_may_send_it_last_behind_nearly_a_megabyte(api: Api) -> None:
    head = b'{"metadata": {"a": "' + b"x" * (MB - 200) + b'"}, '
    assert (await put(api, head + f'"api_key": "{KEY}"}}'.encode())).status == 200


def picture(size: int) -> bytes:
    reported = {"session_id": SESSION, "recipient_phone": "6281234567890"}
    return json.dumps(reported | {"media": "a" * size}).encode()


@pytest.mark.parametrize("size", [64 << 10, 2 * MB])
async def test_with_the_key_at_its_beginning_a_file_goes(api: Api, size: int) -> None:
    raw = f'{{"api_key": "{KEY}", '.encode() + picture(size).removeprefix(b"{")
    answer = await api.call("POST", MEDIA, data=raw, key=None, headers=JSON)
    assert answer.status == 200, answer.content


async def test_behind_more_than_a_megabyte_it_is_not_searched(api: Api, decoded: list[int]) -> None:
    raw = picture(2 * MB).removesuffix(b"}") + f', "api_key": "{KEY}"}}'.encode()
    for data in (raw, pieces(raw)):
        answer = await api.call("POST", MEDIA, data=data, key=None, headers=JSON)
        assert answer.status == 401
        assert "X-Api-Key" in answer.json()["remedy"]
    assert decoded == []
    assert (await api.call("POST", MEDIA, data=raw, headers=JSON)).status == 200


async def pieces(raw: bytes) -> AsyncIterator[bytes]:
    """Without a length."""
    for at in range(0, len(raw), 50_000):
        yield raw[at : at + 50_000]


async def test_of_a_large_one_only_the_beginning_is_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    is_over = json_text.keys

    def noted(text: bytearray) -> list[str]:
        seen.append(len(text))
        return is_over(text)

    monkeypatch.setattr(json_text, "keys", noted)
    answer = await api.call("POST", MEDIA, data=b"[" * (20 * MB), key=None, headers=JSON)
    assert answer.status == 401
    assert limits.KEY_WITHIN <= seen[0] < limits.KEY_WITHIN + (256 << 10)  # and what came at once
    assert len(seen) == 1
    assert held(api) == 0


async def test_too_many_values_are_refused_with_a_key(api: Api) -> None:
    raw = b'{"metadata": [' + b"[]," * 300_000 + b"[]]}"
    answer = await api.call("PUT", METADATA, data=raw, headers=JSON)
    assert (answer.status, answer.json()["field"]) == (400, "body")
    assert "too many values" in answer.json()["error"]


async def test_a_large_body_is_decoded_beside_the_loop(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    decode = body._decode

    def noted(raw: bytearray) -> dict[str, Any]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            threads.append(True)
        else:
            threads.append(False)
        return decode(raw)

    monkeypatch.setattr(body, "_decode", noted)
    for size in (1_000, body.LARGE):
        await api.call("POST", MEDIA, data=picture(size), headers=JSON)
    assert threads == [False, True]


async def test_what_needs_no_key_has_no_body(api: Api, decoded: list[int]) -> None:
    for raw in (b"[" * 1_000_000, b"no JSON", b"[]"):
        assert (await api.call("GET", "/health", data=raw, key=None)).status == 200
    assert decoded == []


# ---- many at a time ----


class Half:
    """A request whose body does not end, without a key."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.readuntil(b"\r\n\r\n")


@contextlib.asynccontextmanager
async def half_sent(api: Api, *bodies: bytes) -> AsyncIterator[list[Half]]:
    """The server has what there is of them."""
    ones: list[Half] = []
    try:
        for raw in bodies:
            ones.append(
                Half(*await asyncio.open_connection(*api.base.removeprefix("http://").split(":")))
            )
            head = f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
            ones[-1].writer.write(head.encode() + raw)
            await ones[-1].writer.drain()
        await wait_until(
            lambda: held(api) >= min(sum(map(len, bodies)), api.app[LIMITS].searched_bytes // 2),
            "they are read",
        )
        yield ones
    finally:
        for one in ones:
            one.writer.close()


BODY = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi", "api_key": KEY}


async def test_200_half_sent_bodies_hold_up_nobody(api: Api) -> None:
    async with half_sent(api, *[b'{"a":"' + b"x" * 1_000] * 200):
        for _ in range(3):
            assert (await api.call("POST", SEND, BODY, key=None)).status == 200
        assert (await api.call("POST", SEND, BODY | {"message": "b"})).status == 200
        assert (await api.call("GET", f"/api/sessions/{SESSION}/status")).status == 200


@pytest.mark.parametrize("limits", [Limits(searched_bytes=100_000)])
async def test_where_there_is_no_room_the_oldest_makes_it(api: Api) -> None:
    async with half_sent(api, b"x" * 30_000, b"y" * 30_000) as (first, second):
        assert (await api.call("POST", SEND, BODY | {"note": "x" * 60_000}, key=None)).status == 200
        reported = await first.answer()
        assert b" 503 " in reported
        assert b"Retry-After" in reported
        assert held(api) == 30_000  # the second one is still there
        second.writer.write(b"y" * 10)
        await wait_until(lambda: held(api) == 30_010, "it is read on")
    await wait_until(lambda: held(api) == 0, "all is given back")


@pytest.mark.parametrize("limits", [Limits(searched=2)])
async def test_so_many_at_a_time(api: Api) -> None:
    async with half_sent(api, b"x", b"y") as (first, _):
        assert (await api.call("POST", SEND, BODY, key=None)).status == 200
        assert b" 503 " in await first.answer()


async def test_one_whose_time_is_over_already_makes_room_all_the_same() -> None:
    """Both at once: its deadline, and one that needs room."""
    search, ends = Search(Limits(searched=1)), list[asyncio.Timeout]()

    async def waiting() -> None:
        async with asyncio.timeout(0.01) as end:
            ends.append(end)
            with search.body(end):
                await asyncio.sleep(10)

    first = asyncio.create_task(waiting())
    await wait_until(lambda: ends, "it waits")
    while not ends[0].expired():
        await asyncio.sleep(0)
    assert not first.done()  # it was cancelled and does not know it yet
    async with asyncio.timeout(10) as end:
        with search.body(end) as take:
            take(5)
            await asyncio.sleep(0)
            assert search.held == 5
    with pytest.raises((TimeoutError, UnavailableError)):
        await first
    assert search.held == 0


@pytest.mark.parametrize("timings", [Timings(body=0.05)])
async def test_a_body_that_does_not_come_is_answered_503(api: Api) -> None:
    async with half_sent(api, b"x") as (one,):
        assert b" 503 " in await one.answer()
    assert held(api) == 0
