"""Deliveries to a receiver that takes them, and to one that does not."""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.resolver import ThreadedResolver

from tests.clocks import Clock
from tests.messaging.gateway import QUICK, gateway
from tests.messaging.receiver import (
    CLOSE,
    HANG,
    INSTANCE,
    SECRET,
    TORN,
    Receiver,
    Trouble,
    event,
    receiving,
)
from tests.waiting import wait_until
from waguard.core import delivery
from waguard.core.delivery import Cause
from waguard.core.inbox import event_id
from waguard.host.lived import LivedTime
from waguard.messaging import dead_letters, signing, webhook_post
from waguard.messaging.signing import sign
from waguard.messaging.timings import WebhookTimings
from waguard.messaging.webhook_sender import seconds
from waguard.ports.messages import Endpoint


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


@pytest.mark.parametrize(
    "trouble",
    [500, 502, 503, 408, 425, CLOSE, (503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})],
    ids=str,
)
async def test_is_tried_again_signed_anew_as_the_same_event(
    receiver: Receiver, tmp_path: Path, trouble: Trouble
) -> None:
    receiver.troubles.extend([trouble] * 3)
    times = itertools.count(1_732_240_000)
    async with gateway(tmp_path, receiver.url, wall=lambda: next(times)) as it:
        it.put(event(1))
        await receiver.wait_taken(1)
    assert len(receiver.attempts) == 4
    assert all(attempt.signed for attempt in receiver.attempts)
    assert len({attempt.headers["X-Timestamp"] for attempt in receiver.attempts}) == 4
    assert len({attempt.headers["X-Waguard-Event-Id"] for attempt in receiver.attempts}) == 1
    assert len({attempt.body for attempt in receiver.attempts}) == 1


async def test_nobody_listens_yet(logged: list[str], tmp_path: Path, dead_port: int) -> None:
    async with gateway(tmp_path, f"http://127.0.0.1:{dead_port}/hook") as it:
        it.put(event(1))
        await wait_until(lambda: any("delivery failed" in line for line in logged), "it was tried")
        async with receiving(port=dead_port) as receiver:
            assert (await receiver.wait_taken(1))[0]["data"]["message"] == {"body": "body 1"}


async def test_one_that_hangs_has_a_deadline(receiver: Receiver, tmp_path: Path) -> None:
    receiver.troubles.append(HANG)
    async with gateway(tmp_path, receiver.url, timings=WebhookTimings(attempt=0.1)) as it:
        it.put(event(1))
        await receiver.wait_taken(1)
    assert [attempt.answer for attempt in receiver.attempts] == [HANG, 200]


async def test_a_status_is_an_answer_also_when_its_body_is_torn(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.append(TORN)
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        it.put(event(2))
        await receiver.wait_taken(2)
    # the application does not dedupe: 2xx was said, so it is never sent again
    assert [attempt.answer for attempt in receiver.attempts] == [TORN, 200]


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 410, 413, 422])
async def test_what_will_never_be_taken_is_a_dead_letter_at_once(
    receiver: Receiver, tmp_path: Path, logged: list[str], status: int
) -> None:
    receiver.troubles.append((status, {"Location": "/hook", "Set-Cookie": "a=b"}))
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        it.put(event(2))
        await receiver.wait_taken(1)
        assert await it.drained()
        [letter] = await it.dead()
    assert (letter.attempts, letter.error) == (1, f"the receiver answered {status}")
    assert [attempt.payload["data"]["message"]["body"] for attempt in receiver.attempts] == [
        "body 1",
        "body 2",
    ]
    assert "Cookie" not in receiver.attempts[1].headers
    [line] = [line for line in logged if "given up" in line]
    assert str(status) in line
    assert "body 1" not in "".join(logged)


