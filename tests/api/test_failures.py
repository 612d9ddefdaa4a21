"""What goes wrong behind the API or on the way back, and who is told."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Iterator

import pytest
from loguru import logger

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import RAW, SESSION
from tests.waiting import wait_until
from waguard.api.timings import Timings
from waguard.errors import UnavailableError
from waguard.host.system import logs
from waguard.wire.reports import QrCode

ONE = f"/api/sessions/{SESSION}"


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


async def hang_up(api: Api, method: str, path: str, body: object) -> None:
    """A request whose client leaves as soon as the API has seen it."""
    _, writer = await asyncio.open_connection(*api.base.removeprefix("http://").split(":"))
    content = json.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write((head + content).encode())
    await writer.drain()
    await wait_until(lambda: api.sessions.calls, "it is being done")
    writer.close()
    await writer.wait_closed()


async def test_a_lost_reply_is_no_mistake_of_waguard(api: Api, logged: list[str]) -> None:
    api.sessions.free.clear()
    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi"}
    await hang_up(api, "POST", "/api/messages/send", body)
    api.sessions.free.set()
    await wait_until(
        lambda: any(t.kept_since is not None for t in api.outbox._sends._known.values()),
        "it was lost",
    )
    assert (await api.call("GET", "/health", key=None)).status == 200
    assert not [line for line in logged if line.startswith(("ERROR", "WARNING", "CRITICAL"))]


@pytest.mark.parametrize(
    "error", [UnavailableError("the worker is gone", remedy="later"), RuntimeError("a bug")]
)
@pytest.mark.parametrize("timings", [Timings(request=0.05)])
async def test_a_change_that_fails_after_its_answer_is_logged(
    api: Api, logged: list[str], error: Exception
) -> None:
    api.sessions.free.clear()
    api.sessions.values.append(error)
    answer = await api.call("POST", f"{ONE}/pairing-code", {"phone_number": "6281234567890"})
    assert answer.status == 503
    api.sessions.free.set()
    await wait_until(lambda: any("after its request" in line for line in logged), "it was told")
    [line] = [line for line in logged if "after its request" in line]
    assert str(error) in line


@pytest.mark.parametrize("timings", [Timings(ping=0.02)])
async def test_a_database_that_never_answers_is_reported_by_detailed_health(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(api.store, "ping", never)
    answer = await api.call("GET", "/health/detailed")
    assert answer.status == 200
    assert answer.json()["database"] == "no answer within 0.02 s"


async def test_a_code_that_ran_out_has_no_negative_time_left(api: Api) -> None:
    api.sessions.code = QrCode(raw=RAW, count=1, expires_at=time.time() - 30)
    assert (await api.call("GET", f"{ONE}/qr")).json()["expires_in"] == 0


async def test_a_body_that_is_announced_too_large_is_not_waited_for(api: Api) -> None:
    reader, writer = await asyncio.open_connection(*api.base.removeprefix("http://").split(":"))
    head = f"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
    writer.write(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
    await writer.drain()
    async with asyncio.timeout(10):  # s; less than a body may take
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("timings", [Timings(event_write=0.05)])
async def test_one_that_does_not_read_the_events_is_hung_up(api: Api) -> None:
    reader, writer = await asyncio.open_connection(
        *api.base.removeprefix("http://").split(":"), limit=1024
    )
    head = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    await reader.readuntil(b": waguard\n\n")
    for _ in range(60):  # more than the buffers of both kernels hold
        api.bus.publish("message_received", "a", 1, {"text": "x" * (1 << 20)})
    await wait_until(lambda: not api.bus._listeners, "the listener is gone")
    last = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            while chunk := await reader.read(1 << 20):
                last = (last + chunk)[-5:]
    assert last != b"0\r\n\r\n"  # cut off: a stream that ended in order would look whole
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_connection_that_failed_behind_the_api_is_a_bug_like_others(
    api: Api, logged: list[str]
) -> None:
    api.sessions.fail = ConnectionResetError("somewhere else")
    answer = await api.call("GET", f"{ONE}/status")
    assert (answer.status, answer.json()["error"]) == (500, "unexpected error")
    assert sum(line.startswith("ERROR") for line in logged) == 1
