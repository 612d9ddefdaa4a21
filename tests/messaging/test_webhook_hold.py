"""Received messages wait while the application would drop them, and what it may have dropped."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import QUICK, QUICK_CIRCUIT, Gateway, gateway
from tests.messaging.receiver import Receiver, event, receiving
from tests.messaging.test_webhook_queue import message, numbers
from tests.waiting import wait_until
from waguard.core.conditions import HeldChats
from waguard.core.delivery import Cause
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.timings import WebhookTimings
from waguard.messaging.webhooks import overdue
from waguard.ports.bus import BusEvent
from waguard.ports.messages import GLOBAL, Endpoint, MessageStore
from waguard.ports.sessions import Connection

AWAY = Connection(why_not="it is disconnected")
PATIENT = replace(QUICK, base_delay=60.0, max_delay=60.0)


def ready(number: int, session: str = "a") -> BusEvent:
    return event(number, "session_ready", session=session, phone_number="4917", status="connected")


async def until_held(it: Gateway, count: int, endpoint: str = GLOBAL) -> None:
    await wait_until(
        lambda: (
            endpoint in it.webhooks._queues and len(list(it.queue(endpoint).lanes.held)) == count
        ),
        f"{count} chats wait",
    )


def connect(it: Gateway, session: str = "a", **now: Any) -> None:
    """As the supervisor would say it."""
    it.connections[session] = Connection(**now)
    it.webhooks.check(session)


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
        assert await it.journal.flushed(10.0)
        assert [(item.attempts, item.event) for item in await it.pending()] == [
            (0, "message_received")
        ] * 3
        connect(it)
        taken = await receiver.wait_taken(6)
        assert await it.drained()
    assert numbers(taken[3:], "_1@") == [1, 3]
    assert numbers(taken[3:], "_2@") == [2]


async def test_a_held_lane_is_read_again_from_the_database(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        await it.stored(*(message(n, f"{n % 3}@c.us") for n in range(300)))
        await until_held(it, 3)
        assert it.queue().lanes.count == 3
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


async def test_a_session_ready_that_is_not_stored_yet_goes_first_too(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await wait_until(lambda: GLOBAL in it.webhooks._queues, "it has begun")
        it.webhooks.expect_ready("a")
        it.put(message(1))
        await until_held(it, 1)
        await it.stored(ready(2))
        taken = await receiver.wait_taken(2)
    assert [payload["event"] for payload in taken] == ["session_ready", "message_received"]


async def test_a_session_ready_that_never_comes_holds_nothing(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await wait_until(lambda: GLOBAL in it.webhooks._queues, "it has begun")
        it.webhooks.expect_ready("a")
        it.put(message(1))
        await until_held(it, 1)
        it.webhooks.not_ready("a")
        it.webhooks.check()
        await receiver.wait_taken(1)


@pytest.mark.parametrize("trouble", [404, None], ids=["dead", "filtered"])
async def test_a_session_ready_that_is_not_to_be_delivered_holds_nothing(
    receiver: Receiver, tmp_path: Path, trouble: int | None
) -> None:
    wanted = ("message_received", *(["session_ready"] if trouble else []))
    receiver.troubles.extend([trouble] if trouble else [])
    async with gateway(tmp_path, receiver.url, events=wanted) as it:
        it.webhooks.expect_ready("a")
        await it.stored(ready(1))
        it.put(message(2))
        assert (await receiver.wait_taken(1))[0]["event"] == "message_received"


async def test_a_session_ready_of_one_that_is_gone_again_is_not_told(
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
async def test_who_was_told_that_it_is_connected_has_taken_it(
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


@pytest.mark.parametrize(
    "asked",
    [{"status": (True, False)}, {"health": (False, True), "status": (True,)}],
    ids=["status", "health"],
)
async def test_who_was_told_both_may_have_dropped_it_and_the_next_one_goes(
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
        [held] = it.webhooks.held()
        assert (held.session_id, held.lane, held.since) == ("a", "1@c.us", 1_000.0)
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

    async with gateway(tmp_path, receiver.url, around=Shy) as it:
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
async def test_what_waits_for_a_number_is_not_told_of_another(
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

    async with gateway(tmp_path, receiver.url, around=Locked) as it:
        receiver.free.clear()
        await it.stored(*(message(n, f"{n}@c.us", session=f"s{n}") for n in range(40)))
        await wait_until(lambda: receiver.arrived == 8, "the places are full")
        Locked.locked = True
        receiver.free.set()
        await wait_until(lambda: it.journal.failing, "it was seen")
        await wait_until(
            lambda: "*" in it.webhooks._queues and not it.queue()._in_flight,
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
    chats' messages it gets, and how many attempts that took."""

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
            await receiver.wait_taken(20)
            return len(receiver.taken()), len(receiver.attempts)


@pytest.mark.parametrize("chats", [1, pytest.param(10_000, marks=pytest.mark.long)])
async def test_what_the_receiver_cannot_digest_stalls_nobody_else(
    tmp_path: Path, chats: int
) -> None:
    taken, attempts = await poisoned(tmp_path, chats, 50_000)
    assert taken == 20
    assert attempts < 1_000
