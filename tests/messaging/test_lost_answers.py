"""Commits whose answers are lost: what they stored is announced and delivered like anything else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.messaging.gateway import IMPATIENT, gateway
from tests.messaging.holding import until_held
from tests.messaging.outbox_world import World
from tests.messaging.published import ack, names
from tests.messaging.receiver import Receiver, event, receiving
from tests.messaging.test_webhook_queue import message
from tests.store.test_bursts import lost_answers
from tests.waiting import wait_until
from waguard.core.messages.inbox import InboxRecord
from waguard.daemon.bus_to_inbox import feed
from waguard.errors import DatabaseUnavailableError
from waguard.host.clock import SystemClock
from waguard.messaging.journal import Journal
from waguard.ports.webhooks import GLOBAL, Endpoint
from waguard.store.sql import SqlStore
from waguard.supervision.event_bus import Bus


@contextlib.asynccontextmanager
async def unheard(
    store: SqlStore, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """What is put inside is committed, and the writer does not hear of it."""
    with lost_answers(store, monkeypatch):
        yield
        await wait_until(lambda: journal.refusal, "an answer was lost")


async def test_what_was_stored_without_an_answer_is_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, None) as it:
        await it.stored(event(1))
        async with unheard(it.store, it.journal, monkeypatch):
            it.put(event(1), event(2))
        assert await it.journal.flushed(10.0)
        await it.stored(event(2))
        assert [record.key for record in it.news] == ["message_received:1", "message_received:2"]


async def test_messages_stay_behind_a_session_ready_that_was_stored_without_an_answer(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await wait_until(lambda: GLOBAL in it.webhooks.queues, "it has begun")
        bus = Bus(SystemClock())
        feeding = asyncio.create_task(feed(bus, it.journal, it.webhooks))
        it.webhooks.expect_ready("a")
        await it.stored(message(1))
        await until_held(it, 1)
        async with unheard(it.store, it.journal, monkeypatch):
            bus.publish("session_ready", "a", 1, {"phone_number": "4917"})
        taken = await receiver.wait_taken(2)
        bus.close()
        await feeding
    assert [payload["event"] for payload in taken] == ["session_ready", "message_received"]


async def test_the_end_of_a_message_that_was_stored_without_an_answer_is_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    acks: list[InboxRecord] = []
    world.journal.announcer.on_ack.append(acks.append)
    pending = world.send()
    await world.result(pending)
    assert await world.journal.flushed(10.0)
    async with unheard(world.store, world.journal, monkeypatch):
        world.outbox.answered(pending)
        ack(world, pending.message_id, 1)
    assert await world.journal.flushed(10.0)
    assert [name for name, *_ in world.published] == ["message_sent"]
    assert len(acks) == 1
    assert await names(world) == ["message_sent", "message_status_updated"]


async def test_a_new_receiver_gets_what_was_stored_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as own, gateway(tmp_path, None, allow_private=True) as it:
        await wait_until(lambda: it.webhooks.endpoints.is_loaded, "they are read")
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=None))
        async with unheard(it.store, it.journal, monkeypatch):
            it.put(event(1))
        await own.wait_taken(1)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
async def test_dead_letters_that_were_replayed_without_an_answer_are_delivered(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    receiver.troubles.append(404)
    async with gateway(tmp_path, receiver.url, policy=IMPATIENT) as it:
        await it.stored(event(1))
        assert await it.drained()
        await it.stored(event(2))
        await receiver.wait_taken(1)
        assert await it.drained()
        posted: list[str] = []
        if late:  # what is read before the commit comes finds nothing
            monkeypatch.setattr(
                it.webhooks.dead_letters, "_requeued", lambda *it: posted.append(it[0])
            )
        with lost_answers(it.store, monkeypatch), pytest.raises(DatabaseUnavailableError):
            await it.webhooks.dead_letters.replay()
        monkeypatch.setattr(it.webhooks.dead_letters, "_requeued", it.webhooks._requeued)
        if late:
            assert posted == [GLOBAL]
            assert await it.webhooks.dead_letters.replay() == 0
        assert len(await receiver.wait_taken(2)) == 2


async def test_a_receiver_that_was_set_without_an_answer_gets_its_webhooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as own, gateway(tmp_path, None, allow_private=True) as it:
        await wait_until(lambda: it.webhooks.endpoints.is_loaded, "they are read")
        with lost_answers(it.store, monkeypatch), pytest.raises(DatabaseUnavailableError):
            await it.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=None))
        it.put(event(1))
        await own.wait_taken(1)


async def test_a_receiver_that_is_set_again_gets_what_waits_already(tmp_path: Path) -> None:
    """The first time was committed so late that nobody found it."""
    async with receiving() as own, gateway(tmp_path, None, allow_private=True) as it:
        await wait_until(lambda: it.webhooks.endpoints.is_loaded, "they are read")
        endpoint = Endpoint(session_id="a", url=own.url, secret=None)
        await it.store.messages.put_endpoint(endpoint)
        await it.stored(event(1))
        assert await it.drained()
        assert own.arrived == 0
        await it.webhooks.endpoints.put(endpoint)
        await own.wait_taken(1)


async def test_a_receiver_that_was_removed_without_an_answer_is_no_receiver_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as own, gateway(tmp_path, None, allow_private=True) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=None))
        with lost_answers(it.store, monkeypatch), pytest.raises(DatabaseUnavailableError):
            await it.webhooks.delete_endpoint("a")
        await wait_until(lambda: "a" not in it.webhooks.endpoints, "it is read")


async def test_a_database_that_comes_back_at_the_end_begins_nothing(tmp_path: Path) -> None:
    async with receiving() as own, gateway(tmp_path, None, allow_private=True) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=None))
        await it.webhooks.queues.remove("a", 0.0)
        await it.webhooks.__aexit__(None, None, None)
        it.journal.announcer.resumed()
        await it.stored(event(1))
        assert await it.webhooks.drain(10.0)
        assert list(it.webhooks.queues) == []
        assert own.arrived == 0
