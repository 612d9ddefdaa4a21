"""Killed at every step: nothing is lost, and at most what was in flight is delivered twice."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.messaging.gateway import Gateway, gateway, kill
from tests.messaging.receiver import CLOSE, Receiver, Trouble, event, receiving
from tests.waiting import wait_until
from waguard.messaging.records import of_event
from waguard.ports.bus import BusEvent
from waguard.ports.messages import MessageStore

CHATS, EVENTS = 3, 12


def messages() -> list[BusEvent]:
    return [
        event(n, message={"id": f"false_{n % CHATS}@c.us_{n}", "body": f"body {n}"})
        for n in range(EVENTS)
    ]


class Doomed:
    """Kills at the n-th call to the store: before it, or when it is done and nobody knows."""

    def __init__(self, store: MessageStore, at: int, *, before: bool) -> None:
        self._store = store
        self._left = at
        self._before = before
        self.dead = asyncio.Event()
        self.busy = 0
        """Calls on their way; a thread of theirs must not outlive the loop."""

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left <= 0 and (self._before or self.dead.is_set()):
                await self._die()
            self.busy += 1
            try:
                result = await getattr(self._store, name)(*args, **kwargs)
            finally:
                self.busy -= 1
            if self._left <= 0:
                await self._die()
            return result

        return call

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()


class Worker:
    """Keeps what is not acknowledged, and says it again to the next daemon."""

    def __init__(self) -> None:
        self.kept = messages()

    def report(self, it: Gateway) -> None:
        for one in list(self.kept):
            it.journal.put((of_event(one),), lambda _, one=one: self._acknowledged(one))  # type: ignore[misc]

    def _acknowledged(self, one: BusEvent) -> None:
        self.kept = [kept for kept in self.kept if kept is not one]


async def run(folder: Path, receiver: Receiver, worker: Worker, doom: tuple[int, bool]) -> bool:
    """One daemon; whether it was killed."""
    made: list[Doomed] = []

    def wrap(store: MessageStore) -> Any:
        made.append(Doomed(store, doom[0], before=doom[1]))
        return made[0]

    async with gateway(folder, receiver.url, wrap=wrap) as it:
        worker.report(it)
        ended = asyncio.create_task(it.drained())
        dying = asyncio.create_task(made[0].dead.wait())
        await asyncio.wait({ended, dying}, return_when=asyncio.FIRST_COMPLETED)
        killed = made[0].dead.is_set()
        if killed:
            await wait_until(lambda: not made[0].busy, "no call is on its way")
            await kill(it)
        for task in (ended, dying):
            task.cancel()
        await asyncio.gather(ended, dying, return_exceptions=True)
        return killed


def evaluate(receiver: Receiver, worker: Worker, kills: int) -> None:
    taken = [one["data"]["message"]["id"] for one in receiver.taken()]
    counted = Counter(taken)
    assert set(counted) == {one.data["message"]["id"] for one in messages()}, "one is lost"
    assert sum(counted.values()) - EVENTS <= kills * CHATS, "more than what was in flight"
    for chat in range(CHATS):
        mine = [int(name.split("_")[2]) for name in taken if name.startswith(f"false_{chat}@")]
        # a repetition is of the last one only: the order never goes back
        assert mine == sorted(mine)
    assert worker.kept == []


async def stored_once(folder: Path) -> None:
    async with gateway(folder, None) as it, it.store._database.reading() as (connection, _):
        rows = (await connection.exec_driver_sql("SELECT key FROM waguard_inbox")).all()
        assert sorted(row[0] for row in rows) == sorted(
            f"message_received:{n}" for n in range(EVENTS)
        )
        left = (
            await connection.exec_driver_sql("SELECT count(*) FROM waguard_deliveries")
        ).scalar()
        assert left == 0


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_killed_at_every_step(tmp_path: Path, before: bool) -> None:  # noqa: FBT001
    step, killed = 0, True
    while killed:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        async with receiving() as receiver:
            worker = Worker()
            killed = await run(folder, receiver, worker, (step, before))
            assert not await run(folder, receiver, worker, (10_000, True))
        evaluate(receiver, worker, int(killed))
        await stored_once(folder)
    assert step > 4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
@pytest.mark.long
def test_killed_again_and_again_under_faults(seed: int, tmp_path_factory: Any) -> None:
    asyncio.run(campaign(random.Random(seed), tmp_path_factory.mktemp("crash")))


async def campaign(chance: random.Random, folder: Path) -> None:
    """A receiver that fails now and then, a daemon that is killed at any call to its store."""
    async with receiving() as receiver:
        troubles: list[Trouble] = [200, 200, 500, CLOSE, 503]
        receiver.troubles.extend(chance.choice(troubles) for _ in range(20))
        worker, kills = Worker(), 0
        for _ in range(5):
            doom = (chance.randrange(1, 25), chance.random() < 0.5)
            kills += await run(folder, receiver, worker, doom)
        assert not await run(folder, receiver, worker, (10_000, True))
    evaluate(receiver, worker, kills)
    await stored_once(folder)


async def test_a_kill_between_the_answer_and_its_mark_repeats_that_one(
    receiver: Receiver, tmp_path: Path
) -> None:
    """The one case in which it is delivered twice, and it is the same event."""

    class NeverMarked(Doomed):
        async def write(self, entries: Sequence[Any], results: Sequence[Any], **more: Any) -> Any:
            if results:
                await self._die()
            return await self.__getattr__("write")(entries, results, **more)

    made: list[NeverMarked] = []

    def wrap(store: MessageStore) -> Any:
        made.append(NeverMarked(store, 10_000, before=True))
        return made[0]

    async with gateway(tmp_path, receiver.url, wrap=wrap) as it:
        it.put(*messages()[:1])
        await made[0].dead.wait()
        await wait_until(lambda: not made[0].busy, "no call is on its way")
        await kill(it)
    assert len(receiver.taken()) == 1
    async with gateway(tmp_path, receiver.url) as it:
        assert await it.drained()
    first, second = receiver.attempts
    assert first.headers["X-Waguard-Event-Id"] == second.headers["X-Waguard-Event-Id"]


async def test_what_failed_waits_for_its_time_also_after_a_restart(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.append((503, {"Retry-After": "600"}))
    now = [1_000.0]
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        it.put(event(1))
        await wait_until(lambda: receiver.attempts, "it failed")
        assert await it.journal.flushed(10.0)
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        await wait_until(
            lambda: "*" in it.webhooks.queues and it.queue().state.count, "it is known"
        )
        assert len(receiver.attempts) == 1
        [waiting] = await it.pending()
        assert (waiting.attempts, waiting.next_at) == (1, 1_600.0)
    now[0] = 1_601.0
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        await receiver.wait_taken(1)
