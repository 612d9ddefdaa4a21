"""Where a limit is reached, or two things meet: what could be lost or doubled there."""

import asyncio
from collections.abc import Iterable

import pytest

from tests.messaging.outbox_world import World
from tests.messaging.receiver import Receiver, event, sink_to
from tests.waiting import wait_until
from waguard.messaging import webhook
from waguard.messaging.outbox import KEPT_FOR
from waguard.policy import delivery


async def test_a_send_in_flight_is_never_forgotten() -> None:
    world = World()
    world.sessions.free.clear()
    ticket = world.send()
    world.outbox.unanswered(ticket)  # its client left
    world.clock.now += KEPT_FOR + 1
    assert world.send() is ticket
    world.sessions.free.set()
    await world.outbox.result(ticket)
    assert len(world.sessions.sends()) == 1


async def test_where_one_part_ends_and_the_next_begins_counts() -> None:
    world = World()
    for session in ("s1", "s12"):
        world.sessions.known[session] = next(iter(world.sessions.known.values()))
    one = world.send(session="s1", chat="2345678@c.us")
    other = world.send(session="s12", chat="345678@c.us")
    assert one is not other
    await asyncio.gather(world.outbox.result(one), world.outbox.result(other))


async def test_when_the_one_on_its_way_is_dropped_the_next_is_not(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "QUEUE_LIMIT", 1)
    receiver.free.clear()
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1))
        await wait_until(lambda: receiver.arrived, "the first one is on its way")
        await sink.put(event(2))
        receiver.free.set()
        taken = await receiver.wait_taken(2)
        assert await sink.drain(1.0) == 0
    assert [told["data"]["message"]["body"] for told in taken] == ["body 1", "body 2"]


async def test_a_long_queue_of_messages_is_not_looked_through_again_and_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    outdated = delivery.outdated

    def counting(name: str, later: Iterable[str]) -> bool:
        nonlocal looks
        looks += 1
        return outdated(name, later)

    monkeypatch.setattr(delivery, "outdated", counting)
    receiver.free.clear()
    async with sink_to(receiver.url) as sink:
        for number in range(500):
            await sink.put(event(number))
        assert sink.waiting() == 500
    assert looks < 10


async def test_a_shorter_pause_does_not_end_a_longer_one(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TOO_MANY_PAUSE", 0.5)
    receiver.free.clear()
    receiver.troubles.extend([429, (429, {"Retry-After": "0"})])
    async with sink_to(receiver.url) as sink:
        await sink.put(event(1, session="a"))
        await sink.put(event(2, session="b"))
        await wait_until(lambda: receiver.arrived == 2, "both are on their way")
        receiver.free.set()
        await receiver.wait_taken(2)
    first, _, *later = receiver.attempts
    assert min(attempt.at for attempt in later) - first.at >= 0.49
