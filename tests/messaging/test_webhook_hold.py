"""Received messages wait while the application would drop them, and what it may have dropped."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import QUICK, Gateway, gateway
from tests.messaging.holding import AWAY, PATIENT, connect, ready, until_held
from tests.messaging.receiver import Receiver, event
from tests.messaging.test_webhook_queue import message, numbers
from tests.waiting import wait_until
from waguard.core.conditions import HeldChats
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import Cause
from waguard.core.webhooks.session_gate import Connection
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.timings import WebhookTimings
from waguard.messaging.webhooks.webhooks import overdue
from waguard.ports.messages import MessageStore
from waguard.ports.webhooks import GLOBAL, Endpoint


async def test_messages_wait_for_their_session_and_nothing_else_does(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        it.put(message(1), message(2, "2@c.us"), message(3), message(4, session="b"))
        it.put(event(5, "session_disconnected"), event(6, "message_status_updated", message_id="x"))
        taken = await receiver.wait_taken(3)
        assert {payload["event"] for payload in taken} == {
            "message_received",
            "session_disconnected",
            "message_status_updated",
        }
        await until_held(it, 2)
        await wait_until(
            lambda: it.queue().state.is_saved, "what was taken is on its way to the database"
        )
        assert await it.journal.flushed(10.0)
        assert [(item.attempts, item.event) for item in await it.pending()] == [
            (0, "message_received")
        ] * 3
        connect(it)
        taken = await receiver.wait_taken(6)
        assert await it.drained()
    assert numbers(taken[3:], "_1@") == [1, 3]
    assert numbers(taken[3:], "_2@") == [2]


async def test_a_held_partition_is_read_again_from_the_database(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        await it.stored(*(message(n, f"{n % 3}@c.us") for n in range(300)))
        await until_held(it, 3)
        assert it.queue().state.count == 3
        most = it.queue().state.window.partition + 3
        assert len(it.queue()._attempts.bodies._kept) <= most, "nor do their bodies stay in memory"
        connect(it)
        taken = await receiver.wait_taken(300)
    for chat in range(3):
        assert numbers(taken, f"_{chat}@") == [n for n in range(300) if n % 3 == chat]


async def test_messages_wait_until_the_receiver_knows_that_the_session_is_ready(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.extend([500, 500])
    async with gateway(tmp_path, receiver.url) as it:
        it.put(ready(1))
        it.put(message(2))
        taken = await receiver.wait_taken(2)
        assert await it.drained()
    assert [payload["event"] for payload in taken] == ["session_ready", "message_received"]


async def hold_for_ready(it: Gateway) -> None:
    """A message that waits for a ``session_ready`` which is not stored yet."""
    await wait_until(lambda: GLOBAL in it.webhooks.queues, "it has begun")
    it.webhooks.expect_ready("a")
    it.put(message(1))
    await until_held(it, 1)


async def test_a_session_ready_that_is_not_stored_yet_goes_first_too(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await hold_for_ready(it)
        await it.stored(ready(2))
        taken = await receiver.wait_taken(2)
    assert [payload["event"] for payload in taken] == ["session_ready", "message_received"]


async def test_a_session_ready_that_never_comes_holds_nothing(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await hold_for_ready(it)
        it.webhooks.not_ready("a")
        it.webhooks.check()
        await receiver.wait_taken(1)


async def test_a_session_ready_that_is_not_wanted_any_more_holds_nothing(
    receiver: Receiver, tmp_path: Path
) -> None:
    """The configuration was reloaded before it was stored."""
    async with gateway(tmp_path, receiver.url) as it:
        await hold_for_ready(it)
        it.configure(events=("message_received",))
        await it.stored(ready(2))
        taken = await receiver.wait_taken(1)
        assert await it.drained()
    assert [payload["event"] for payload in taken] == ["message_received"]


async def test_a_session_ready_that_its_own_receiver_does_not_want_any_more_holds_nothing(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, None, allow_private=True) as it:
        await wait_until(lambda: it.webhooks.endpoints.is_loaded, "it has begun")
        own = Endpoint(session_id="a", url=receiver.url, secret=None)
        await it.webhooks.endpoints.put(own)
        it.webhooks.expect_ready("a")
        it.put(message(1))
        await until_held(it, 1, "a")
        await it.webhooks.endpoints.put(dataclasses.replace(own, events=("message_received",)))
        await it.stored(ready(2))
        taken = await receiver.wait_taken(1)
        assert await it.drained()
    assert [payload["event"] for payload in taken] == ["message_received"]


@pytest.mark.parametrize("trouble", [404, None], ids=["dead", "filtered"])
async def test_a_session_ready_that_is_not_to_be_delivered_holds_nothing(
    receiver: Receiver, tmp_path: Path, trouble: int | None
) -> None:
    wanted = ("message_received", *(["session_ready"] if trouble else []))
    receiver.troubles.extend([trouble] if trouble else [])
    policy = replace(QUICK, only_chat=0.0)
    async with gateway(tmp_path, receiver.url, policy=policy, events=wanted) as it:
        it.webhooks.expect_ready("a")
        await it.stored(ready(1))
        it.put(message(2))
        assert (await receiver.wait_taken(1))[0]["event"] == "message_received"


async def test_a_session_ready_of_one_that_is_gone_again_is_not_delivered(
    receiver: Receiver, tmp_path: Path
) -> None:
    """The application would write "connected" at once, and "disconnected" whenever it comes to it."""
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        it.put(ready(1))
        it.put(event(2, "session_ready", session="b"))
        await receiver.wait_taken(1)
        assert await it.drained()
        assert [payload["data"]["session_id"] for payload in receiver.taken()] == ["b"]
        assert await it.dead() == []


async def test_a_session_ready_waits_where_it_is_not_known_how_the_session_stands(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url, timings=WebhookTimings(retry=0.01)) as it:
        it.connections["a"] = Connection(why_not="it is not in memory", known=False)
        await it.stored(ready(1))
        it.put(event(2, "session_ready", session="b"))
        await receiver.wait_taken(1)
        connect(it)
        await receiver.wait_taken(2)
        assert await it.drained()
    assert [payload["data"]["session_id"] for payload in receiver.taken()] == ["b", "a"]


async def test_a_hold_is_known_over_a_restart_and_ends_with_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    now = [1_000.0]
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        it.connections["a"] = AWAY
        await it.stored(message(1))
        await until_held(it, 1)
    now[0] = 2_000.0
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        it.connections["a"] = AWAY
        await until_held(it, 1)
        [held] = it.webhooks.queues.held()
        assert (held.session_id, held.partition, held.since) == ("a", "1@c.us", 1_000.0)
        assert overdue([held], limit=999.0) == []
        waits = HeldChats(session="a", chats=1, since=1_000.0, why="it is disconnected")
        assert overdue([held], limit=1_000.0) == [waits]
        connect(it)
        await receiver.wait_taken(1)


async def test_time_on_hold_does_not_count_when_it_is_given_up(
    receiver: Receiver, tmp_path: Path
) -> None:
    now, policy = [1_000.0], replace(QUICK, give_up_after=100.0)
    receiver.troubles.extend([500] * 3)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=lambda: now[0]) as it:
        it.connections["a"] = AWAY
        await it.stored(message(1))
        await until_held(it, 1)
        now[0] += 500.0
        connect(it)
        await receiver.wait_taken(1)
        assert await it.drained()
        assert await it.dead() == []
    assert len(receiver.attempts) == 4


async def test_attempts_before_a_restart_count_when_it_is_given_up(
    receiver: Receiver, tmp_path: Path
) -> None:
    now, policy = [1_000.0], replace(PATIENT, give_up_after=100.0)
    receiver.troubles.extend([500] * 2)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=lambda: now[0]) as it:
        await it.stored(message(1))
        await wait_until(lambda: receiver.attempts, "it failed")
    now[0] += 100.0
    async with gateway(tmp_path, receiver.url, policy=policy, wall=lambda: now[0]) as it:
        assert await it.drained()
        [letter] = await it.dead()
    assert (letter.cause, letter.attempts) == (Cause.EXPIRED, 2)


async def test_a_number_that_cannot_be_compared_delivers_nothing_yet(
    receiver: Receiver, tmp_path: Path
) -> None:
    class Shy:
        away = True

        def __init__(self, store: MessageStore) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            if name == "link_phone" and Shy.away:
                raise DatabaseUnavailableError("away")
            return getattr(self._store, name)

    async with gateway(tmp_path, receiver.url, wrap=Shy) as it:
        await it.store.create("a", 1, account_id=None, priority=0)
        connect(it, phone="4917")
        await it.stored(message(1))
        await until_held(it, 1)
        await wait_until(lambda: not it.webhooks._gate.linking, "it failed")
        assert receiver.arrived == 0
        Shy.away = False
        it.webhooks.check()
        await receiver.wait_taken(1)


@pytest.mark.parametrize(("number", "taken"), [("4917", 3), ("6281", 1), (None, 3)])
async def test_what_waits_for_a_number_is_not_delivered_to_another(
    receiver: Receiver, tmp_path: Path, number: str | None, taken: int
) -> None:
    now = [1_000.0]
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        await it.store.create("a", 1, account_id=None, priority=0)
        connect(it, phone="4917", since=900.0)
        it.put(message(1))
        await receiver.wait_taken(1)
        it.connections["a"] = AWAY
        await it.stored(message(2), message(3, "2@c.us"))
        await until_held(it, 2)
        now[0] += 10.0
        connect(it, phone=number, since=now[0])
        await wait_until(lambda: not it.webhooks._gate.linking, "the numbers are compared")
        assert await it.drained()
        assert len(receiver.taken()) == taken
        letters = await it.dead()
        assert [one.cause for one in letters] == [Cause.OTHER_NUMBER] * (3 - taken)
        it.put(message(4))
        await receiver.wait_taken(taken + 1)