async def test_what_nobody_takes_in_time_is_a_dead_letter_and_the_next_goes_on(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.extend([500] * 3)
    times = iter([0.0] * 20)
    now = [1_000.0]

    def wall() -> float:
        now[0] += 1.0 if next(times, None) is None else 0.0
        return now[0] + len(receiver.attempts) * 40.0

    async with gateway(
        tmp_path, receiver.url, policy=replace(QUICK, give_up_after=100.0), wall=wall
    ) as it:
        it.put(event(1))
        await wait_until(lambda: len(receiver.attempts) >= 3, "it was tried for long")
        it.put(event(2))
        taken = await receiver.wait_taken(1)
        assert await it.drained()
        [letter] = await it.dead()
    assert [payload["data"]["message"]["body"] for payload in taken] == ["body 2"]
    assert "not taken within" in letter.error
    assert "500" in letter.error


async def test_what_waits_behind_a_dead_receiver_for_too_long_is_not_tried(
    receiver: Receiver, tmp_path: Path
) -> None:
    now = [1_000.0]
    policy = replace(QUICK, give_up_after=100.0)
    async with gateway(tmp_path, None, policy=policy, wall=lambda: now[0]) as it:
        it.settings = type(it.settings)(url=receiver.url)
        receiver.free.clear()
        it.put(*(event(number, session=str(number % 20)) for number in range(40)))
        await wait_until(lambda: receiver.arrived == 8, "the places are full")
        now[0] += 200.0
        receiver.troubles.extend([500] * 8)
        receiver.free.set()
        assert await it.drained()
        letters = await it.dead()
    assert len(letters) == 40 - len(receiver.taken())
    assert len(letters) >= 32
    assert len(receiver.attempts) < 20


@pytest.mark.parametrize("hours", [1, 24, -1, -24, 24 * 365])
async def test_a_step_of_the_clock_ends_no_delivery(
    receiver: Receiver, tmp_path: Path, hours: int
) -> None:
    clock, policy = Clock(), replace(QUICK, give_up_after=100.0)
    ages = LivedTime(tmp_path / "state", clock)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=clock.wall, ages=ages) as it:
        receiver.free.clear()
        it.put(event(1), event(2), event(3, session="b"))
        await wait_until(lambda: receiver.arrived == 2, "they are tried")
        clock.at += hours * 3600.0
        receiver.troubles.extend([500] * 4)
        receiver.free.set()
        await receiver.wait_taken(3)
        assert await it.drained()
        assert await it.dead() == []


async def test_days_without_power_end_no_delivery(receiver: Receiver, tmp_path: Path) -> None:
    clock, policy = Clock(), replace(QUICK, give_up_after=100.0)
    receiver.troubles.extend([500] * 1000)
    ages = LivedTime(tmp_path / "state", clock)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=clock.wall, ages=ages) as it:
        it.put(event(1), event(2))
        await wait_until(lambda: receiver.attempts, "it is tried")
    ages.save()
    clock.at, clock.up = clock.at + 2 * 86_400.0, 7.0
    before = len(receiver.attempts)
    ages = LivedTime(tmp_path / "state", clock)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=clock.wall, ages=ages) as it:
        await wait_until(lambda: len(receiver.attempts) >= before + 2, "it is tried again")
        assert await it.dead() == []
        clock.live(200.0)  # that, however, is too long
        assert await it.drained()
        assert [letter.cause for letter in await it.dead()] == [Cause.EXPIRED] * 2


async def test_after_a_429_everybody_is_quiet(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TOO_MANY_PAUSE", 0.3)
    receiver.troubles.append(429)
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1, session="a"))
        await wait_until(lambda: receiver.attempts, "it was payload so")
        await wait_until(
            lambda: "*" in it.webhooks._queues and it.queue()._circuit.state.opened_until,
            "it is quiet",
        )
        for number in range(2, 12):
            it.put(event(number, session=f"s{number}"))
        await receiver.wait_taken(11)
    first, *later = receiver.attempts
    assert min(attempt.at for attempt in later) - first.at >= 0.29


