"""The database is put back to an older state of itself while the daemon runs: what comes then is delivered."""

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.messaging.conftest import receiver
from tests.messaging.gateway import Gateway, gateway
from tests.messaging.receiver import Receiver, event
from tests.messaging.test_health import AWAY, health
from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, Wall, usually_sqlite
from tests.store.copies import Copy
from tests.store.hosts import SERVERS, hosts
from tests.waiting import wait_until
from waguard.core.messages.inbox import InboxRecord
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.records import of_event
from waguard.store.messages import SqlMessages
from waguard.store.sql import SqlStore

__all__ = ["receiver"]  # pytest finds fixtures by name
every_database = pytest.mark.parametrize("ready", BACKENDS, indirect=True)
every_server = pytest.mark.parametrize("database", SERVERS, indirect=True)
every_store = pytest.mark.parametrize("database", BACKENDS, indirect=True)
DAY = 86_400.0


def _said(logged: list[str]) -> int:
    return sum("'event': 'database_older'" in line for line in logged)


def _bodies(receiver: Receiver) -> list[str]:
    return [it["data"]["message"]["body"] for it in receiver.taken()]


async def _deliver(it: Gateway, *numbers: int) -> None:
    for number in numbers:
        await it.stored(event(number))
        assert await it.drained()


@every_database
async def test_what_comes_after_it_is_delivered(
    ready: str, receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    async with gateway(tmp_path, receiver.url, database=ready) as it:
        report = health(it)
        await _deliver(it, 1)
        copy = await Copy(ready).make()
        await _deliver(it, 2, 3, 4)
        await report.count()
        assert _said(logged) == 0
        await copy.put_back()
        await it.stored(event(5))
        assert [one.id < 4 for one in await it.pending()] == [True], "below what was read"
        await report.count()
        assert await it.drained()
        assert _bodies(receiver) == [f"body {number}" for number in (1, 2, 3, 4, 5)]
        await report.count()
        assert _said(logged) == 1, "once"
        await _deliver(it, 6)
        assert await it.pending() == []


@every_database
async def test_what_memory_had_of_it_is_forgotten(
    ready: str, receiver: Receiver, tmp_path: Path
) -> None:
    """Else its result would be written into the row that has its id now."""
    async with gateway(tmp_path, receiver.url, database=ready) as it:
        report = health(it)
        await _deliver(it, 1)
        copy = await Copy(ready).make()
        it.connections["a"] = AWAY
        await it.stored(event(2))
        await wait_until(it.webhooks.queues.held, "it waits")
        await report.count()
        await copy.put_back()
        await it.stored(event(3))
        await report.count()
        await wait_until(it.webhooks.queues.held, "the new one waits")
        it.connections.clear()
        it.webhooks.check()
        assert await it.drained()
        assert _bodies(receiver) == ["body 1", "body 3"]


@every_database
async def test_what_was_not_delivered_in_the_copy_is_delivered_again_with_its_id(
    ready: str, receiver: Receiver, tmp_path: Path
) -> None:
    """Nobody knows that it was: its row went with the newer state."""
    async with gateway(tmp_path, receiver.url, database=ready) as it:
        report = health(it)
        it.connections["a"] = AWAY
        await it.stored(event(1))
        await wait_until(it.webhooks.queues.held, "it waits")
        await report.count()
        copy = await Copy(ready).make()
        it.connections.clear()
        it.webhooks.check()
        assert await it.drained()
        await _deliver(it, 2)
        await report.count()
        await copy.put_back()
        await report.count()
        assert await it.drained()
        assert _bodies(receiver) == ["body 1", "body 2", "body 1"]
        ids = [one.headers["X-Waguard-Event-Id"] for one in receiver.attempts]
        assert ids[0] == ids[2]


@every_database
async def test_a_result_that_was_in_flight_is_not_another_webhooks(
    ready: str, receiver: Receiver, tmp_path: Path
) -> None:
    """The copy gives its id to what comes next."""
    async with gateway(tmp_path, receiver.url, database=ready) as it:
        report = health(it)
        await _deliver(it, 1)
        copy = await Copy(ready).make()
        receiver.free.clear()
        before = receiver.arrived
        await it.stored(event(2))
        await wait_until(lambda: receiver.arrived > before, "it is at the receiver")
        await report.count()
        await copy.put_back()
        await it.stored(event(3))
        receiver.free.set()
        await wait_until(lambda: it.queue().state.is_saved, "its result is written")
        await report.count()
        assert await it.drained()
        assert _bodies(receiver) == ["body 1", "body 2", "body 3"]


async def _store(messages: SqlMessages, wall: Wall, number: int) -> None:
    record: InboxRecord = of_event(event(number))
    wall.time += 1.0
    await messages.write([record], for_global=())


async def _tidy(messages: SqlMessages, wall: Wall) -> int:
    old = wall.time - 30 * DAY
    times = dict.fromkeys(("reported_before", "dead_before", "undecryptable_before"), old)
    return await messages.tidy(inbox_before=old, **times, limit=9)


@every_store
async def test_rows_that_are_deleted_for_their_age_say_nothing(
    database: str, store: SqlStore, wall: Wall, messages: SqlMessages
) -> None:
    await _store(messages, wall, 1)
    assert not await messages.rewound()
    wall.time += 31 * DAY
    assert await _tidy(messages, wall) == 1
    assert await SqlApplication(database).rows("SELECT id FROM waguard_inbox") == []
    assert not await messages.rewound()
    await _store(messages, wall, 2)
    assert not await messages.rewound()


@every_store
async def test_a_row_that_took_the_id_of_one_that_was_seen_is_another(
    database: str, store: SqlStore, wall: Wall, messages: SqlMessages
) -> None:
    await _store(messages, wall, 1)
    copy = await Copy(database).make()
    await _store(messages, wall, 2)
    assert not await messages.rewound()
    await copy.put_back()
    for number in (3, 4):
        await _store(messages, wall, number)
    assert await messages.rewound()
    assert not await messages.rewound()


@every_server
async def test_each_host_of_a_cluster_notices_it(database: str, wall: Wall) -> None:
    async with hosts(database, 2, sessions=("a",), wall=wall) as both:
        one, two = (it.store.messages for it in both)
        await _store(one, wall, 1)
        copy = await Copy(database).make()
        await _store(one, wall, 2)
        assert not await one.rewound()
        assert not await two.rewound()
        await copy.put_back()
        await _store(one, wall, 3)
        assert await one.rewound()
        assert await two.rewound()
        assert not await two.rewound()


@every_server
async def test_rows_that_another_host_deletes_for_their_age_say_nothing(
    database: str, wall: Wall
) -> None:
    async with hosts(database, 2, sessions=("a",), wall=wall) as both:
        one, two = (it.store.messages for it in both)
        await _store(one, wall, 1)
        assert not await one.rewound()
        wall.time += 31 * DAY
        assert await _tidy(two, wall) == 1
        assert not await one.rewound()


@usually_sqlite
async def test_an_empty_copy_is_older_too(
    database: str, store: SqlStore, wall: Wall, messages: SqlMessages
) -> None:
    copy = await Copy(database).make()
    await _store(messages, wall, 1)
    assert not await messages.rewound()
    await copy.put_back()
    assert await messages.rewound()
    assert not await messages.rewound()


@usually_sqlite
async def test_a_question_without_an_answer_is_asked_again(
    database: str, store: SqlStore, messages: SqlMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = await Copy(database).make()
    await messages.write([of_event(event(1))], for_global=())
    assert not await messages.rewound()
    await copy.put_back()

    async def fail(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(AsyncConnection, "scalar", fail)
        with pytest.raises(DatabaseUnavailableError):
            await messages.rewound()
    assert await messages.rewound()
