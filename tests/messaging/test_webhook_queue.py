"""Order, what is left out, who waits for whom, and what a circuit spares."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import QUICK, QUICK_CIRCUIT, gateway
from tests.messaging.receiver import CLOSE, Receiver, event, receiving
from tests.waiting import wait_until
from waguard.core.replace import replace
from waguard.core.webhooks.circuit import CircuitPolicy
from waguard.core.webhooks.delivery import EVENTS
from waguard.core.webhooks.facts import Fact, Saved, TimerDue
from waguard.core.webhooks.partition import MemoryWindow
from waguard.core.webhooks.state import CONCURRENT
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.timings import WebhookTimings
from waguard.ports.bus import BusEvent
from waguard.ports.messages import MessageStore
from waguard.ports.webhooks import Endpoint

PATIENT = replace(QUICK, base_delay=60.0, max_delay=60.0)


def message(number: int, chat: str = "1@c.us", session: str = "a") -> BusEvent:
    payload = {"id": f"false_{chat}_{number}", "body": f"body {number}"}
    return event(number, session=session, message=payload)


def numbers(taken: list[Any], chat: str = "", session: str = "") -> list[int]:
    return [
        int(payload["data"]["message"]["body"].split()[1])
        for payload in taken
        if chat in payload["data"]["message"].get("id", "")
        and session in payload["data"]["session_id"]
    ]


async def test_events_of_a_chat_stay_in_order_whatever_fails(
    receiver: Receiver, tmp_path: Path
) -> None:
    for trouble in (500, CLOSE, 503, 408, CLOSE):
        receiver.troubles.extend([trouble, 200])
    async with gateway(tmp_path, receiver.url) as it:
        for number in range(1, 41):
            chat, session = f"{number % 2}@c.us", "ab"[number // 2 % 2]
            it.put(message(number, chat, session))
        taken = await receiver.wait_taken(40)
    for chat in ("_0@", "_1@"):
        for session in "ab":
            order = numbers(taken, chat, session)
            assert len(order) == 10
            assert order == sorted(order)


async def test_one_chat_does_not_hold_up_another(receiver: Receiver, tmp_path: Path) -> None:
    receiver.troubles.append(500)
    async with gateway(tmp_path, receiver.url, policy=PATIENT) as it:
        it.put(message(1, "1@c.us"))
        await wait_until(lambda: receiver.attempts, "the first one failed")
        it.put(message(2, "1@c.us"), message(3, "2@c.us"), message(4, "1@c.us", session="b"))
        taken = await receiver.wait_taken(2)
        assert numbers(taken) == [3, 4]
        await wait_until(
            lambda: "*" in it.webhooks.queues and it.queue().state.count == 2,
            "both are done with",
        )
        waiting = await it.pending()
    assert [item.attempts for item in waiting] == [1, 0]
    assert waiting[0].next_at > waiting[0].created_at


@pytest.mark.parametrize(("kind", "troubles"), [(Saved, ()), (TimerDue, (500, 200))])
async def test_a_bug_that_follows_a_save_or_a_timer_is_logged_with_its_endpoint(
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[str],
    kind: type,
    troubles: tuple[int, ...],
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        assert await it.drained()
        post = it.queue().post

        def buggy(fact: Fact) -> None:
            post(fact)
            if type(fact) is kind:
                raise RuntimeError("an odd one")

        monkeypatch.setattr(it.queue(), "post", buggy)
        receiver.troubles.extend(troubles)
        it.put(event(2))
        await receiver.wait_taken(2)
        await wait_until(lambda: any("an odd one" in said for said in logged), "it is logged")
        assert await it.drained()
    [said] = {said.partition("\n")[0] for said in logged if "an odd one" in said}
    assert "a bug in waguard" in said
    assert "'endpoint': '*'" in said


async def test_only_so_many_run_at_a_time(receiver: Receiver, tmp_path: Path) -> None:
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url) as it:
        await it.stored(*(event(number, session=str(number)) for number in range(30)))
        await wait_until(lambda: receiver.arrived == CONCURRENT, "the places are full")
        assert len(await it.pending()) == 30
        receiver.free.set()
        await receiver.wait_taken(30)
        assert await it.drained()


async def test_an_event_is_never_in_flight_twice(receiver: Receiver, tmp_path: Path) -> None:
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        await wait_until(lambda: receiver.arrived, "it is on its way")
        for number in range(2, 12):
            it.put(event(number))
            it.webhooks.poke("*")
        await it.journal.flushed(10.0)
        assert receiver.arrived == 1
        receiver.free.set()
        assert await it.drained()
    assert len(receiver.attempts) == 11


async def test_what_is_outdated_is_left_out_and_messages_never(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1, "session_authenticated"), message(1))
        await wait_until(lambda: receiver.arrived == 2, "the first ones are on their way")
        for number, name in enumerate(
            [
                "qr_code_generated",
                "message_received",
                "session_authenticated",
                "message_status_updated",
                "session_disconnected",
                "session_ready",
                "message_sent",
            ]
        ):
            await it.stored(event(10 + number, name))
        await it.stored(event(20, "qr_code_generated", session="b"))
        await wait_until(lambda: ("b", "") in it.queue().state.partitions, "all are read")
        receiver.free.set()
        taken = await receiver.wait_taken(7)
        assert await it.drained()
    of_a = [payload["event"] for payload in taken if payload["data"]["session_id"] == "a"]
    assert sorted(of_a) == [
        "message_received",
        "message_received",
        "message_sent",
        "message_status_updated",
        "session_authenticated",
        "session_ready",
    ]
    assert of_a.index("session_authenticated") < of_a.index("session_ready")


async def test_what_becomes_outdated_between_two_attempts_is_left_out(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.free.clear()
    receiver.troubles.extend([500, 200])
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1, "session_disconnected"))
        await wait_until(lambda: receiver.arrived, "it is on its way")
        await it.stored(event(2, "session_ready"))
        await wait_until(
            lambda: "*" in it.webhooks.queues and it.queue().state.count == 2,
            "the newer one is behind it",
        )
        receiver.free.set()
        assert (await receiver.wait_taken(1))[0]["event"] == "session_ready"
        assert await it.drained()
    assert len(receiver.attempts) == 2


async def test_a_newer_session_event_does_not_wait_for_the_pause_of_an_older_one(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.append(500)
    async with gateway(tmp_path, receiver.url, policy=PATIENT) as it:
        it.put(event(1, "session_disconnected"))
        await wait_until(lambda: receiver.attempts, "it failed, and waits")
        it.put(event(2, "session_ready"))
        assert (await receiver.wait_taken(1))[0]["event"] == "session_ready"
        assert await it.drained()


def test_only_what_the_application_knows_is_delivered() -> None:
    assert {"lifecycle", "link", "incident"}.isdisjoint(EVENTS)


async def test_a_dead_receiver_is_probed_by_one_and_delays_only_itself(
    receiver: Receiver, tmp_path: Path, logged: list[str], dead_port: int
) -> None:
    circuit = CircuitPolicy(trip_after=3, base_pause=60.0, max_pause=60.0)
    policy = replace(QUICK, circuit=circuit)
    dead = f"http://127.0.0.1:{dead_port}/hook"
    async with gateway(tmp_path, receiver.url, policy=policy, allow_private=True) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=dead, secret=None))
        it.put(*(message(number, f"{number}@c.us") for number in range(50)))
        await receiver.wait_taken(50)
        await wait_until(
            lambda: it.queue("a").state.receiver.circuit.trips == 1, "its circuit is open"
        )
        await wait_until(lambda: it.queue("a").state.in_flight == 0, "nothing is in flight")
        assert await it.journal.flushed(10.0)
        tried = sum(item.attempts for item in await it.pending("a"))
        assert 3 <= tried <= 3 + CONCURRENT
        assert it.queue("a").state.wake is not None
        assert sum("one delivery is tried at a time" in said for said in logged) == 1
        assert len(await it.pending("a")) == 50


async def test_a_circuit_closes_with_the_first_one_taken(tmp_path: Path, dead_port: int) -> None:
    policy = replace(QUICK, circuit=replace(QUICK_CIRCUIT, base_pause=0.01, max_pause=0.01))
    async with gateway(tmp_path, f"http://127.0.0.1:{dead_port}/hook", policy=policy) as it:
        it.put(*(message(number, f"{number}@c.us") for number in range(100)))
        await wait_until(
            lambda: "*" in it.webhooks.queues and it.queue().state.receiver.circuit.trips > 2,
            "open",
        )
        async with receiving(port=dead_port) as receiver:
            receiver.free.clear()
            await wait_until(lambda: receiver.arrived, "the probe")
            assert receiver.arrived == 1
            receiver.free.set()
            assert await it.drained()
            assert len(receiver.taken()) == 100


async def test_a_message_that_the_receiver_cannot_digest_does_not_stop_it(
    tmp_path: Path,
) -> None:
    """The probes alternate: one of them shows that the receiver works."""

    class Picky(Receiver):
        async def handle(self, request: Any) -> Any:
            bad = b"poison" in await request.read()
            self.troubles.extend([500] if bad else [])
            return await super().handle(request)

    circuit = replace(QUICK_CIRCUIT, trip_after=1)
    async with (
        receiving(Picky()) as receiver,
        gateway(tmp_path, receiver.url, policy=replace(QUICK, circuit=circuit)) as it,
    ):
        it.put(event(1, message={"id": "false_0@c.us_1", "body": "poison 1"}))
        await wait_until(lambda: len(receiver.attempts) > 2, "it is tried again and again")
        it.put(*(message(number, f"{number}@c.us") for number in range(2, 30)))
        await receiver.wait_taken(28)
        assert len(await it.pending()) >= 1


async def test_memory_holds_the_beginning_of_the_queue_only(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.free.clear()
    window = MemoryWindow(memory=20, partition=9, read=7)
    async with gateway(tmp_path, receiver.url, window=window) as it:
        for start in range(0, 200, 10):
            await it.stored(*(message(n, f"{n % 4}@c.us") for n in range(start, start + 10)))
        await wait_until(lambda: receiver.arrived == 1, "one of a session is on its way")
        await wait_until(
            lambda: "*" in it.webhooks.queues and not it.queue().state.reading.loading,
            "all is read",
        )
        assert it.queue().state.count <= 20 + 4
        receiver.free.set()
        taken = await receiver.wait_taken(200)
        assert await it.drained()
    for chat in range(4):
        assert numbers(taken, f"_{chat}@") == [n for n in range(200) if n % 4 == chat]
    assert len(receiver.attempts) == 200


async def test_large_ones_are_read_when_their_turn_comes(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        files = [{"id": "false_1@c.us_9", "media": {"data": str(n) * 50_000}} for n in range(4)]
        it.put(*(event(n, message=file) for n, file in enumerate(files)))
        taken = await receiver.wait_taken(4)
    assert [payload["data"]["message"]["media"]["data"][0] for payload in taken] == list("0123")


async def test_a_queue_that_cannot_be_read_is_read_again(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    troubles: list[Exception] = [DatabaseUnavailableError("away"), RuntimeError("a bug")]

    class Shy:
        def __init__(self, store: MessageStore) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            if name in {"pending", "body"} and troubles:
                raise troubles.pop(0)
            return getattr(self._store, name)

    timings = WebhookTimings(retry=0.001)
    async with gateway(tmp_path, receiver.url, wrap=Shy, timings=timings) as it:
        await receiver.wait_taken(0)
        await wait_until(lambda: not troubles, "it was asked again")
        troubles.append(DatabaseUnavailableError("away"))
        it.put(event(1, message={"media": {"data": "x" * 9_000}}))
        await receiver.wait_taken(1)
        assert await it.drained()
    assert sum("a bug" in said for said in logged) == 1


async def test_draining_ends_with_its_time(tmp_path: Path, dead_port: int) -> None:
    url = f"http://127.0.0.1:{dead_port}/hook"
    async with gateway(tmp_path, url, policy=PATIENT) as it:
        assert await it.webhooks.drain(5.0)
        await it.stored(event(1))
        assert not await it.webhooks.drain(0.05)
        assert len(await it.pending()) == 1
    assert len(asyncio.all_tasks()) == 1
