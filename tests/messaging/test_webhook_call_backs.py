"""What a receiver was answered while it handled a message decides whether it has it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import Gateway, gateway
from tests.messaging.holding import AWAY, PATIENT, until_held
from tests.messaging.receiver import Receiver, event, receiving
from tests.messaging.test_webhook_queue import message, numbers
from tests.waiting import wait_until
from waguard.core.webhooks.delivery import Cause
from waguard.ports.webhooks import Endpoint


async def test_one_message_of_a_session_at_a_time(receiver: Receiver, tmp_path: Path) -> None:
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url) as it:
        chats = [message(n, f"{n}@c.us", session=s) for n in range(5) for s in "ab"]
        await it.stored(*chats)
        await wait_until(lambda: receiver.arrived == 2, "one of each session")
        await it.stored(event(99, "message_status_updated", message_id="true_9@c.us_x"))
        await wait_until(lambda: receiver.arrived == 3, "what nobody calls back for")
        receiver.free.set()
        await receiver.wait_taken(11)


async def answered(
    it: Gateway, receiver: Receiver, *, status: tuple[bool, ...] = (), health: tuple[bool, ...] = ()
) -> None:
    """The receiver asks so while it handles its message, and then says 200."""
    arrived = receiver.arrived
    receiver.free.clear()
    it.put(message(1), message(2))
    await wait_until(lambda: receiver.arrived > arrived, "it is on its way")
    for good in health:
        it.webhooks.call_backs.health_answered(good=good)
    for good in status:
        it.webhooks.call_backs.status_answered("a", good=good)
    it.webhooks.call_backs.status_answered("b", good=False)  # somebody else's
    receiver.free.set()


@pytest.mark.parametrize(
    "asked",
    [{}, {"health": (True,)}, {"health": (True, True), "status": (True, True)}],
    ids=["nothing", "health", "both"],
)
async def test_a_receiver_that_was_answered_connected_has_the_message(
    receiver: Receiver, tmp_path: Path, asked: dict[str, Any]
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await answered(it, receiver, **asked)
        await receiver.wait_taken(2)
        assert await it.drained()
    assert numbers(receiver.taken()) == [1, 2]


@pytest.mark.parametrize(
    "asked",
    [
        {"status": (False,)},
        {"health": (False, False)},
        {"health": (True,), "status": (False,)},
        {"health": (False,), "status": (False,)},
    ],
    ids=["status", "health", "health was good", "both"],
)
async def test_who_was_refused_has_dropped_it_and_gets_it_again(
    receiver: Receiver, tmp_path: Path, asked: dict[str, Any]
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await answered(it, receiver, **asked)
        await until_held(it, 1)
        assert await it.journal.flushed(10.0)
        assert [item.attempts for item in await it.pending()] == [0, 0]
        it.webhooks.check()
        await receiver.wait_taken(3)
        assert await it.drained()
        assert await it.dead() == []
    assert numbers(receiver.taken()) == [1, 1, 2]
    assert len({one.headers["X-Waguard-Event-Id"] for one in receiver.attempts}) == 2


async def test_what_a_receiver_gave_up_is_known_before_its_answer_counts(
    receiver: Receiver, tmp_path: Path
) -> None:
    """The daemon stood still, and what was asked meanwhile waits before the API's door."""
    waiting = [1]

    async def caught_up() -> None:
        await asyncio.sleep(0)
        while waiting:
            waiting.pop()
            it.webhooks.call_backs.status_answered("a", good=False)

    async with gateway(tmp_path, receiver.url) as it:
        it.webhooks.call_backs.doors.append(caught_up)
        it.put(message(1), message(2))
        await until_held(it, 1)
        it.webhooks.check()
        await receiver.wait_taken(3)
    assert numbers(receiver.taken()) == [1, 1, 2]


@pytest.mark.parametrize(
    "asked",
    [{"status": (True, False)}, {"health": (False, True), "status": (True,)}],
    ids=["status", "health"],
)
async def test_a_receiver_that_was_answered_both_may_have_dropped_it_and_the_next_one_goes(
    receiver: Receiver, tmp_path: Path, asked: dict[str, Any]
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await answered(it, receiver, **asked)
        await receiver.wait_taken(2)
        assert await it.drained()
        [letter] = await it.dead()
        assert (letter.cause, letter.attempts) == (Cause.UNCERTAIN, 1)
        assert await it.webhooks.dead_letters.replay() == 0  # not with all the others
        assert await it.webhooks.dead_letters.replay(letter.id) == 1
        await receiver.wait_taken(3)
    assert numbers(receiver.taken()) == [1, 2, 1]


async def test_two_receivers_at_once_leave_it_open_whose_questions_they_were(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with receiving() as own, gateway(tmp_path, receiver.url, allow_private=True) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=None))
        receiver.free.clear()
        own.free.clear()
        it.put(message(1))
        await wait_until(lambda: own.arrived == receiver.arrived == 1, "both have it")
        it.webhooks.call_backs.status_answered("a", good=False)
        receiver.free.set()
        own.free.set()
        assert await it.drained()
        assert [letter.cause for letter in await it.dead()] == [Cause.UNCERTAIN] * 2


async def test_a_failure_is_a_failure_whatever_was_asked(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.append(500)
    async with gateway(tmp_path, receiver.url, policy=PATIENT) as it:
        await answered(it, receiver, status=(False,))
        await wait_until(lambda: receiver.attempts, "it failed")
        assert await it.journal.flushed(10.0)
        assert (await it.pending())[0].attempts == 1


async def test_a_receiver_that_does_not_call_back_waits_for_nobody(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with receiving() as own, gateway(tmp_path, receiver.url, allow_private=True) as it:
        it.connections["a"] = AWAY
        endpoint = Endpoint(session_id="a", url=own.url, secret=None, hold=False)
        await it.webhooks.endpoints.put(endpoint)
        it.put(message(1), message(2, "2@c.us"))
        await own.wait_taken(2)
        await until_held(it, 2)
        it.configure(hold=False)
        assert await it.drained()
    assert len(receiver.taken()) == 2
