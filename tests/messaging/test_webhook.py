"""Deliveries to a receiver that takes them, and to one that does not."""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
from typing import Any

import pytest

from tests.messaging.receiver import (
    CLOSE,
    HANG,
    INSTANCE,
    QUICK,
    SECRET,
    TORN,
    Receiver,
    Trouble,
    event,
    free_port,
    receiving,
    sink_to,
)
from tests.waiting import wait_until
from waguard.messaging import webhook
from waguard.messaging.webhook import sign
from waguard.policy import delivery
from waguard.policy.delivery import DeliveryPolicy


async def test_body_headers_and_signature(receiver: Receiver) -> None:
    async with sink_to(receiver.url, wall=lambda: 1_732_240_123.9) as sink:
        await sink.put(event(7, "session_ready", phone_number="62811", status="connected"))
        await receiver.wait_taken(1)
    [attempt] = receiver.attempts
    assert attempt.told == {
        "event": "session_ready",
        "data": {
            "workspace_id": 1,
            "session_id": "a",
            "phone_number": "62811",
            "status": "connected",
        },
    }
    assert attempt.headers["X-Timestamp"] == "1732240123"
    assert attempt.headers["X-Instance-Url"] == INSTANCE
    assert attempt.headers["X-Waguard-Event-Id"] == "7"
    assert attempt.headers["User-Agent"].startswith("waguard")
    assert attempt.headers["Content-Type"] == "application/json"
    by_hand = hmac.new(SECRET, b"1732240123" + attempt.body, hashlib.sha256).hexdigest()
    assert attempt.headers["X-Hmac-Signature"] == by_hand


def test_the_signature_is_hmac_sha256_of_timestamp_and_body() -> None:
    # RFC 2104 by hand: H((K ^ opad) || H((K ^ ipad) || text))
    key = SECRET.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(k ^ 0x36 for k in key) + b"1700000000" + b'{"a":1}').digest()
    outer = hashlib.sha256(bytes(k ^ 0x5C for k in key) + inner).hexdigest()
    assert sign(SECRET, "1700000000", b'{"a":1}') == outer


@pytest.mark.parametrize(
    "trouble",
    [500, 502, 503, 408, 425, CLOSE, (503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})],
    ids=str,
)
async def test_is_tried_again_signed_anew(receiver: Receiver, trouble: Trouble) -> None:
    receiver.troubles.extend([trouble] * 3)
    times = itertools.count(1_732_240_000, 400)  # further apart than the receiver's window
    async with sink_to(receiver.url, wall=lambda: next(times)) as sink:
        await sink.put(event(1))
        await receiver.wait_taken(1)
    assert len(receiver.attempts) == 4
    assert all(attempt.signed for attempt in receiver.attempts)
    assert len({attempt.headers["X-Timestamp"] for attempt in receiver.attempts}) == 4
    assert len({attempt.body for attempt in receiver.attempts}) == 1


async def test_nobody_listens_yet(logged: list[str]) -> None:
    port = free_port()
    forever = DeliveryPolicy(attempts=10_000, base_delay=0.001, max_delay=0.001)
    async with sink_to(f"http://127.0.0.1:{port}/hook", policy=forever) as sink:
        await sink.put(event(1))
        await wait_until(lambda: any("not taken" in line for line in logged), "it was tried")
        async with receiving(port=port) as receiver:
            assert (await receiver.wait_taken(1))[0]["data"]["message"] == {"body": "body 1"}


async def test_one_that_hangs_has_a_deadline(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "ATTEMPT_DEADLINE", 0.1)
    receiver.troubles.append(HANG)
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1))
        await receiver.wait_taken(1)
    assert [attempt.answer for attempt in receiver.attempts] == [HANG, 200]


