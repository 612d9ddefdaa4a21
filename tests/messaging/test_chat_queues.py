"""Whose turn it is among the chats of a session."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.waiting import wait_until
from waguard.errors import WaguardError
from waguard.messaging.outbox.chat_queues import ChatQueues
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.timings import SendTimings


class Waiting:
    """A message in a chat of its own."""

    session_id, bulk_id, held, rests_until = "s", None, False, 0.0
    again_after = (0, 0)

    def __init__(self, number: int) -> None:
        self.id, self.chat_key = number, f"{number}@c.us"


def a_message(number: int) -> Any:
    """As far as its turn is concerned."""
    return Waiting(number)


class Scripted(ChatQueues):
    """Those of a session that is ready, with so many places left at its pace."""

    def __init__(self, send: Callable[[PendingSend], bool], *, places: int) -> None:
        self.tried: list[int] = []
        self.places = places
        self.bulk_asked = False

        async def ready(_: float) -> None:
            return

        async def tried(pending: PendingSend) -> bool:
            self.tried.append(pending.id)
            pending.rests_until = asyncio.get_running_loop().time()
            return send(pending)

        def acquire(*, bulk: bool) -> float:
            self.bulk_asked |= bulk
            if not self.places:
                return 3_600.0
            self.places -= 1
            return 0.0

        def lose(pending: PendingSend, error: WaguardError) -> None:
            raise AssertionError((pending, error))

        super().__init__(ready, tried, lose, acquire, timings=SendTimings(retry=0.0))

    async def next_after(self, count: int) -> list[int]:
        """Those that were tried, when there was a place for one more."""
        await self.one_more(count)
        await self.close(0.0)
        return self.tried

    async def one_more(self, count: int) -> None:
        """There is a place for one more than so many."""
        self.places += 1
        self.wake()
        await wait_until(lambda: len(self.tried) > count, "there was a place for one more")


async def test_what_was_tried_in_vain_lets_others_go_first() -> None:
    """Its file is on a host that is away: it is asked for again and again."""
    queues = Scripted(lambda pending: pending.id > 2, places=2)
    for number in (1, 2, 3):
        queues.add(a_message(number))
    await wait_until(lambda: queues.tried == [1, 2], "two were tried in vain")
    await queues.one_more(2)
    queues.add(a_message(4))  # came after both tries
    await queues.one_more(3)
    await queues.one_more(4)
    assert await queues.next_after(5) == [1, 2, 3, 1, 2, 4]
    assert not queues.bulk_asked


async def test_what_was_tried_in_vain_does_not_wait_for_all_that_comes_later() -> None:
    """More come all the time than the pace lets go."""
    queues = Scripted(lambda pending: pending.id != 1 or len(queues.tried) > 1, places=1)
    for number in (1, 2, 3):
        queues.add(a_message(number))
    await wait_until(lambda: queues.tried == [1], "it was tried in vain")
    for number in (4, 5, 6):
        queues.add(a_message(number))
        await queues.one_more(number - 3)
    await queues.close(0.0)
    assert queues.tried == [1, 2, 3, 1]


async def test_what_was_tried_in_vain_goes_before_a_bulk() -> None:
    """All of the bulk is due: it would wait for hours."""
    queues = Scripted(lambda _: len(queues.tried) > 1, places=1)
    queues.add(a_message(9))
    await wait_until(lambda: queues.tried == [9], "it was tried in vain")
    for number in (1, 2):
        bulk = a_message(number)
        bulk.bulk_id = "bulk"
        queues.add(bulk)
    assert await queues.next_after(1) == [9, 9]
