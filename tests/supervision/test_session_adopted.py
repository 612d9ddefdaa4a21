"""One session that takes over the worker of an earlier daemon."""

import asyncio

import pytest

from tests.supervision.bench import TEXT
from tests.supervision.fakes import Script, World, until
from tests.supervision.sessions import Make, connected, written
from tests.waiting import DEADLINE
from waguard.core.blame import Blame, Failure
from waguard.core.exits import EXIT_DISK_FULL


async def test_an_adopted_worker_goes_on(world: World, make: Make) -> None:
    session = await make()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    await written(session)
    assert world.row_status("s") == ("connected", None)
    assert left.process.greeting
    assert left.process.greeting.generation == session.row.generation
    assert world.spawn.started == [left.process]
    assert left.process.signals == []
    assert world.audited("adopted")
    await session.traffic.call(TEXT)
    assert left.process.calls == [TEXT]


async def test_an_adopted_worker_ends_and_nobody_knows_how(world: World, make: Make) -> None:
    session = await make()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    left.process.exit(None)
    await until(session, lambda s: s.state.restarts == 1)
    await until(session, connected)
    assert world.audited("restart") == [(None, None, "its exit code is unknown (adopted)")]
    assert session.runner.process is not left.process


async def test_an_adopted_worker_says_itself_with_which_code_it_ends(
    world: World, make: Make
) -> None:
    session = await make()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    left.process.report("unknown", phase="closing", exit_code=EXIT_DISK_FULL, details="no room")
    left.process.exit(None)
    await until(session, lambda s: s.state.failure is not None)
    assert session.state.failure == Failure(
        Blame.HOST, "disk_full", "the disk of its profile is full", "no room"
    )
    assert session.state.counted == ()


async def test_an_adopted_worker_that_nobody_can_talk_to_is_replaced(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(stop_grace=DEADLINE)  # however slow the machine is
    world.timings(final_flush=0.05)
    session = await make()
    world.spawn.scripts["s"] = Script(listens=False)
    left = await world.left_behind("s", generation=session.row.generation)
    del world.spawn.scripts["s"]
    session.adopt(left.process, left.record)
    await until(session, connected)
    assert left.process.signals == ["TERM"]
    assert session.runner.process is not left.process


async def test_an_adopted_worker_is_stopped_like_any_other(world: World, make: Make) -> None:
    world.timings(stop_grace=DEADLINE)  # however slow the machine is
    session = await make()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert left.process.signals == ["TERM"]
    assert not left.process.alive
