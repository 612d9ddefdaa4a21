"""Order, what is left out, what is dropped, and what is left at the end."""

import pytest

from tests.messaging.receiver import (
    CLOSE,
    Receiver,
    event,
    free_port,
    sink_to,
)
from tests.waiting import wait_until
from waguard.messaging import webhook
from waguard.messaging.webhook import WEBHOOK_EVENTS
from waguard.policy.delivery import DeliveryPolicy


async def test_events_of_a_session_stay_in_order_whatever_fails(receiver: Receiver) -> None:
    for trouble in (500, CLOSE, 503, 408, CLOSE):
        receiver.troubles.extend([trouble, 200])
    async with sink_to(receiver.url) as sink:
        for number in range(1, 31):
            await sink.put(event(number, session="ab"[number % 2]))
        taken = await receiver.wait_taken(30)
    for session in "ab":
        bodies = [
            told["data"]["message"]["body"]
            for told in taken
            if told["data"]["session_id"] == session
        ]
        assert bodies == sorted(bodies, key=lambda body: int(body.split()[1]))
        assert len(bodies) == 15


async def test_one_session_does_not_hold_up_another(receiver: Receiver) -> None:
    slow = DeliveryPolicy(attempts=5, base_delay=60.0, max_delay=60.0)
    receiver.troubles.append(500)
    async with sink_to(receiver.url, policy=slow) as sink:
        await sink.put(event(1, session="a"))
        await wait_until(lambda: receiver.attempts, "the first one failed")
        await sink.put(event(2, session="b"))
        taken = await receiver.wait_taken(1)
        assert taken[0]["data"]["session_id"] == "b"
        assert sink.waiting() == 1


async def test_only_so_many_run_at_a_time(receiver: Receiver) -> None:
    receiver.free.clear()
    async with sink_to(receiver.url) as sink:
        for number in range(30):
            await sink.put(event(number, session=str(number)))
        await wait_until(lambda: receiver.arrived == webhook.CONCURRENT, "the places are full")
        assert sink.waiting() == 30
        receiver.free.set()
        await receiver.wait_taken(30)


async def test_what_is_outdated_is_left_out_and_messages_never(receiver: Receiver) -> None:
    receiver.free.clear()
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1))
        await wait_until(lambda: receiver.arrived, "the first one is on its way")
        for number, name in enumerate(
            [
                "qr_code_generated",
                "message_received",
                "session_authenticated",
                "message_status_updated",
                "session_disconnected",
                "session_ready",
                "message_sent",
            ]
        ):
            await sink.put(event(number, name))
        await sink.put(event(9, "qr_code_generated", session="b"))
        assert sink.waiting() == 6  # a session that shows codes for hours fills no queue
        receiver.free.set()
        taken = await receiver.wait_taken(6)
        assert await sink.drain(1.0) == 0
    of_a = [told["event"] for told in taken if told["data"]["session_id"] == "a"]
    assert of_a == [
        "message_received",
        "message_received",
        "message_status_updated",
        "session_ready",
        "message_sent",
    ]


async def test_what_becomes_outdated_between_two_attempts_is_left_out(receiver: Receiver) -> None:
    receiver.free.clear()
    receiver.troubles.extend([500, 200])
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1, "session_disconnected"))
        await wait_until(lambda: receiver.arrived, "it is on its way")
        await sink.put(event(2, "session_ready"))
        receiver.free.set()
        assert (await receiver.wait_taken(1))[0]["event"] == "session_ready"
    assert len(receiver.attempts) == 2


async def test_only_what_the_application_knows_is_delivered(receiver: Receiver) -> None:
    assert {"lifecycle", "link", "incident"}.isdisjoint(WEBHOOK_EVENTS)
    async with sink_to(receiver.url) as sink:
        for name in ("lifecycle", "link", "incident"):
            await sink.put(event(1, name))
        assert sink.waiting() == 0
        await sink.put(event(2))
        assert len(await receiver.wait_taken(1)) == 1
    assert len(receiver.attempts) == 1


@pytest.mark.parametrize(("name", "limit"), [("QUEUE_LIMIT", 5), ("QUEUE_BYTES", 450)])
async def test_the_queue_is_bounded_and_says_what_it_drops(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[str],
    name: str,
    limit: int,
) -> None:
    monkeypatch.setattr(webhook, name, limit)
    receiver.free.clear()
    async with sink_to(receiver.url) as sink:
        await sink.put(event(10))
        await wait_until(lambda: receiver.arrived, "the first one is on its way")
        for number in range(11, 20):
            await sink.put(event(number))
        kept = sink.waiting()
        assert 3 <= kept <= 5
        receiver.free.set()
        taken = await receiver.wait_taken(kept)
        assert await sink.drain(1.0) == 0
    # the one on its way, then the newest
    numbers = [int(told["data"]["message"]["body"].split()[1]) for told in taken]
    assert numbers == [10, *range(20 - kept + 1, 20)]
    assert sum("dropped" in line for line in logged) == 10 - kept
    assert "body 1" not in "".join(logged)


async def test_drain_says_how_many_are_left(logged: list[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}/hook"
    patient = DeliveryPolicy(attempts=5, base_delay=60.0, max_delay=60.0)
    async with sink_to(url, policy=patient) as sink:
        assert await sink.drain(0.01) == 0
        for number in range(3):
            await sink.put(event(number))
        assert await sink.drain(0.05) == 3
    assert any("not delivered before the stop" in line and "3" in line for line in logged)
