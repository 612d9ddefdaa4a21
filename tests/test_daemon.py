import asyncio

from waguard.daemon import _feed
from waguard.host.clock import SystemClock
from waguard.ports import BusEvent
from waguard.supervision.bus import QUEUE_LIMIT, Bus


class Shelf:
    """A sink that keeps what it gets, and chokes on one event."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    async def put(self, event: BusEvent) -> None:
        if event.event == "indigestible":
            raise RuntimeError("no")
        self.taken.append(event.id)


async def test_the_feed_goes_on_where_it_was_cut_off_for_its_slowness() -> None:
    bus, shelf = Bus(SystemClock()), Shelf()
    feeding = asyncio.create_task(_feed(bus, shelf))
    await asyncio.sleep(0)
    # more at one go than a listener may lag behind
    ids = [bus.publish("x", "s1", 1, {}).id for _ in range(QUEUE_LIMIT + 500)]
    while ids[-1] not in shelf.taken:
        await asyncio.sleep(0)
    bus.close()
    await feeding
    assert shelf.taken == ids


async def test_an_event_that_the_sink_cannot_take_does_not_end_the_feed() -> None:
    bus, shelf = Bus(SystemClock()), Shelf()
    feeding = asyncio.create_task(_feed(bus, shelf))
    await asyncio.sleep(0)
    bus.publish("indigestible", "s1", 1, {})
    last = bus.publish("x", "s1", 1, {})
    bus.close()
    await feeding
    assert shelf.taken == [last.id]
