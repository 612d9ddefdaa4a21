"""Sessions come to a host and go while its webhooks are delivered."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import Gateway, gateway
from tests.messaging.holding import AWAY, connect, until_held
from tests.messaging.receiver import Receiver, event, receiving
from tests.messaging.test_webhook_queue import message, numbers
from tests.waiting import DEADLINE, wait_until
from waguard.core.messages.inbox import File, InboxRecord
from waguard.core.replace import replace
from waguard.core.webhooks.session_gate import Connection
from waguard.host.files.media import MediaFolder
from waguard.messaging.records import of_event
from waguard.messaging.timings import WebhookTimings
from waguard.ports.messages import MessageStore, Written
from waguard.ports.webhooks import GLOBAL, Endpoint


async def acquire(it: Gateway, *sessions: str) -> None:
    await it.journal.acquire(sessions)
    await it.webhooks.owned.acquire(sessions)


async def lose(it: Gateway, *sessions: str) -> None:
    await it.webhooks.owned.lose(sessions)
    await it.journal.lose(sessions)


@pytest.fixture
async def first(receiver: Receiver, tmp_path: Path) -> AsyncIterator[Gateway]:
    timings = WebhookTimings(last_answer=0.05)
    async with gateway(tmp_path, receiver.url, in_cluster=True, timings=timings) as it:
        await acquire(it, "a", "b")
        yield it


@pytest.fixture
async def second(first: Gateway, receiver: Receiver, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path, receiver.url, in_cluster=True) as it:
        yield it


def of(taken: list[Any], session: str) -> list[Any]:
    return [it for it in taken if it["data"]["session_id"] == session]


async def test_one_of_many_sessions_leaves_and_the_others_notice_nothing(
    receiver: Receiver, first: Gateway, second: Gateway
) -> None:
    first.connections["a"] = second.connections["a"] = AWAY
    await first.stored(*(message(n, session="a") for n in range(1, 31)))
    await until_held(first, 1)
    await lose(first, "a")
    assert first.webhooks.queues.held() == []
    await first.stored(*(message(n, session="b") for n in range(31, 41)))
    await receiver.wait_taken(10)
    await second.stored(message(41, session="a"))
    connect(first)
    assert await first.drained()
    assert numbers(receiver.taken()) == list(range(31, 41)), "the queue of all has left it out"
    await acquire(second, "a")
    await until_held(second, 1)
    connect(second)
    taken = await receiver.wait_taken(41)
    assert await second.drained()
    assert numbers(of(taken, "a")) == [*range(1, 31), 41]
    assert len(receiver.attempts) == 41


async def test_what_is_in_flight_at_a_loss_is_repeated_by_the_next_owner_with_its_id(
    receiver: Receiver, first: Gateway, second: Gateway
) -> None:
    receiver.free.clear()
    await first.stored(message(1, session="a"), message(2, session="a"))
    await wait_until(lambda: receiver.arrived == 1, "it is in flight")
    await asyncio.wait_for(lose(first, "a"), DEADLINE)
    assert first.queue().state.idle
    assert first.queue().state.is_saved
    assert [it.attempts for it in await second.pending()] == [0, 0], "nothing was written"
    receiver.free.set()
    await acquire(second, "a")
    assert await second.drained()
    taken = [it for it in receiver.attempts if it.headers["X-Waguard-Event-Id"]]
    ids = [it.headers["X-Waguard-Event-Id"] for it in taken]
    assert len(set(ids)) == 2
    assert list(dict.fromkeys(ids)) == ids[-2:], "in order, the first one perhaps twice"


async def test_a_release_repeats_nothing(
    receiver: Receiver, tmp_path: Path, second: Gateway
) -> None:
    async with gateway(tmp_path, receiver.url, in_cluster=True) as it:
        await acquire(it, "a")
        receiver.free.clear()
        await it.stored(message(1, session="a"), message(2, session="a"))
        await wait_until(lambda: receiver.arrived == 1, "it is in flight")
        releasing = asyncio.create_task(it.webhooks.owned.release("a"))
        await asyncio.sleep(0)
        assert not releasing.done()
        receiver.free.set()
        await asyncio.wait_for(releasing, DEADLINE)
        await it.stored(event(3, "session_disconnected", session="a"))  # its worker has ended
        await it.journal.release("a")
        assert numbers(receiver.taken()) == [1]
        assert [one.event for one in await it.pending()] == [
            "message_received",
            "session_disconnected",
        ]
    await acquire(second, "a")
    assert await second.drained()
    assert sorted(it["event"] for it in receiver.taken()[1:]) == [
        "message_received",
        "session_disconnected",
    ]
    assert len(receiver.attempts) == 3


async def test_a_release_does_not_wait_forever_for_an_answer(
    receiver: Receiver, first: Gateway
) -> None:
    receiver.free.clear()
    await first.stored(message(1, session="a"))
    await wait_until(lambda: receiver.arrived == 1, "it is in flight")
    await asyncio.wait_for(first.webhooks.owned.release("a"), DEADLINE)
    assert len(await first.pending()) == 1


async def test_a_session_that_goes_and_comes_back_has_each_webhook_once_and_in_order(
    receiver: Receiver, first: Gateway
) -> None:
    first.connections["a"] = AWAY
    sent = 0
    for _ in range(4):
        await first.stored(*(message(sent + n, session="a") for n in range(1, 6)))
        sent += 5
        await lose(first, "a")
        await acquire(first, "a")
        await acquire(first, "a")  # once more: another part could not be acquired
    await until_held(first, 1)
    connect(first)
    taken = await receiver.wait_taken(sent)
    assert await first.drained()
    assert numbers(taken) == list(range(1, sent + 1))
    assert len(receiver.attempts) == sent


async def test_a_result_that_is_on_its_way_when_a_session_comes_back_counts(
    receiver: Receiver, first: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, hold, asked = first.store.messages.write, asyncio.Event(), asyncio.Event()

    async def slow(received: Any, results: Any = (), **more: Any) -> Any:
        if results:
            asked.set()
            await hold.wait()
        return await write(received, results, **more)

    monkeypatch.setattr(first.store.messages, "write", slow)
    await first.stored(message(1, session="a"))
    await asyncio.wait_for(asked.wait(), DEADLINE)
    await lose(first, "a")
    coming = asyncio.create_task(acquire(first, "a"))
    hold.set()
    await asyncio.wait_for(coming, DEADLINE)
    assert await first.drained()
    assert len(receiver.attempts) == 1


async def test_a_sessions_own_receiver_goes_and_comes_with_it(
    receiver: Receiver, first: Gateway, second: Gateway
) -> None:
    for it in (first, second):
        it.configure(allow_private=True)
    async with receiving() as own:
        await first.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=None))
        own.free.clear()
        await first.stored(message(1, session="a"), message(2, session="a"))
        await wait_until(lambda: own.arrived == 1, "it is in flight")
        await lose(first, "a")
        assert "a" not in first.webhooks.queues
        first.webhooks.poke("a")
        first.webhooks.expect_ready("a")
        assert "a" not in first.webhooks.queues
        own.free.set()
        await acquire(second, "a")
        assert await second.drained()
        assert numbers(own.taken())[-2:] == [1, 2]
        assert await second.pending("a") == []


async def test_nothing_is_delivered_before_anything_is_acquired(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = it.connections["b"] = AWAY
        await it.stored(message(1, session="a"), message(2, session="b"))
        await until_held(it, 2)
    async with gateway(tmp_path, receiver.url, in_cluster=True) as it:
        await wait_until(lambda: GLOBAL in it.webhooks.queues, "it has begun")
        assert await it.webhooks.drain(10.0)
        assert receiver.attempts == []
        it.connections["b"] = AWAY
        await acquire(it, "b")
        await until_held(it, 1)
        [held] = it.webhooks.queues.held()
        assert held.session_id == "b"
        await acquire(it, "a")
        await receiver.wait_taken(1)
    assert numbers(receiver.taken()) == [1]


class Refusing:
    """A store of whose sessions another host owns some: it leaves out what is about those."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self.foreign: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, received: Any, results: Any = (), **more: Any) -> Written:
        ours = [it for it in received if it.session_id not in self.foreign]
        lost = frozenset(it.session_id for it in received) & self.foreign
        refused = frozenset(it.id for it in results if self.foreign)
        results = [] if self.foreign else results
        written = await self._store.write(ours, results, **more)
        return Written(
            news=written.news,
            endpoints=written.endpoints,
            kept=written.kept,
            received=written.received,
            lost=lost,
            unrecorded=refused,
        )


