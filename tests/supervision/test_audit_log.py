"""The audit log is written in order and for ever, and each entry once."""

import asyncio

import pytest

from tests.supervision.world import World
from tests.waiting import DEADLINE
from waguard.errors import DatabaseUnavailableError
from waguard.ports.store import AuditEntry
from waguard.supervision.status_writer import AuditLog


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
