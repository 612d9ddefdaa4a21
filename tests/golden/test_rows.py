"""A database of any revision is upgraded without a loss, and an older release goes on in the upgraded one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.golden import rows
from waguard.core.cluster.records import Owner
from waguard.core.messages.send_states import State
from waguard.core.proxy import Recorded
from waguard.ports.webhooks import GLOBAL
from waguard.store.revision import HEAD
from waguard.store.sql import SqlStore

each_revision = pytest.mark.parametrize("revision", rows.revisions())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "waguard.db"


@pytest.fixture
async def store(revision: str, path: Path) -> AsyncIterator[SqlStore]:
    """Today's, on a database that was made then."""
    rows.make(revision, path)
    opened = SqlStore(url(path), wall=lambda: rows.AT + 10)
    await opened.open()
    yield opened
    await opened.close()


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def missing(before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]) -> Any:
    """Values that were there before and are not any more."""
    return {
        (table, column): (value, after.get(table, [{}])[number].get(column))
        for table, found in before.items()
        for number, row in enumerate(found)
        for column, value in row.items()
        if after.get(table, [{}])[number].get(column, ...) != value
    }


def test_each_revision_has_a_golden_database() -> None:
    kept = sorted(path.stem for path in rows.FOLDER.glob("*.sql"))
    assert kept == rows.revisions(), "run `python -m tests.golden` after a new migration"
    assert kept[-1] == HEAD


@each_revision
async def test_an_upgrade_loses_no_value(revision: str, path: Path, store: SqlStore) -> None:
    then = path.with_name("then.db")
    rows.make(revision, then)
    await store.ping()
    assert missing(rows.tables(then), rows.tables(path)) == {}


@each_revision
async def test_todays_store_reads_rows_of_then(store: SqlStore) -> None:
    (session,) = await store.sessions()
    assert (session.session_id, session.workspace_id, session.desired_up) == ("alpha", 7, True)
    assert (session.generation, session.priority, session.status) == (9, 3, "disconnected")
    assert await store.metadata("alpha") == {"theirs": 1}
    (audited,) = await store.audit("alpha")
    assert (audited.kind, audited.evidence) == ("status", {"blame": "network", "ä": [1, None]})


@pytest.mark.parametrize("revision", [it for it in rows.revisions() if it >= "0003"])
async def test_todays_store_reads_messages_of_then(store: SqlStore) -> None:
    (waiting,), bodies = await store.messages.pending(GLOBAL, after=0, limit=10)
    assert (bodies[waiting.id], waiting.attempts, waiting.partition) == (
        rows.WEBHOOK,
        2,
        "628123@c.us",
    )
    (endpoint,) = await store.messages.endpoints()
    assert (endpoint.url, endpoint.secret) == ("https://receiver.example/hook", "s")
    assert await store.messages.newest("alpha", after=0.0) == {"628123@c.us": rows.AT}
    (sent,) = await store.outbox.listing()
    assert (sent.state, sent.ack, sent.key) == (State.DELIVERED, 2, "order-1")
    assert await store.outbox.load(sent.id) == (rows.ROWS["waguard_outbox"]["body"], None)


@pytest.mark.parametrize("revision", [HEAD])
async def test_todays_store_reads_its_newest_tables(store: SqlStore) -> None:
    (readers,) = await store.outbox.readers("alpha", rows.MESSAGE)
    assert (readers.reader, readers.ack) == ("628999@c.us", 3)
    people = await store.messages.people("alpha")
    assert people.number("7@lid") == "628123@c.us"
    (waiting,), count = await store.messages.undecryptable("alpha", limit=10)
    assert (waiting.message_id, count) == ("false_628123@c.us_3B", 1)
    (session,) = await store.sessions()
    assert session.limits == rows.ROWS["waguard_sessions"]["limits"]
    claim = await store.credentials.claim("alpha")
    assert claim
    assert (claim.note.epoch, claim.sealed, claim.orderly) == (4, b"sealed", True)
    (part,) = await store.credentials.parts("alpha", "0d" * 16, 1)
    assert (part.epoch, part.sealed) == (3, b"sealed")
    recorded = Recorded(mark="0e" * 8, at=rows.AT, sealed=b"sealed")
    assert await store.proxies.recorded() == {"alpha": recorded}
    (owner,) = await store.owners().owners()
    assert owner == Owner(
        session="alpha",
        host="h1",
        incarnation="0b" * 16,
        epoch=5,
        to_host="h2",
        moved_at=rows.AT,
    )
    _, (issued,) = await store.shared_keys(rows.KEY).keys()
    assert (issued.name, issued.ended_by, issued.used_at) == (
        "shop",
        "root by the socket",
        rows.AT,
    )


@each_revision
async def test_a_release_of_then_writes_into_the_upgraded_database(
    revision: str, path: Path, tmp_path: Path
) -> None:
    """It knows the columns of then alone: all others are empty or have a default."""
    then = tmp_path / "then.db"
    rows.make(revision, then)
    newest = SqlStore(url(path))
    await newest.open()
    await newest.close()
    async with create_async_engine(url(path), poolclass=NullPool).connect() as connection:
        for table, found in rows.tables(then).items():
            for row in found:
                await connection.run_sync(rows.insert, table, row)
        await connection.commit()
    assert missing(rows.tables(then), rows.tables(path)) == {}