@contextlib.asynccontextmanager
async def refused(folder: Path, receiver: Receiver) -> AsyncIterator[tuple[Gateway, Refusing]]:
    made: list[Refusing] = []

    def wrap(store: MessageStore) -> Any:
        made.append(Refusing(store))
        return made[0]

    async with gateway(folder, receiver.url, in_cluster=True, wrap=wrap) as it:
        await acquire(it, "a", "b")
        yield it, made[0]


async def test_what_the_database_refuses_is_acknowledged_to_nobody_and_stored_when_it_may_be(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with refused(tmp_path, receiver) as (it, store):
        store.foreign = {"a"}
        acknowledged: list[InboxRecord] = []
        for number in (1, 2):
            it.journal.put((of_event(message(number, session="a")),), acknowledged.extend)
        ready = event(3, "session_ready", session="a", phone_number="49", status="connected")
        await it.stored(ready, message(4, session="b"))
        await receiver.wait_taken(1)
        assert acknowledged == []
        assert it.journal.left.counts() == {"a": 2}, "how it stood here, its owner says now"
        assert [one.session_id for one in it.news] == []
        await lose(it, "a")
        store.foreign = set()
        await acquire(it, "a")
        taken = await receiver.wait_taken(3)
        assert it.journal.left.counts() == {}
        assert await it.drained()
    assert numbers(of(taken, "a")) == [1, 2]


async def test_what_has_nothing_to_store_acknowledges_nothing_that_was_refused_before_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    """A worker forgets all that came before what is acknowledged: this memory would have the only copy."""
    async with refused(tmp_path, receiver) as (it, store):
        store.foreign = {"a"}
        acknowledged: list[int] = []

        def put(number: int, *records: InboxRecord, session: str = "a") -> None:
            it.journal.put(records, lambda _: acknowledged.append(number), after=session)

        put(1, of_event(message(1, session="a")))
        put(2)
        await it.stored()
        put(3)
        put(4, session="b")
        await it.stored()
        assert acknowledged == [4]
        store.foreign = set()
        await acquire(it, "a")
        put(5)
        await it.stored()
        assert acknowledged == [4, 5], "what was refused is stored"


async def test_what_its_owner_has_stored_too_is_no_news_when_it_is_stored_here(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with refused(tmp_path, receiver) as (it, store):
        store.foreign = {"a"}
        it.put(message(1, session="a"))
        await it.stored()
        await wait_until(it.journal.left.counts, "it was refused")
        await lose(it, "a")
        async with gateway(tmp_path, receiver.url, in_cluster=True) as owner:
            await acquire(owner, "a")
            await owner.stored(message(1, session="a"))
            await receiver.wait_taken(1)
            assert await owner.drained()
        store.foreign = set()
        await acquire(it, "a")
        assert await it.drained()
    assert len(receiver.attempts) == 1


async def test_results_that_the_database_refuses_hold_up_no_other_session(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with refused(tmp_path, receiver) as (it, store):
        receiver.free.clear()
        await it.stored(*(message(n, f"{n}@c.us", session="a") for n in range(1, 20)))
        await wait_until(lambda: receiver.arrived > 0, "some are in flight")
        store.foreign = {"a"}
        receiver.free.set()
        await wait_until(lambda: it.queue().state.idle, "it is another host's")
        store.foreign = set()
        await it.stored(message(20, session="b"))
        assert await it.drained()
        assert len(await it.pending()) == 19
    assert numbers(of(receiver.taken(), "b")) == [20]


async def test_what_is_left_at_the_stop_is_there_for_the_next_daemon(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with refused(tmp_path, receiver) as (it, store):
        store.foreign = {"a"}
        await it.stored(message(1, session="a"))
    assert it.journal.left.counts() == {"a": 1}


async def test_a_release_waits_for_what_waits_for_its_file(
    receiver: Receiver, tmp_path: Path
) -> None:
    free = threading.Event()

    class Slow(MediaFolder):
        def keep(self, content: bytes, mimetype: str) -> str:
            assert free.wait(DEADLINE)
            return super().keep(content, mimetype)

    files = Slow(tmp_path / "media")
    async with gateway(tmp_path, receiver.url, in_cluster=True, files=files) as it:
        await acquire(it, "a")
        record = replace(of_event(message(1, session="a")), file=File(b"picture", "image/png"))
        it.journal.put((record,), it.news.extend)
        await it.webhooks.owned.release("a")
        releasing = asyncio.create_task(it.journal.release("a"))
        await asyncio.sleep(0)
        assert not releasing.done()
        free.set()
        await asyncio.wait_for(releasing, DEADLINE)
        assert len(it.news) == 1
        assert len(await it.pending()) == 1


async def test_a_number_is_compared_again_when_its_session_comes_back(first: Gateway) -> None:
    first.connections["a"] = Connection(phone="4917")
    first.webhooks.check("a")
    gate = first.webhooks._gate
    await wait_until(lambda: gate._numbers, "its number is compared")
    await lose(first, "a")
    assert gate._numbers == {}
    assert not gate.linking
