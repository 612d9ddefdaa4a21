"""The driver beneath SQLAlchemy: few steps, and no transaction that nobody asked for or that nobody ends."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.store.conftest import PATIENT
from tests.waiting import wait_until
from waguard.core.messages.send_states import State
from waguard.ports.outbox import NewMessage
from waguard.store import database as databases
from waguard.store import sqlite
from waguard.store.engine import Engines, commit_with_next, connect
from waguard.store.failures import answering
from waguard.store.layout import Layout
from waguard.store.sql import BUSY_TIMEOUT, SqlStore

ADD = text("INSERT INTO t VALUES (1)")
COUNT = text("SELECT count(*) FROM t")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "waguard.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
    return path


@pytest.fixture
async def engines(path: Path) -> AsyncIterator[Engines]:
    made = connect(make_url(f"sqlite+aiosqlite:///{path}"), busy_timeout=0.05)
    async with (
        made.writer.begin() as connection
    ):  # what follows a first connection is no cost of a write
        await connection.execute(COUNT)
    yield made
    await made.dispose()


@pytest.fixture
def steps(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the threads of connections were asked for."""
    asked: list[str] = []
    ask = sqlite.Connection._execute

    def record(self: sqlite.Connection, fn: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(fn.__name__)
        return ask(self, fn, *args, **kwargs)

    monkeypatch.setattr(sqlite.Connection, "_execute", record)
    return asked


def draft() -> NewMessage:
    return NewMessage(
        session_id="a",
        workspace_id=1,
        chat="6281180002@c.us",
        kind="text",
        body=b"{}",
        message_id="true_6281180002@c.us_1",
        state=State.SENDING,
        fingerprint="f",
    )


def rows(path: Path) -> int:
    """As another program sees them."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


async def test_a_write_is_two_steps_of_the_thread_its_statement_and_the_commit(
    engines: Engines, steps: list[str], path: Path
) -> None:
    async with engines.writer.begin() as connection:
        await connection.execute(ADD)
    assert steps == ["_run", "commit"]
    assert rows(path) == 1


async def test_a_read_is_two_steps(engines: Engines, steps: list[str]) -> None:
    async with engines.writer.connect() as connection:
        assert await connection.scalar(COUNT) == 0
    assert steps == ["_run", "rollback"]


async def test_a_kept_message_is_one_step(steps: list[str], path: Path) -> None:
    store = SqlStore(f"sqlite+aiosqlite:///{path}")
    await store.open()
    await store.messages.write((), outgoing=(draft(),))
    steps.clear()
    kept = [(await store.messages.write((), outgoing=(draft(),))).kept for _ in range(2)]
    assert steps == ["_run", "_run"]
    assert kept == [(2,), (3,)]
    found = await store.outbox.find(3)
    assert found
    assert found.state is State.SENDING
    await store.close()


async def test_a_last_statement_that_fails_commits_nothing(engines: Engines, path: Path) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(ADD)
        commit_with_next(connection)
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    async with engines.writer.connect() as connection:
        with pytest.raises(OperationalError, match="nowhere"):
            await connection.run_sync(fail)
    assert rows(path) == 0
    async with engines.writer.connect() as connection:
        await connection.execute(ADD)  # this one is no last one
    assert rows(path) == 0


async def test_a_commit_that_fails_in_the_last_step_is_reported_and_undone(
    engines: Engines, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE child (n INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
        )
        connection.execute("CREATE TABLE parent (n INTEGER PRIMARY KEY)")

    def orphan(connection: Connection) -> None:
        connection.execute(ADD)
        commit_with_next(connection)
        connection.execute(text("INSERT INTO child VALUES (1)"))

    with pytest.raises(IntegrityError):
        async with engines.writer.connect() as writer:
            await writer.run_sync(orphan)
    async with engines.writer.begin() as writer:
        await writer.execute(text("INSERT INTO parent VALUES (1)"))
    assert rows(path) == 0


async def test_a_transaction_of_nothing_asks_for_nothing(
    engines: Engines, steps: list[str]
) -> None:
    async with engines.writer.begin():
        pass
    assert steps == []


async def test_what_a_cancelled_writer_still_does_is_undone(engines: Engines, path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> int:
        begun.set()
        return int(go_on.wait(20))

    async def write() -> None:
        async with engines.writer.begin() as connection:
            raw = await connection.get_raw_connection()
            assert raw.driver_connection
            await raw.driver_connection.create_function("wait", 0, wait)
            await connection.execute(text("INSERT INTO t SELECT wait()"))

    writer = asyncio.create_task(write())
    await wait_until(begun.is_set, "the thread is at work")
    writer.cancel()
    await asyncio.sleep(0)  # it is told while the thread is still at work
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert rows(path) == 0
    async with engines.writer.begin() as connection:
        await connection.execute(ADD)
    assert rows(path) == 1


async def test_without_its_lock_nothing_is_written_outside_of_a_transaction(
    engines: Engines, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with engines.writer.connect() as connection:
            with pytest.raises(OperationalError, match="locked"):
                await connection.execute(ADD)
            other.execute("ROLLBACK")
            await connection.execute(ADD)  # whoever goes on all the same is in a transaction
            await connection.rollback()
    assert rows(path) == 0


async def test_what_a_statement_returns_and_changes_is_reported(engines: Engines) -> None:
    async with engines.writer.begin() as connection:
        returned = await connection.execute(text("INSERT INTO t VALUES (7), (8) RETURNING n"))
        assert returned.scalars().all() == [7, 8]
        await connection.execute(text("INSERT INTO t VALUES (:n)"), [{"n": 9}, {"n": 10}])
        changed = await connection.execute(text("UPDATE t SET n = 0 WHERE n > 7"))
        assert changed.rowcount == 3


async def test_migrations_may_take_longer_than_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off, they are rolled back; a busy machine had begun them anew for ever."""
    upgraded = databases._upgraded
    limits, of_migrations = list[float](), list[float]()

    def watched(name: str, *, within: float) -> AbstractAsyncContextManager[asyncio.Timeout]:
        limits.append(within)
        return answering(name, within=within)

    def noted(connection: Connection) -> Layout:
        of_migrations.append(limits[-1])
        return upgraded(connection)

    monkeypatch.setattr(databases, "answering", watched)
    monkeypatch.setattr(databases, "_upgraded", noted)
    store = SqlStore(f"sqlite+aiosqlite:///{tmp_path}/w.db", busy_timeout=PATIENT)
    await store.open()
    await store.ping()
    await store.close()
    assert of_migrations == [databases.UPGRADE_LIMIT]
    assert databases.UPGRADE_LIMIT > 2 * BUSY_TIMEOUT


async def test_what_is_in_use_at_a_close_is_closed_when_it_is_returned(engines: Engines) -> None:
    """Else its thread goes on until the process ends."""
    async with engines.reader.connect() as connection:
        assert await connection.scalar(COUNT) == 0
        driver = (await connection.get_raw_connection()).driver_connection
        await engines.dispose()
        assert await connection.scalar(COUNT) == 0
    assert driver is not None
    with pytest.raises(ValueError, match="no active connection"):
        await driver.execute("SELECT 1")


async def test_who_is_cancelled_while_it_connects_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    opened = list[sqlite3.Connection]()

    def slowly(*args: object, **_: object) -> sqlite3.Connection:
        begun.set()
        go_on.wait()
        opened.append(real(":memory:", check_same_thread=False))
        return opened[0]

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", slowly)
    it = sqlite.connected(":memory:")
    connecting = asyncio.ensure_future(it)
    await asyncio.to_thread(begun.wait)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    go_on.set()
    await asyncio.to_thread(it._thread.join)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
