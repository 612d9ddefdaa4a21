"""The writer of an audit log: nothing waits for it, each entry is stored once, and what is lost is in the log."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from loguru import logger

from tests.store.memory import MemoryStore
from tests.supervision.world import World
from tests.waiting import DEADLINE
from waguard.core.incidents.changes import CHANGE
from waguard.errors import DatabaseUnavailableError, DatabaseUnfitError
from waguard.host.clock import SystemClock
from waguard.ports.store import AuditEntry
from waguard.supervision.status_writer import TRAIL_LIMIT, AuditLog


@pytest.fixture
def lost() -> Iterator[list[dict[str, Any]]]:
    """The fields of each line of what is lost."""
    lines: list[dict[str, Any]] = []
    sink = logger.add(lambda it: lines.append(it.record["extra"]), level="ERROR", format="")
    yield lines
    logger.remove(sink)


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await made.open()
    return made


@pytest.fixture
async def audit(store: MemoryStore) -> AsyncIterator[AuditLog]:
    """Of changes of all sessions."""
    made = AuditLog(None, store, SystemClock(), publish=lambda _: None, retry=0.001)
    writing = asyncio.create_task(made.trail())
    yield made
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


def change(number: int) -> AuditEntry:
    return AuditEntry(
        session_id=f"s{number}",
        kind=CHANGE,
        reason="the application",
        evidence={"event": number, "kind": "no field of the line"},
    )


async def test_entries_wait_for_the_database_and_the_log_has_those_beyond_the_limit(
    store: MemoryStore, audit: AuditLog, lost: list[dict[str, Any]]
) -> None:
    store.down = True
    for number in range(TRAIL_LIMIT + 1):
        audit.append(change(number))
    (line,) = lost
    assert (line["event"], line["reason"]) == ("audit_lost", "the application")
    assert line["evidence"]["event"] == TRAIL_LIMIT
    store.down = False
    await audit.flush(DEADLINE)
    assert [it.session_id for it in store.entries] == [f"s{n}" for n in range(TRAIL_LIMIT)]
    assert lost == [line]


async def test_the_end_waits_no_longer_than_it_may_and_says_what_is_lost(
    store: MemoryStore, audit: AuditLog, lost: list[dict[str, Any]]
) -> None:
    store.down = True
    audit.append(change(1))
    audit.append(change(2))
    await audit.flush(0.01)
    assert [line["event"] for line in lost] == ["audit_lost"] * 2
    assert [line["evidence"]["event"] for line in lost] == [1, 2]
    assert store.entries == []


async def test_an_entry_whose_commit_was_not_heard_of_is_stored_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, unheard = world.store, 3
    record = store.record

    async def lost(entry: AuditEntry, *, again: bool = False) -> None:
        nonlocal unheard
        await record(entry, again=again)
        unheard -= 1
        if unheard >= 0:
            raise DatabaseUnavailableError("the connection was lost")

    monkeypatch.setattr(store, "record", lost)
    trail = AuditLog("s", store, world.clock, publish=lambda _: None, retry=0.001)
    writing = asyncio.create_task(trail.trail())
    for kind in ("a", "b", "b"):  # the clock stands, and these two are two
        trail.record(kind)
    async with asyncio.timeout(DEADLINE):
        await trail.recorded()
    writing.cancel()
    assert [entry.kind for entry in store.entries] == ["a", "b", "b"]


@pytest.mark.parametrize("outage", [0, 2])
async def test_while_the_table_is_missing_nothing_is_lost_and_it_is_said_once(
    store: MemoryStore,
    audit: AuditLog,
    lost: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    outage: int,
) -> None:
    record, tries = store.record, 0

    async def missing(entry: AuditEntry, *, again: bool = False) -> None:
        nonlocal tries
        tries += 1
        if tries <= outage:
            raise DatabaseUnavailableError("the database is away")
        if tries <= outage + 3:
            raise DatabaseUnfitError("there is no table waguard_events")
        await record(entry, again=again)

    monkeypatch.setattr(store, "record", missing)
    for number in range(2):
        audit.append(change(number))
    async with asyncio.timeout(DEADLINE):
        await audit.recorded()
    assert [entry.session_id for entry in store.entries] == ["s0", "s1"]
    assert [line["event"] for line in lost] == ["audit_waits"]