async def test_a_status_is_an_answer_also_when_its_body_is_torn(receiver: Receiver) -> None:
    receiver.troubles.append(TORN)
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1))
        await sink.put(event(2))
        await receiver.wait_taken(2)
    # the application does not dedupe: 2xx was said, so it is never sent again
    assert [attempt.answer for attempt in receiver.attempts] == [TORN, 200]


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 410, 413, 422])
async def test_what_will_never_be_taken_is_given_up(
    receiver: Receiver, logged: list[str], status: int
) -> None:
    receiver.troubles.append((status, {"Location": "/hook", "Set-Cookie": "a=b"}))
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1))
        await sink.put(event(2))
        await receiver.wait_taken(1)
    assert [attempt.told["data"]["message"]["body"] for attempt in receiver.attempts] == [
        "body 1",
        "body 2",
    ]
    assert "Cookie" not in receiver.attempts[1].headers
    [line] = [line for line in logged if "given up" in line]
    assert str(status) in line
    assert "body 1" not in "".join(logged)


async def test_it_is_given_up_after_many_attempts_and_the_next_one_goes_on(
    receiver: Receiver,
) -> None:
    receiver.troubles.extend([500] * QUICK.attempts)
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1))
        await sink.put(event(2))
        taken = await receiver.wait_taken(1)
    assert [told["data"]["message"]["body"] for told in taken] == ["body 2"]
    assert len(receiver.attempts) == QUICK.attempts + 1


async def test_after_a_429_everybody_is_quiet(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TOO_MANY_PAUSE", 0.3)
    receiver.troubles.append(429)
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1, session="a"))
        await wait_until(lambda: receiver.attempts, "it was told so")
        await wait_until(lambda: sink._quiet_until, "it is quiet")
        for number in range(2, 12):
            await sink.put(event(number, session=f"s{number}"))
        await receiver.wait_taken(11)
    first, *later = receiver.attempts
    assert min(attempt.at for attempt in later) - first.at >= 0.29


async def test_without_a_secret_it_is_unsigned_and_warned_once(
    receiver: Receiver, logged: list[str]
) -> None:
    async with sink_to(receiver.url, secret=b"") as sink:
        for number in range(3):
            await sink.put(event(number))
        await receiver.wait_taken(3)
    assert all("X-Hmac-Signature" not in attempt.headers for attempt in receiver.attempts)
    assert sum("not signed" in line for line in logged) == 1


async def test_an_event_that_is_no_json_does_not_stop_the_others(receiver: Receiver) -> None:
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1, message=object()))
        await sink.put(event(2, message="\ud800"))
        await sink.put(event(3))
        assert len(await receiver.wait_taken(1)) == 1
        assert await sink.drain(1.0) == 0


async def test_a_received_file_is_delivered(receiver: Receiver) -> None:
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1, message={"media": "x" * (3 << 20)}))
        [told] = await receiver.wait_taken(1)
    assert len(told["data"]["message"]["media"]) == 3 << 20
    assert receiver.attempts[0].signed


async def test_a_bug_in_one_delivery_does_not_end_the_lane(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    bugs = iter([True])

    def signing(*rest: Any) -> str:
        if next(bugs, False):
            raise RuntimeError("a bug")
        return sign(*rest)

    monkeypatch.setattr(webhook, "sign", signing)
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1))
        await sink.put(event(2))
        taken = await receiver.wait_taken(1)
    assert taken[0]["data"]["message"] == {"body": "body 2"}
    assert any("a bug" in line for line in logged)


async def test_the_end_leaves_no_task_behind(receiver: Receiver) -> None:
    receiver.free.clear()
    before = asyncio.all_tasks()
    sink = sink_to(receiver.url)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(sink)
        for number in range(20):
            await sink.put(event(number, session=str(number)))
        await wait_until(lambda: receiver.arrived, "some are on their way")
    names = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not {name for name in names if name.startswith("webhook")}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("Fri, 22 Nov 2024 01:47:10 GMT", 30.0),
        ("Fri, 22 Nov 2024 01:47:10 -0000", 30.0),
        ("Fri, 22 Nov 2024 01:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    sink = sink_to("http://127.0.0.1/", wall=lambda: 1_732_240_000.0)  # 01:46:40
    assert sink._seconds(header) == seconds
