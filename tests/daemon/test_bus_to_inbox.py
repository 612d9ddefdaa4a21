import asyncio
from collections.abc import Mapping, Sequence

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.people import People
from waguard.daemon.bus_to_inbox import feed
from waguard.host.clock import SystemClock
from waguard.ports.inbox import Stored
from waguard.supervision.event_bus import QUEUE_LIMIT, Bus


class Shelf:
    """An inbox that keeps what it gets, and chokes on one event."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.expected: list[str] = []
        self.checked: list[str | None] = []
        self.full = False

    def put(
        self, received: Sequence[InboxRecord], stored: Stored, *, after: str | None = None
    ) -> None:
        for one in received:
            name, _, number = one.key.partition(":")
            if name == "session_error":
                raise RuntimeError("no")
            self.taken.append(int(number))

    async def flushed(self, timeout: float) -> bool:
        raise AssertionError("nobody asks")

    def expect_ready(self, session_id: str) -> None:
        self.expected.append(session_id)

    def not_ready(self, session_id: str) -> None:
        self.expected.remove(session_id)

    def check(self, session_id: str | None = None) -> None:
        self.checked.append(session_id)

    async def people(self, session_id: str) -> People:
        """Nobody has a LID."""
        return People()

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        raise AssertionError("nobody asks")


async def test_the_feed_goes_on_where_it_was_cut_off_for_its_slowness() -> None:
    bus, shelf = Bus(SystemClock()), Shelf()
    feeding = asyncio.create_task(feed(bus, shelf, shelf))
    await asyncio.sleep(0)
    # more at one go than a listener may lag behind
    ids = [bus.publish("session_ready", "s1", 1, {}).id for _ in range(QUEUE_LIMIT + 500)]
    while ids[-1] not in shelf.taken:
        await asyncio.sleep(0)
    bus.close()
    await feeding
    assert shelf.taken == ids


async def test_an_event_that_the_sink_cannot_take_does_not_end_the_feed() -> None:
    bus, shelf = Bus(SystemClock()), Shelf()
    feeding = asyncio.create_task(feed(bus, shelf, shelf))
    await asyncio.sleep(0)
    bus.publish("session_error", "s1", 1, {})
    last = bus.publish("session_ready", "s1", 1, {})
    bus.close()
    await feeding
    assert shelf.taken == [last.id]


async def test_only_what_the_application_knows_and_what_is_not_stored_yet_is_fed() -> None:
    bus, shelf = Bus(SystemClock()), Shelf()
    feeding = asyncio.create_task(feed(bus, shelf, shelf))
    await asyncio.sleep(0)
    bus.publish("lifecycle", "s1", 1, {})
    bus.publish("message_received", "s1", 1, {}, stored=True)
    last = bus.publish("qr_code_generated", "s1", 1, {})
    bus.close()
    await feeding
    assert shelf.taken == [last.id]


async def test_of_a_full_inbox_no_ready_is_expected() -> None:
    """It is not stored, and what the session's messages wait for would never come."""
    bus, shelf = Bus(SystemClock()), Shelf()
    feeding = asyncio.create_task(feed(bus, shelf, shelf))
    await asyncio.sleep(0)
    shelf.full = True
    bus.publish("session_ready", "s1", 1, {})
    bus.close()
    await feeding
    assert shelf.expected == []
    assert shelf.checked == ["s1"]
