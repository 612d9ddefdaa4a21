"""Deliveries to a receiver that takes them, and to one that does not."""

import asyncio
import contextlib
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import gateway
from tests.messaging.receiver import (
    INSTANCE,
    SECRET,
    Receiver,
    event,
)
from tests.waiting import wait_until
from waguard.core.messages.inbox import event_id
from waguard.messaging.timings import WebhookTimings
from waguard.messaging.webhooks import post as webhook_post
from waguard.messaging.webhooks import signing
from waguard.messaging.webhooks.signing import sign


async def test_body_headers_and_signature(receiver: Receiver, tmp_path: Path) -> None:
    async with gateway(tmp_path, receiver.url, wall=lambda: 1_732_240_123.9) as it:
        it.put(event(7, "session_ready", phone_number="62811", status="connected"))
        await receiver.wait_taken(1)
        assert await it.drained()
        assert await it.pending() == []
    [attempt] = receiver.attempts
    assert attempt.payload == {
        "event": "session_ready",
        "data": {
            "workspace_id": 1,
            "session_id": "a",
            "phone_number": "62811",
            "status": "connected",
        },
    }
    headers = attempt.headers
    assert headers["X-Timestamp"] == "1732240123"
    assert headers["X-Instance-Url"] == INSTANCE
    assert headers["X-Waguard-Event-Id"] == event_id("a", "session_ready:7", "session_ready")
    assert headers["User-Agent"].startswith("waguard")
    assert headers["Content-Type"] == "application/json"
    by_hand = hmac.new(SECRET, b"1732240123" + attempt.body, hashlib.sha256).hexdigest()
    assert headers["X-Hmac-Signature"] == by_hand
    of_body = hmac.new(SECRET, attempt.body, hashlib.sha256).hexdigest()
    assert headers["X-Waguard-Signature"] == f"sha256={of_body}"


def test_the_signature_is_hmac_sha256_of_timestamp_and_body() -> None:
    # RFC 2104 by hand: H((K ^ opad) || H((K ^ ipad) || text))
    key = SECRET.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(k ^ 0x36 for k in key) + b"1700000000" + b'{"a":1}').digest()
    outer = hashlib.sha256(bytes(k ^ 0x5C for k in key) + inner).hexdigest()
    assert sign(SECRET, "1700000000", b'{"a":1}') == outer


async def test_without_a_secret_it_is_unsigned_and_warned_once(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    async with gateway(tmp_path, receiver.url, secrets=()) as it:
        for number in range(3):
            it.put(event(number))
        await receiver.wait_taken(3)
    assert all("X-Hmac-Signature" not in attempt.headers for attempt in receiver.attempts)
    assert all("X-Waguard-Signature" not in attempt.headers for attempt in receiver.attempts)
    assert sum("not signed" in line for line in logged) == 1


async def test_two_secrets_are_valid_at_once_and_the_first_signs(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url, secrets=(b"the new one", SECRET)) as it:
        it.put(event(1))
        await receiver.wait_taken(1)
        it.webhooks.configure((b"the new one",))
        it.put(event(2))
        await receiver.wait_taken(2)
    both, one = receiver.attempts

    def wanted(secret: bytes, body: bytes) -> str:
        return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()

    signature = both.headers["X-Waguard-Signature"]
    assert signature == f"{wanted(b'the new one', both.body)}, {wanted(SECRET, both.body)}"
    stamp = both.headers["X-Timestamp"]
    assert both.headers["X-Hmac-Signature"] == sign(b"the new one", stamp, both.body)
    assert one.headers["X-Waguard-Signature"] == wanted(b"the new one", one.body)


async def test_an_event_that_is_no_json_is_delivered_as_well_as_can_be(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1, message="\ud800 half a sign"))
        it.put(event(2))
        taken = await receiver.wait_taken(2)
        assert await it.drained()
    assert taken[0]["data"]["message"] == "? half a sign"


async def test_a_received_file_is_delivered(receiver: Receiver, tmp_path: Path) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1, message={"media": {"data": "x" * (3 << 20)}}))
        [payload] = await receiver.wait_taken(1)
    assert len(payload["data"]["message"]["media"]["data"]) == 3 << 20
    assert receiver.attempts[0].signed


async def test_a_bug_in_one_delivery_does_not_end_the_partition(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    bugs = iter([True])
    headers = signing.headers

    def faulty(**rest: Any) -> dict[str, str]:
        if next(bugs, False):
            raise RuntimeError("a bug")
        return headers(**rest)

    monkeypatch.setattr(webhook_post, "headers", faulty)
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        it.put(event(2))
        taken = await receiver.wait_taken(2)
    assert [payload["data"]["message"]["body"] for payload in taken] == ["body 1", "body 2"]
    assert any("a bug" in line for line in logged)


async def test_the_end_waits_for_what_is_in_flight_and_leaves_no_task_behind(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.free.clear()
    before = asyncio.all_tasks()
    async with contextlib.AsyncExitStack() as stack:
        it = await stack.enter_async_context(gateway(tmp_path, receiver.url))
        it.put(*(event(number, session=str(number)) for number in range(20)))
        await wait_until(lambda: receiver.arrived == 8, "some are on their way")
        asyncio.get_running_loop().call_later(0.05, receiver.free.set)
    assert len(receiver.taken()) == 8, "cut off, they would be delivered twice"
    names = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not {name for name in names if name.startswith(("webhook", "journal"))}
    async with gateway(tmp_path, receiver.url) as it:
        assert await it.drained()
    assert len(receiver.taken()) == 20


async def test_the_end_does_not_wait_for_ever(receiver: Receiver, tmp_path: Path) -> None:
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url, timings=WebhookTimings(last_answer=0.01)) as it:
        it.put(event(1))
        await wait_until(lambda: receiver.arrived, "it is on its way")
    async with gateway(tmp_path, None) as it:
        pending = {one.event_id for one in await it.pending()}
        dead = {
            one.event_id for one in await it.dead()
        }  # it may become a dead letter between the two
        assert len(pending | dead) == 1
