"""Bodies of webhooks in memory: as long as their queue has them there, and else read again."""

from typing import cast

from tests.core.webhooks.queues import Driven, item
from waguard.core.webhooks.facts import NotYet
from waguard.core.webhooks.partition import MemoryWindow
from waguard.messaging.webhooks.attempt import Bodies
from waguard.ports.messages import MessageStore

AWAY = NotYet("it is not connected")
FEW = MemoryWindow(partition=2)


class Bench:
    """``reads`` are the numbers of those that were asked of the database."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.bodies = Bodies(cast("MessageStore", self))

    async def body(self, number: int, event_id: str, *, pending: bool = True) -> bytes | None:
        self.reads.append(number)
        return b"read"

    async def get(self, *numbers: int) -> list[bytes | None]:
        return [await self.bodies.get(item(number)) for number in numbers]


async def test_what_came_with_its_webhook_is_not_read_again_until_that_was_tried() -> None:
    bench, driven = Bench(), Driven(item(1), item(2))
    bench.bodies.keep({1: b"1"}, driven.queue)
    assert await bench.get(1, 1, 2) == [b"1", b"1", b"read"]
    bench.bodies.drop(1)
    bench.bodies.drop(2)
    assert await bench.get(1) == [b"read"]
    assert bench.reads == [2, 1]


async def test_what_the_queue_has_forgotten_or_holds_goes() -> None:
    chats = [item(number, f"{number}@c.us") for number in range(1, 4)]
    bench, driven = Bench(), Driven(*chats, window=FEW)
    driven.poke()
    bench.bodies.keep(dict.fromkeys(range(1, 8), b"kept"), driven.queue)
    for sent in list(driven.in_flight):
        driven.answer(sent, AWAY)
    assert driven.queue.count == len([*driven.queue.all_held()]) == 3
    bench.bodies.tidy(driven.queue)
    assert await bench.get(*range(1, 8)) == [b"read"] * 7


async def test_what_is_in_memory_stays() -> None:
    chats = [item(number, f"{number}@c.us") for number in range(1, 4)]
    bench, driven = Bench(), Driven(*chats, window=FEW)
    driven.poke()
    bench.bodies.keep(dict.fromkeys(range(1, 8), b"kept"), driven.queue)
    bench.bodies.tidy(driven.queue)
    assert await bench.get(*range(1, 8)) == [*[b"kept"] * 3, *[b"read"] * 4]


async def test_a_queue_without_room_keeps_no_bodies() -> None:
    bench, driven = Bench(), Driven(item(1), item(2), window=MemoryWindow(memory=2))
    driven.poke()
    bench.bodies.keep({3: b"kept"}, driven.queue)
    assert await bench.get(3) == [b"read"]
