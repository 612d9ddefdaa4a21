"""Webhooks at the end of a daemon, and while the database is away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import QUICK, QUICK_CIRCUIT, gateway
from tests.messaging.holding import AWAY, PATIENT, until_held
from tests.messaging.receiver import Receiver, event, receiving
from tests.messaging.test_webhook_queue import message, numbers
from tests.waiting import wait_until
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError
from waguard.ports.messages import MessageStore


async def test_nothing_begins_while_the_database_cannot_be_written(
    receiver: Receiver, tmp_path: Path
) -> None:
    class Locked:
        locked = False

        def __init__(self, store: MessageStore) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            if name == "write" and Locked.locked:
                raise DatabaseUnavailableError("locked")
            return getattr(self._store, name)

    async with gateway(tmp_path, receiver.url, wrap=Locked) as it:
        receiver.free.clear()
        await it.stored(*(message(n, f"{n}@c.us", session=f"s{n}") for n in range(40)))
        await wait_until(lambda: receiver.arrived == 8, "the places are full")
        Locked.locked = True
        receiver.free.set()
        await wait_until(lambda: it.journal.refusal, "it was seen")
        await wait_until(
            lambda: "*" in it.webhooks.queues and not it.queue().state.in_flight,
            "what was begun is taken",
        )
        assert receiver.arrived <= 16
        assert len(await it.pending()) == 40
        Locked.locked = False
        await receiver.wait_taken(40)
        assert await it.drained()
    assert len(receiver.attempts) == 40


async def test_before_the_sessions_stop_what_can_go_goes_and_what_is_in_flight_is_answered(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.append(500)
    async with gateway(tmp_path, receiver.url, policy=PATIENT) as it:
        it.connections["away"] = AWAY
        it.put(message(1, session="late"))
        await wait_until(lambda: receiver.attempts, "it failed and waits for its time")
        it.put(message(2, session="away"))
        await until_held(it, 1)
        receiver.free.clear()
        it.put(message(3), message(4))
        await wait_until(lambda: receiver.arrived == 2, "one is on its way")
        asyncio.get_running_loop().call_later(0.05, receiver.free.set)
        await it.webhooks.wind_down(begin=10.0, answer=10.0)
        assert numbers(receiver.taken()) == [3, 4]
        # now the sessions stop
        await it.stored(message(5), event(6, "session_disconnected"))
        await it.webhooks.drain_sessions(10.0)
        assert receiver.taken()[2]["event"] == "session_disconnected"
        assert len(receiver.attempts) == 4
        assert len(await it.pending()) == 3


async def test_a_clock_that_is_set_back_delays_nothing(receiver: Receiver, tmp_path: Path) -> None:
    now = [1_000_000.0]
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        receiver.free.clear()
        await it.stored(*(message(n) for n in range(3)))
        await wait_until(lambda: receiver.arrived, "it is on its way")
        now[0] -= 86_400.0
        receiver.free.set()
        await receiver.wait_taken(3)
        assert await it.drained()


async def poisoned(folder: Path, chats: int, count: int) -> tuple[int, int]:
    """So many events that the receiver cannot digest wait, in so many chats: how many of 20 other
    chats' messages it gets, and how many attempts that took once they were stored."""

    class Picky(Receiver):
        async def handle(self, request: Any) -> Any:
            bad = b"poison" in await request.read()
            self.troubles.extend([500] if bad else [])
            return await super().handle(request)

    circuit = replace(QUICK_CIRCUIT, base_pause=0.01, max_pause=0.5, max_pause_answering=0.05)
    policy = replace(QUICK, base_delay=60.0, max_delay=60.0, circuit=circuit)
    async with receiving(Picky()) as receiver:
        async with gateway(folder, None) as it:
            it.settings = type(it.settings)(url=receiver.url)
            for start in range(0, count, 5_000):
                it.put(
                    *(
                        event(n, message={"id": f"false_{n % chats}@c.us_{n}", "body": "poison 0"})
                        for n in range(start, start + 5_000)
                    )
                )
                assert await it.journal.flushed(60.0)
        async with gateway(folder, receiver.url, policy=policy) as it:
            await wait_until(lambda: receiver.attempts, "it has begun")
            it.put(*(message(n, f"good-{n}@c.us", session=f"s{n}") for n in range(20)))
            assert await it.journal.flushed(60.0)
            before = len(receiver.attempts)
            await receiver.wait_taken(20)
            return len(receiver.taken()), len(receiver.attempts) - before


@pytest.mark.parametrize(
    ("chats", "count"),
    [
        (1, 10_000),
        pytest.param(1, 50_000, marks=pytest.mark.long),
        pytest.param(10_000, 50_000, marks=pytest.mark.long),
    ],
)
async def test_what_the_receiver_cannot_digest_stalls_nobody_else(
    tmp_path: Path, chats: int, count: int
) -> None:
    taken, attempts = await poisoned(tmp_path, chats, count)
    assert taken == 20
    assert attempts < 100
