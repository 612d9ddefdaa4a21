"""A table, a column or a right that is missing for a moment costs no record: nothing is acknowledged until it is back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import DBAPIError

from tests.messaging.gateway import gateway
from tests.messaging.receiver import event
from tests.messaging.test_health import health, types
from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, ready_database
from tests.store.hosts import message
from tests.waiting import DEADLINE, wait_until
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.send_states import State
from waguard.core.webhooks.pending import DeliveryResult
from waguard.errors import DatabaseUnfitError
from waguard.host.files.media import MediaFolder
from waguard.messaging.health import FAILING_FOR
from waguard.messaging.journal import Journal
from waguard.messaging.records import of_event
from waguard.messaging.refused_sends import Refusal
from waguard.ports.outbox import StateUpdate
from waguard.store.database import Database
from waguard.store.models import ACCOUNTS, METADATA
from waguard.store.sql import SqlStore

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)

# what a restored dump, a rename and an ALTER do, and undo
FAULTS = {
    "table": ("ALTER TABLE {0} RENAME TO aside", "ALTER TABLE aside RENAME TO {0}"),
    "column": (
        "ALTER TABLE {0} RENAME COLUMN session_id TO aside",
        "ALTER TABLE {0} RENAME COLUMN aside TO session_id",
    ),
}


@pytest.fixture
async def journal(store: SqlStore, tmp_path: Path) -> AsyncIterator[Journal]:
    folder = MediaFolder(tmp_path / "media")
    async with Journal(store.messages, folder, base="http://waguard", for_global=tuple) as made:
        yield made


async def _waits(journal: Journal, logged: list[str]) -> str:
    """Until the writer has tried; what it said."""
    await wait_until(lambda: journal.refusal, "the write is refused")
    [said] = [line for line in logged if "'event': 'writes_wait'" in line]
    return said


@every_database
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_received_meanwhile_is_stored_when_it_is_back(
    database: str, store: SqlStore, journal: Journal, fault: str, logged: list[str]
) -> None:
    app, news = SqlApplication(database), list[InboxRecord]()
    breaks, mends = (it.format("waguard_inbox") for it in FAULTS[fault])
    await app.run(breaks)
    for number in range(3):
        journal.put((of_event(event(number)),), news.extend)
    said = await _waits(journal, logged)
    assert "put back the table" in said
    assert "does not answer" not in said
    assert news == []
    await app.run(mends)
    assert await journal.flushed(DEADLINE)
    assert [it.key for it in news] == [f"message_received:{n}" for n in range(3)]
    assert len(await app.rows("SELECT id FROM waguard_inbox")) == 3
    assert not any("message_lost" in line for line in logged)
    assert not journal.refusal


@every_database
async def test_results_of_webhooks_and_of_sends_wait_too(
    database: str, store: SqlStore, journal: Journal, logged: list[str]
) -> None:
    app = SqlApplication(database)
    kept = await journal.keep(message("a", "m"))
    for table in ("waguard_deliveries", "waguard_outbox"):
        await app.run(f"ALTER TABLE {table} RENAME TO aside_{table}")
    saved = journal.save_later(DeliveryResult(id=1, event_id="e"))
    updated = journal.update(StateUpdate(id=kept, state=State.SENT))
    await _waits(journal, logged)
    with pytest.raises(DatabaseUnfitError):  # who waits for it hears so at once
        await journal.keep(message("a", "n"))
    assert not saved.done()
    assert not updated.done()
    for table in ("waguard_deliveries", "waguard_outbox"):
        await app.run(f"ALTER TABLE aside_{table} RENAME TO {table}")
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(saved, updated)
    row = await store.outbox.find(kept)
    assert row
    assert row.state is State.SENT


async def test_a_right_that_is_revoked_for_a_moment_costs_nothing(
    postgresql: Any, tmp_path: Path, request: pytest.FixtureRequest, logged: list[str]
) -> None:
    """A restore of the database may revoke it."""
    url = await ready_database("postgresql", request, tmp_path)
    app = SqlApplication(url)
    await app.run(
        "CREATE ROLE limited LOGIN",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO limited",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO limited",
    )
    limited = url.replace("waguard@", "limited@")
    assert limited != url
    store = SqlStore(limited)
    await store.open()
    news = list[InboxRecord]()
    try:
        folder = MediaFolder(tmp_path / "media")
        async with Journal(store.messages, folder, base="http://waguard", for_global=tuple) as it:
            await app.run("REVOKE INSERT ON waguard_inbox FROM limited")
            it.put((of_event(event(1)),), news.extend)
            assert "permission denied" in await _waits(it, logged)
            assert news == []
            await app.run("GRANT INSERT ON waguard_inbox TO limited")
            assert await it.flushed(DEADLINE)
            assert len(news) == 1
            await app.run("REVOKE INSERT ON waguard_outbox FROM limited")
            await store.require_tables()  # they can be read
            with pytest.raises(DatabaseUnfitError, match="permission denied"):
                await store.messages.try_outbox()
            await app.run("GRANT INSERT ON waguard_outbox TO limited")
            await store.messages.try_outbox()
    finally:
        await store.close()
        await app.run("DROP OWNED BY limited", "DROP ROLE limited")


@every_database
async def test_only_what_a_value_may_be_to_blame_for_is_no_matter_of_the_database(
    database: str, store: SqlStore
) -> None:
    made: Database = store._database
    too_long = "x" * 10_000
    poison: tuple[tuple[str, dict[str, object]], ...] = (
        ("INSERT INTO waguard_inbox (id) VALUES (NULL)", {}),
        ("INSERT INTO waguard_sessions (workspace_id) VALUES (:it)", {"it": 2**70}),
        ("INSERT INTO waguard_sessions (session_id) VALUES (:it)", {"it": too_long}),
        ("INSERT INTO waguard_sessions (session_id) VALUES (:it)", {"it": "\ud800"}),
    )
    for statement, values in poison:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of the driver, or of Python
            async with made.writing() as work:
                await work.connection.execute(text(statement), values)
        assert not isinstance(caught.value, DatabaseUnfitError), (statement, caught.value)
        assert isinstance(caught.value, DBAPIError | ValueError | OverflowError), caught.value
    for statement in ("SELECT x FROM nowhere", "SELECT nothing FROM waguard_inbox", "SELEC 1"):
        with pytest.raises(DatabaseUnfitError):
            async with made.writing() as work:
                await work.connection.execute(text(statement))


@pytest.mark.parametrize("ready", BACKENDS, indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
async def test_sends_that_are_refused_are_a_condition_while_the_rest_is_stored(
    ready: str, fault: str, tmp_path: Path, logged: list[str]
) -> None:
    app = SqlApplication(ready)
    breaks, mends = (it.format("waguard_outbox") for it in FAULTS[fault])
    async with gateway(tmp_path, None, database=ready) as it:
        report = health(it)
        await app.run(breaks)
        for number in range(2):
            with pytest.raises(DatabaseUnfitError):
                await it.journal.keep(message("a", f"m{number}"))
        await it.stored(event(1))
        assert not it.journal.refusal
        assert types(report) == [], "it may be for a moment"
        refusal = it.journal.sends.refusal
        assert refusal
        before = Refusal(refusal.why, refusal.since - FAILING_FOR)
        it.journal.sends.refusal = before
        await report.count()
        assert report.queued is not None, "webhooks are counted"
        [found] = report.conditions()
        assert found.type == "database_behind"
        assert "each send is refused" in found.message
        assert "refuses a statement" in found.message
        await app.run(mends)
        await report.count()
        assert types(report) == [], "no send is needed for that"
        await it.journal.keep(message("a", "n"))
    said = [line for line in logged if "'event': 'writes_wait'" in line]
    assert all("are refused" in line and "'waiting': 0, 'refused': 1" in line for line in said)
    assert said


@pytest.mark.parametrize("ready", BACKENDS, indirect=True)
async def test_a_send_that_is_kept_ends_it(ready: str, tmp_path: Path) -> None:
    app = SqlApplication(ready)
    async with gateway(tmp_path, None, database=ready) as it:
        await app.run("ALTER TABLE waguard_outbox RENAME TO aside")
        with pytest.raises(DatabaseUnfitError):
            await it.journal.keep(message("a", "m"))
        await it.journal.caught_up()  # which keeps nothing, and proves nothing
        assert it.journal.sends.refusal
        await app.run("ALTER TABLE aside RENAME TO waguard_outbox")
        await it.journal.keep(message("a", "n"))
        assert it.journal.sends.refusal is None


@every_database
@pytest.mark.parametrize("fault", FAULTS)
async def test_each_own_table_is_asked(database: str, store: SqlStore, fault: str) -> None:
    app = SqlApplication(database)
    await store.require_tables()
    for table in ("waguard_outbox", "waguard_people"):
        breaks, mends = (it.format(table) for it in FAULTS[fault])
        await app.run(breaks)
        with pytest.raises(DatabaseUnfitError, match="session_id" if fault == "column" else table):
            await store.require_tables()
        await app.run(mends)
        await store.require_tables()


@every_database
async def test_own_tables_are_asked_with_one_statement(database: str, store: SqlStore) -> None:
    made: Database = store._database
    asked = list[str]()
    async with made.reading() as (connection, _):
        pool = connection.sync_engine

    def write(_: object, __: object, statement: str, *___: object) -> None:
        asked.append(statement)

    listen(pool, "before_cursor_execute", write)
    try:
        await store.require_tables()
    finally:
        remove(pool, "before_cursor_execute", write)
    [all_of_them] = [it for it in asked if "waguard_people" in it or "waguard_outbox" in it]
    for table in METADATA.sorted_tables:
        assert (table.name in all_of_them) is (table is not ACCOUNTS), table.name
