"""Whose turn it is among the chats of a session."""

import asyncio
from typing import Any

from tests.waiting import wait_until
from waguard.errors import WaguardError
from waguard.messaging.outbox.chat_queues import ChatQueues
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.timings import SendTimings


class Waiting:
    """A message in a chat of its own."""

    session_id, bulk_id, held, rests_until = "s", None, False, 0.0

    def __init__(self, number: int) -> None:
        self.id, self.chat_key = number, f"{number}@c.us"


def a_message(number: int) -> Any:
    """As far as its turn is concerned."""
    return Waiting(number)


async def test_what_was_tried_in_vain_lets_others_go_first() -> None:
    """Its file is on a host that is away: it is asked for again and again."""
    tried: list[int] = []
    places: list[None] = [None, None]

    async def ready(_: float) -> None:
        return

    async def send(pending: PendingSend) -> bool:
        tried.append(pending.id)
        pending.rests_until = asyncio.get_running_loop().time()
        return pending.id > 2

    def acquire(*, bulk: bool) -> float:
        assert not bulk
        if not places:
            return 3_600.0
        places.pop()
        return 0.0

    def lose(pending: PendingSend, error: WaguardError) -> None:
        raise AssertionError((pending, error))

    queues = ChatQueues(ready, send, lose, acquire, timings=SendTimings(retry=0.0))
    for number in (1, 2):
        queues.add(a_message(number))
    await wait_until(lambda: tried == [1, 2], "both were tried in vain")
    queues.add(a_message(3))
    places.append(None)
    queues.wake()
    await wait_until(lambda: len(tried) > 2, "there was a place for one more")
    assert tried == [1, 2, 3]
    await queues.close(0.0)


async def test_what_was_tried_in_vain_goes_before_a_bulk() -> None:
    """All of the bulk is due: it would wait for hours."""
    tried: list[int] = []
    places: list[None] = [None]

    async def ready(_: float) -> None:
        return

    async def send(pending: PendingSend) -> bool:
        tried.append(pending.id)
        if tried == [9]:
            pending.rests_until = asyncio.get_running_loop().time()
            return False
        return True

    def acquire(*, bulk: bool) -> float:
        del bulk
        if not places:
            return 3_600.0
        places.pop()
        return 0.0

    def lose(pending: PendingSend, error: WaguardError) -> None:
        raise AssertionError((pending, error))

    queues = ChatQueues(ready, send, lose, acquire, timings=SendTimings(retry=0.0))
    queues.add(a_message(9))
    await wait_until(lambda: tried == [9], "it was tried in vain")
    for number in (1, 2):
        bulk = a_message(number)
        bulk.bulk_id = "bulk"
        queues.add(bulk)
    places.append(None)
    queues.wake()
    await wait_until(lambda: len(tried) > 1, "there was a place for one more")
    assert tried == [9, 9]
    await queues.close(0.0)