async def test_what_was_in_flight_at_a_429_does_not_end_the_pause(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TOO_MANY_PAUSE", 0.4)
    receiver.free.clear()
    receiver.troubles.append(429)
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1, session="a"), event(2, session="b"))
        await wait_until(lambda: receiver.arrived == 2, "both are on their way")
        receiver.free.set()
        await receiver.wait_taken(1)
        it.put(event(3, session="c"))
        await receiver.wait_taken(3)
    limited, _, *later = receiver.attempts
    assert limited.answer == 429
    assert min(attempt.at for attempt in later) - limited.at >= 0.39


async def test_a_shorter_pause_does_not_end_a_longer_one(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TOO_MANY_PAUSE", 0.5)
    receiver.free.clear()
    receiver.troubles.extend([429, (429, {"Retry-After": "0"})])
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1, session="a"), event(2, session="b"))
        await wait_until(lambda: receiver.arrived == 2, "both are on their way")
        receiver.free.set()
        await receiver.wait_taken(2)
    first, _, *later = receiver.attempts
    assert min(attempt.at for attempt in later) - first.at >= 0.49


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


async def test_an_event_that_is_no_json_is_told_as_well_as_can_be(
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


async def test_a_bug_in_one_delivery_does_not_end_the_lane(
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


async def test_a_session_has_a_receiver_of_its_own(receiver: Receiver, tmp_path: Path) -> None:
    async with receiving() as own, gateway(tmp_path, receiver.url, allow_private=True) as it:
        secret = "a secret of its own"
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=secret))
        it.put(event(1, session="a"), event(2, session="b"))
        await receiver.wait_taken(2)
        await own.wait_taken(1)
        assert await it.drained()
        [attempt] = own.attempts
        assert attempt.payload["data"]["session_id"] == "a"
        signed = attempt.headers["X-Timestamp"], attempt.body
        assert attempt.headers["X-Hmac-Signature"] == sign(secret.encode(), *signed)
        assert await it.webhooks.delete_endpoint("a")
        await it.stored(event(3, session="a"))
        await receiver.wait_taken(3)
    assert len(own.attempts) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_session_may_not_send_us_to_ourselves(
    receiver: Receiver, tmp_path: Path, host: str
) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    async with gateway(tmp_path, None) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=url, secret=None))
        it.put(event(1))
        assert await it.drained()
        [letter] = await it.dead()
    assert "address is refused" in letter.error
    assert receiver.arrived == 0


async def test_a_name_that_leads_to_us_is_refused_when_it_is_resolved(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was harmless when it was set, and is bound to another address now."""

    async def rebound(self: Any, host: str, port: int = 0, family: Any = None) -> list[Any]:
        assert host == "harmless.example"
        address = {"hostname": host, "host": "127.0.0.1", "port": port}
        return [address | {"family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr(ThreadedResolver, "resolve", rebound)
    url = receiver.url.replace("127.0.0.1", "harmless.example")
    async with gateway(tmp_path, None) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=url, secret=None))
        it.put(event(1))
        assert await it.drained()
        [letter] = await it.dead()
        assert "the address is refused: it is a private address" in letter.error
        it.configure(allow_private=True)
        assert await it.webhooks.dead_letters.replay() == 1
        await receiver.wait_taken(1)


async def test_a_global_address_that_is_no_longer_set(receiver: Receiver, tmp_path: Path) -> None:
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url) as it:
        await it.stored(event(1))
    async with gateway(tmp_path, None) as it:
        assert await it.drained()
        assert [letter.error for letter in await it.dead()] == [dead_letters.UNSET]
        receiver.free.set()
        it.configure(url=receiver.url)
        assert await it.drained()
        assert await it.webhooks.dead_letters.replay() == 1
        assert await it.drained()
        assert len(receiver.taken()) == 1


@pytest.mark.parametrize(
    ("header", "wanted"),
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
def test_retry_after_is_seconds_or_a_date(header: str | None, wanted: float | None) -> None:
    assert seconds(header, now=1_732_240_000.0) == wanted  # 01:46:40
