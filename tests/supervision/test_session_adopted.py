"""One session that takes over the worker of an earlier daemon."""

import asyncio

import pytest

from tests.supervision.bench import TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import connected, until, written
from tests.supervision.world import World
from tests.waiting import DEADLINE
from waguard.core.blame import Blame, Failure
from waguard.core.exits import EXIT_DISK_FULL


async def test_an_adopted_worker_goes_on(bench: Bench, world: World) -> None:
    session = await bench.add()
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
    await session.traffic.send(TEXT)
    assert left.process.calls == [TEXT]


async def test_an_adopted_worker_ends_and_nobody_knows_how(bench: Bench, world: World) -> None:
    session = await bench.add()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    left.process.exit(None)
    await until(session, lambda s: s.state.restarts == 1)
    await until(session, connected)
    assert world.audited("restart") == [(None, None, "its exit code is unknown (adopted)")]
    assert session.runner.process is not left.process


async def test_an_adopted_worker_says_itself_with_which_code_it_ends(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
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


@pytest.mark.timings(stop_grace=DEADLINE, final_flush=0.05)  # however slow the machine is
async def test_an_adopted_worker_that_nobody_can_talk_to_is_replaced(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    world.spawn.scripts["s"] = Script(listens=False)
    left = await world.left_behind("s", generation=session.row.generation)
    del world.spawn.scripts["s"]
    session.adopt(left.process, left.record)
    await until(session, connected)
    assert left.process.signals == ["TERM"]
    assert session.runner.process is not left.process


@pytest.mark.timings(stop_grace=DEADLINE)  # however slow the machine is
async def test_an_adopted_worker_is_stopped_like_any_other(bench: Bench, world: World) -> None:
    session = await bench.add()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert left.process.signals == ["TERM"]
    assert not left.process.alive
