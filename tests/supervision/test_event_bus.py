"""The bus: everything, in order, for everybody, and nobody who is slow hurts the others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.supervision.fake_host import START, FakeClock
from waguard.ports.bus import BusEvent
from waguard.supervision.event_bus import BYTES, PROMISED, QUEUE_LIMIT, REPLAYED, Bus

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def bus() -> Bus:
    return Bus(FakeClock())


def publish(bus: Bus, count: int, start: int = 0) -> list[BusEvent]:
    return [bus.publish("lifecycle", "s", 7, {"n": n}) for n in range(start, start + count)]


async def read(events: AsyncIterator[BusEvent], count: int) -> list[BusEvent]:
    return [await anext(events) for _ in range(count)]


async def read_all(events: AsyncIterator[BusEvent]) -> list[BusEvent]:
    return [event async for event in events]


async def test_an_event_is_what_was_published() -> None:
    clock = FakeClock()
    bus = Bus(clock)
    clock.advance(3)
    async with bus.subscribe() as events:
        reported = bus.publish("link", "s-1", 7, {"to": "connected"})
        assert await anext(events) is reported
    assert (reported.event, reported.session_id, reported.workspace_id) == ("link", "s-1", 7)
    assert reported.at == START + clock.now
    assert reported.data == {"to": "connected"}


async def test_every_listener_gets_every_event_in_order(bus: Bus) -> None:
    async with bus.subscribe() as one, bus.subscribe() as two:
        reported = publish(bus, 50)
        assert await read(one, 50) == reported
        assert await read(two, 50) == reported
    assert [event.id for event in reported] == sorted({event.id for event in reported})


async def test_without_a_last_id_only_what_comes(bus: Bus) -> None:
    publish(bus, 3)
    async with bus.subscribe() as events:
        (reported,) = publish(bus, 1, start=3)
        assert await anext(events) == reported


async def test_earlier_events_come_first_and_once(bus: Bus) -> None:
    past = publish(bus, PROMISED + 1)
    async with bus.subscribe(past[0].id) as events:
        fresh = publish(bus, 2, start=PROMISED + 1)
        assert await read(events, PROMISED + 2) == [*past[1:], *fresh]


async def test_more_than_is_kept_is_replayed_from_the_oldest_that_is(bus: Bus) -> None:
    past = publish(bus, REPLAYED + 10)
    async with bus.subscribe(past[0].id) as events:
        assert await read(events, REPLAYED) == past[10:]


@pytest.mark.parametrize(
    "data", [{"text": "x" * (BYTES + 1)}, {"message": {"parts": ["x" * (BYTES + 1), 1]}}]
)
async def test_of_long_texts_no_more_are_kept_than_are_promised(
    bus: Bus, data: dict[str, Any]
) -> None:
    past = publish(bus, PROMISED - 1)
    past.append(bus.publish("message_received", "s", 7, data))
    past += publish(bus, PROMISED - 1)
    async with bus.subscribe(past[0].id - 1) as events:
        assert await read(events, PROMISED) == past[-PROMISED:]
    past += publish(bus, REPLAYED)  # it is forgotten: there is room again
    async with bus.subscribe(past[0].id) as events:
        assert await read(events, REPLAYED) == past[-REPLAYED:]


async def test_ids_grow_over_a_restart_and_fit_in_a_double() -> None:
    clock = FakeClock()
    earlier = publish(Bus(clock), 500)
    clock.advance(0.001)  # no daemon restarts faster
    later = publish(Bus(clock), 1)
    assert later[0].id > earlier[-1].id
    assert later[0].id < 2**53


async def test_after_a_restart_with_the_clock_set_back_all_that_is_known_is_replayed() -> None:
    clock = FakeClock()
    (last,) = publish(Bus(clock), 1)
    clock.ahead = -3_600.0
    bus = Bus(clock)
    later = publish(bus, 2)
    async with bus.subscribe(last.id) as events:
        assert await read(events, 2) == later
    async with bus.subscribe(later[-1].id) as events:
        bus.close()
        assert await read_all(events) == []


async def test_a_listener_that_lags_is_ended_without_a_gap(bus: Bus) -> None:
    """It can come back with its last id and has missed nothing."""
    async with bus.subscribe() as slow, bus.subscribe() as quick:
        reported = publish(bus, QUEUE_LIMIT - 1)
        assert await read(quick, QUEUE_LIMIT - 1) == reported
        reported += publish(bus, 5, start=QUEUE_LIMIT - 1)
        got = await read_all(slow)
        assert got == reported[: len(got)]
        assert len(got) == QUEUE_LIMIT
        assert await read(quick, 5) == reported[-5:]
    async with bus.subscribe(got[-1].id) as again:
        assert await read(again, 4) == reported[-4:]


async def test_closing_ends_listeners_after_what_they_have_to_read(bus: Bus) -> None:
    async with bus.subscribe() as events:
        reported = publish(bus, 3)
        bus.close()
        publish(bus, 1)
        assert await read_all(events) == reported


@pytest.mark.parametrize("waiting", [0, 1])
async def test_closing_ends_one_with_a_full_queue(
    waiting: int,
) -> None:
    bus = Bus(FakeClock(), queue_limit=10)
    async with bus.subscribe() as events:
        reported = publish(bus, 10 + waiting)
        bus.close()
        assert await read_all(events) == reported[:10]


async def test_closing_wakes_one_that_waits(bus: Bus) -> None:
    async with bus.subscribe() as events:
        waiting = asyncio.create_task(read_all(events))
        await asyncio.sleep(1)
        bus.close()
        assert await waiting == []


async def test_who_comes_after_the_end_gets_the_past_and_the_end(bus: Bus) -> None:
    past = publish(bus, 2)
    bus.close()
    async with bus.subscribe(past[0].id) as events:
        assert await read_all(events) == past[1:]
    async with bus.subscribe() as events:
        assert await read_all(events) == []


async def test_one_that_left_hears_nothing_more(bus: Bus) -> None:
    async with bus.subscribe() as events:
        pass
    publish(bus, 1)
    bus.close()
    reading = asyncio.create_task(read_all(events))
    await asyncio.sleep(1)
    assert not reading.done()
    reading.cancel()
