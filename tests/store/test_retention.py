"""What is old is deleted, but not what an open incident tells of; SQLite's file shrinks after it."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import SHAPES, Bench
from tests.store.test_outages import ModerateStore, write_locked
from waguard.config.sections import Retention
from waguard.core.incidents.changes import CHANGE
from waguard.errors import DatabaseUnavailableError
from waguard.ports.clock import WallAges
from waguard.ports.store import AuditEntry
from waguard.store import retention
from waguard.store.retention import Compaction
from waguard.store.sql import SqlStore

DAY = 86_400.0
KEEP = Retention()
with_every_store = pytest.mark.parametrize("bench", SHAPES, indirect=True)


async def record(
    bench: Bench, session: str | None, kind: str, days_ago: float, **about: Any
) -> None:
    at = bench.wall.time - days_ago * DAY
    await bench.store.record(AuditEntry(session_id=session, kind=kind, at=at, **about))


async def kinds(bench: Bench, session: str | None) -> list[str]:
    return [entry.kind for entry in await bench.store.audit(session)]


@with_every_store
async def test_old_entries_go_a_few_at_a_time(bench: Bench) -> None:
    for days in (200, 150, 100, 10):
        await record(bench, "a", f"k{days}", days)
    await record(bench, None, "fleet", 100)
    before = bench.wall.time - 90 * DAY
    assert set(await bench.store.audited(before=before)) == {"a", None}
    tidy = bench.store.tidy_audit
    assert [await tidy("a", before=before, limit=2) for _ in range(3)] == [2, 1, 0]
    assert await kinds(bench, "a") == ["k10"]
    assert await kinds(bench, None) == ["fleet"]
    assert await tidy(None, before=before, limit=2) == 1
    assert await bench.store.audited(before=before) == []
    await bench.store.compact()


@with_every_store
async def test_what_an_open_incident_needs_is_kept(bench: Bench) -> None:
    for name in ("parked", "well"):
        await bench.store.create(name, 1, account_id=None, priority=0)
        await record(bench, name, "restart", 300, reason="it died")
        await record(bench, name, "status", 299, before="disconnected", after="connected")
        await record(bench, name, "profile_mended", 120, reason="put aside")
        await record(bench, name, "parked", 110, reason="restart_budget")
    await record(bench, "well", "status", 100, before="failed", after="connected")
    await record(bench, "gone", "parked", 110, reason="conflict")  # its session was deleted
    for days, kind in ((130, "network_down"), (129, "network_up"), (120, "disk_low")):
        await record(bench, None, kind, days, reason="why")
    ages = WallAges(lambda: bench.wall.time)
    assert await retention.tidy_audit(bench.store, KEEP, ages) == 10
    assert await kinds(bench, "parked") == ["profile_mended", "parked"]
    assert await kinds(bench, "well") == []
    assert await kinds(bench, "gone") == []
    assert await kinds(bench, None) == ["disk_low"]
    assert await retention.tidy_audit(bench.store, KEEP, ages) == 0


@with_every_store
async def test_only_the_newest_changes_are_kept(bench: Bench) -> None:
    """Whoever has a key can ask for any number of them a day."""
    for days in (3, 2, 1):
        await record(bench, "a", CHANGE, days)
    await record(bench, "a", "parked", 3)
    ages = WallAges(lambda: bench.wall.time)
    assert await retention.tidy_audit(bench.store, KEEP, ages, changes=2) == 1
    assert len(await bench.store.changes(since=0.0, before=None, limit=9)) == 2
    assert [entry.kind for entry in await bench.store.audit("a")] == ["parked"]


@pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
async def test_an_open_incident_of_many_entries_is_kept_from_its_begin(bench: Bench) -> None:
    await bench.store.create("restless", 1, account_id=None, priority=0)
    await record(bench, "restless", "parked", 110, reason="restart_budget")
    for number in range(250):  # more than a page of the trail
        await record(bench, "restless", "restart", 80 - number / 10, reason="tried again")
    ages = WallAges(lambda: bench.wall.time)
    assert await retention.tidy_audit(bench.store, KEEP, ages) == 0
    trail = await bench.store.audit("restless", limit=1_000)
    assert [entry.kind for entry in trail] == ["parked", *["restart"] * 250]


def sizes(path: Path) -> tuple[int, int]:
    """Of the file and its WAL."""
    return path.stat().st_size, Path(f"{path}-wal").stat().st_size


async def fill(store: SqlStore, megabytes: int) -> None:
    for _ in range(megabytes):
        some = (
            AuditEntry(session_id="s", kind="big", reason="x" * 15_000, at=float(number))
            for number in range(70)
        )
        await asyncio.gather(*map(store.record, some))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "w.db"


async def test_a_file_of_ours_shrinks(file: Path) -> None:
    store = SqlStore(f"sqlite+aiosqlite:///{file}")
    await store.open()
    try:
        await store.compact()
        empty, _ = sizes(file)
        await fill(store, 8)
        await store.compact()
        full, wal = sizes(file)
        assert full > empty + 8_000_000
        assert wal == 0
        while await store.tidy_audit("s", before=100.0, limit=500):
            pass
        assert sizes(file)[0] == full
        await store.compact()
        assert sizes(file)[0] < empty + 500_000
        assert sizes(file)[1] == 0
        await store.record(AuditEntry(session_id="s", kind="next"))
        assert [entry.kind for entry in await store.audit("s")] == ["next"]
    finally:
        await store.close()


async def test_only_so_much_at_a_time(file: Path) -> None:
    few = Compaction(pages=100, rounds=2)
    store = SqlStore(f"sqlite+aiosqlite:///{file}", compaction=few)
    await store.open()
    try:
        await fill(store, 2)
        await store.compact()
        full, _ = sizes(file)
        while await store.tidy_audit("s", before=100.0, limit=500):
            pass
        await store.compact()
        assert sizes(file)[0] == full - 2 * 100 * 4096
    finally:
        await store.close()


async def test_a_file_of_another_program_is_left_as_it_is(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    store = SqlStore(f"sqlite+aiosqlite:///{file}")
    await store.open()
    try:
        await fill(store, 1)
        while await store.tidy_audit("s", before=100.0, limit=500):
            pass
        await store.compact()
        assert sizes(file)[0] > 1_000_000
    finally:
        await store.close()


async def test_a_reader_holds_nobody_up(file: Path) -> None:
    """The WAL is emptied another time; who writes waits a fifth of a second at most."""
    store = SqlStore(f"sqlite+aiosqlite:///{file}")
    await store.open()
    reader = sqlite3.connect(file, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM waguard_events").fetchall()
        await store.record(AuditEntry(session_id="s", kind="one"))
        await store.compact()
        assert sizes(file)[1] > 0
        reader.execute("ROLLBACK")
        await store.compact()
        assert sizes(file)[1] == 0
    finally:
        reader.close()
        await store.close()


async def test_a_locked_file_is_an_outage(file: Path) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    store = ModerateStore(url)
    await store.open()
    try:
        await fill(store, 1)
        while await store.tidy_audit("s", before=100.0, limit=500):
            pass
        with write_locked(url), pytest.raises(DatabaseUnavailableError, match="locked"):
            await store.compact()
        await store.compact()
    finally:
        await store.close()
