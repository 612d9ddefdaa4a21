"""No bug, and nothing that a page or the database says, takes one of the places of a delivery queue for good."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest
from sqlalchemy.exc import DataError

from tests.core.webhooks.queues import item
from tests.messaging.gateway import QUICK, Gateway, gateway
from tests.messaging.receiver import Receiver, event
from tests.waiting import DEADLINE, wait_until
from waguard.core.replace import replace
from waguard.core.webhooks.circuit import CircuitPolicy
from waguard.core.webhooks.facts import LookupDone, Outcome
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.state import CONCURRENT
from waguard.messaging.timings import WEBHOOK
from waguard.messaging.webhooks import endpoint_queue
from waguard.messaging.webhooks.attempt import Attempts
from waguard.ports.bus import BusEvent
from waguard.ports.messages import MessageStore


def message(number: int, chat: str = "1@c.us", session: str = "a") -> BusEvent:
    payload = {"id": f"false_{chat}_{number}", "body": f"body {number}"}
    return event(number, session=session, message=payload)


FAILS: dict[str, Callable[..., bool]] = {
    "body": lambda number, _: number <= CONCURRENT,
    "endpoints": lambda: True,
    "write": lambda _, results, **more: bool(results),
}


class Faulty:
    """A store of which one call fails as no outage does, for as long as the test says so."""

    def __init__(self, store: MessageStore, name: str) -> None:
        self._store = store
        self._name = name
        self.broken = True
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return partial(self._call, found) if name == self._name else found

    async def _call(self, found: Any, *args: Any, **more: Any) -> Any:
        if self.broken and FAILS[self._name](*args, **more):
            self.failures += 1
            raise DataError("a statement", {}, Exception("no database takes this"))
        return await found(*args, **more)


@asynccontextmanager
async def faulty(
    folder: Path, url: str, name: str, policy: DeliveryPolicy = QUICK
) -> AsyncIterator[tuple[Gateway, Faulty]]:
    made: list[Faulty] = []

    def wrap(store: MessageStore) -> MessageStore:
        made.append(Faulty(store, name))
        return cast("MessageStore", made[0])

    timings = replace(WEBHOOK, retry=0.01)
    async with gateway(folder, url, wrap=wrap, policy=policy, timings=timings) as it:
        yield it, made[0]


async def test_a_field_that_a_page_calls_sha256_takes_no_place(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    content = {"raw": {"sha256": "x"}}
    hostile = [
        event(n, message={"id": f"false_{n}@c.us_A", "body": "", "content": content})
        for n in range(CONCURRENT)
    ]
    async with gateway(tmp_path, receiver.url, fields="all") as it:
        it.put(*hostile)
        it.put(message(100, session="b"))
        taken = await receiver.wait_taken(CONCURRENT + 1)
        assert await it.drained()
    assert sum(it["data"]["message"].get("content") == content for it in taken) == CONCURRENT
    assert not any("a bug in waguard" in line for line in logged)


async def test_a_bug_in_an_attempt_takes_no_place(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    async with gateway(tmp_path, receiver.url, fields="all") as it:
        deliver = it.queue()._attempts.deliver
        broken = True

        async def fails(item: Pending, **more: Any) -> Outcome:
            if broken and item.session_id == "a":
                raise RuntimeError("a bug")
            return await deliver(item, **more)

        it.queue()._attempts.deliver = fails  # type: ignore[method-assign]
        it.put(*(message(n, chat=f"{n}@c.us") for n in range(CONCURRENT)))
        await wait_until(lambda: sum("a bug" in line for line in logged) >= CONCURRENT, "they fail")
        it.put(message(100, session="b"))
        [taken] = await receiver.wait_taken(1)
        assert taken["data"]["message"]["body"] == "body 100"
        broken = False
        assert await it.drained()
    assert len(receiver.taken()) == CONCURRENT + 1


@pytest.mark.parametrize("part", ["deliver", "_post"])
async def test_bugs_in_many_chats_say_nothing_about_the_receiver(
    receiver: Receiver, tmp_path: Path, part: str
) -> None:
    circuit = CircuitPolicy(base_pause=3600.0, max_pause=3600.0)
    policy = replace(QUICK, circuit=circuit)
    async with gateway(tmp_path, receiver.url, fields="all", policy=policy) as it:
        attempts = it.queue()._attempts
        works, broken, failed = getattr(attempts, part), True, set[str]()

        async def fails(item: Pending, *args: Any, **more: Any) -> Any:
            if broken and item.session_id == "a":
                failed.add(item.partition)
                raise RuntimeError("a bug")
            return await works(item, *args, **more)

        setattr(attempts, part, fails)
        chats = 2 * circuit.trip_after
        it.put(*(message(n, chat=f"{n}@c.us") for n in range(chats)))
        await wait_until(lambda: len(failed) == chats, "they fail")
        it.put(message(100, session="b"))
        await receiver.wait_taken(1)
        assert it.queue().state.receiver.failing_since is None
        assert all(one.attempts for one in await it.pending() if one.session_id == "a")
        broken = False
        assert await it.drained()
    assert len(receiver.taken()) == chats + 1


async def test_a_bug_in_a_search_for_a_message_does_not_hold_up_what_follows() -> None:
    attempts = Mock(is_stored=AsyncMock(side_effect=RuntimeError("a bug")))
    found = await endpoint_queue._stored_there(attempts, item(1))
    assert found == LookupDone(key=item(1).key, id=1, found=None)


async def test_a_body_that_cannot_be_read_takes_no_place_is_tried_at_intervals_and_logged_once(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    slow = replace(QUICK, base_delay=0.1, max_delay=0.1)
    async with faulty(tmp_path, receiver.url, "body", slow) as (it, store):
        large = [
            event(n, message={"id": f"false_{n}@c.us_A", "body": "x" * 10_000})
            for n in range(CONCURRENT)
        ]
        it.put(*large)
        await wait_until(lambda: store.failures >= 3 * CONCURRENT, "each is tried again")
        it.put(message(100, session="b"))
        await receiver.wait_taken(1)
        state = it.queue().state
        assert all(one.first.attempts for key, one in state.partitions.items() if key[0] == "a")
        assert state.receiver.failing_since is None
        assert sum("'event': 'bug'" in line for line in logged) == CONCURRENT
        store.broken = False
        assert await it.drained()
    assert len(receiver.taken()) == CONCURRENT + 1


async def test_a_search_goes_on_when_the_body_can_be_read() -> None:
    body = json.dumps({"data": {"message": {"id": "m"}}}).encode()
    store = Mock(body=AsyncMock(side_effect=[RuntimeError("a bug"), body]))
    table = Mock(uses_lookup=True, is_away=False, received=AsyncMock(return_value=True))
    attempts = Attempts(
        Mock(retry=0.0, store=store), complete=Mock(), post=Mock(), table=cast("Any", table)
    )
    assert await attempts.is_stored(item(1)) is True


async def test_a_search_for_a_message_whose_body_can_never_be_read_ends() -> None:
    store = Mock(body=AsyncMock(side_effect=RuntimeError("a bug")))
    attempts = Attempts(Mock(retry=0.0, store=store), complete=Mock(), post=Mock())
    async with asyncio.timeout(DEADLINE):
        found = await endpoint_queue._stored_there(attempts, item(1))
    assert found == LookupDone(key=item(1).key, id=1, found=None)
    assert store.body.await_count > 1


async def test_results_that_the_database_refuses_take_no_place(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    """They are delivered again after a restart."""
    async with faulty(tmp_path, receiver.url, "write") as (it, store):
        it.put(*(message(n, chat=f"{n}@c.us") for n in range(CONCURRENT + 1)))
        await receiver.wait_taken(CONCURRENT + 1)
        assert await it.drained()
        store.broken = False
        it.put(message(100, session="b"), message(101))
        await receiver.wait_taken(CONCURRENT + 3)
        assert await it.drained()
        assert len(await it.pending()) == CONCURRENT + 1
    assert sum("message_lost" in line for line in logged) == CONCURRENT + 1


async def test_webhooks_begin_when_the_receivers_can_be_read(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with faulty(tmp_path, receiver.url, "endpoints") as (it, store):
        it.put(message(1))
        await wait_until(lambda: store.failures > 1, "it is tried again")
        store.broken = False
        await receiver.wait_taken(1)
