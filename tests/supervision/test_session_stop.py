"""A stop, whatever the worker does meanwhile, and whose wish it was."""

import asyncio
import itertools
from typing import Final

import pytest

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import connected, parked, until, up, written
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.lifecycle import HAS_PROCESS, State
from waguard.core.row_status import ParkCause
from waguard.core.session.facts import ParkRequested, StopRequested
from waguard.ports.process import Effort
from waguard.supervision.session.actor import SessionActor
from waguard.wire.reports import Heartbeat

NEVER: Final = 10 * DEADLINE  # s; no test takes that long


async def answers_are_due(bench: Bench, world: World) -> None:
    """Return when all were checked."""
    world.clock.advance(1.0)
    bench.it.mailbox.tick()  # nothing that was said since is read before
    for session in bench.it.registry.sessions:
        checks = [it for it in session._tasks._running if it.get_name().endswith(": answer")]
        await asyncio.gather(*checks)


async def test_a_stop_while_it_is_being_started_leaves_no_process(
    bench: Bench, world: World
) -> None:
    world.spawn.script.held = asyncio.Event()
    session = await bench.add()
    session.start()
    await wait_until(lambda: world.spawn.starting, "the spawn is under way")
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    world.spawn.script.held.set()
    async with asyncio.timeout(DEADLINE):
        await stopping
    assert session.lifecycle is State.STOPPED
    assert len(world.spawn.started) == 1
    assert world.spawn.alive == []


async def test_a_stop_while_its_worker_is_not_listening_yet(bench: Bench, world: World) -> None:
    world.spawn.script.listens = False
    session = await bench.add()
    session.start()
    await wait_until(lambda: world.spawn.started, "it was spawned")
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert world.spawn.alive == []
    assert session.state.restarts == 0


async def test_the_last_request_wins(bench: Bench, world: World) -> None:
    session = await bench.add()
    first = await up(session)
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    session.start()
    async with asyncio.timeout(DEADLINE):
        await stopping
    await until(session, connected)
    assert world.spawn.alive == [session.runner.process]
    assert session.runner.process is not first
    assert session.state.restarts == 0


@pytest.mark.timings(stop_grace=0.05)
async def test_a_stubborn_worker_is_killed(bench: Bench, world: World) -> None:
    world.spawn.script.obeys = False
    session = await bench.add()
    process = await up(session)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert process.signals == ["TERM", "KILL"]
    assert session.lifecycle is State.STOPPED


@pytest.mark.timings(stop_grace=NEVER)
async def test_a_worker_that_does_not_answer_is_killed(bench: Bench, world: World) -> None:
    world.spawn.script = Script(obeys=False, effort=lambda: Effort(rests=True, cpu=1.0))
    session = await bench.add()
    process = await up(session)
    session.post(StopRequested())
    await answers_are_due(bench, world)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert process.signals == ["TERM", "KILL"]
    await written(session)
    assert world.row_status("s") == ("disconnected", "user_initiated")
    assert session.state.restarts == 0


@pytest.mark.timings(stop_grace=NEVER)
async def test_one_that_runs_for_long_and_does_not_answer_is_killed(
    bench: Bench, world: World
) -> None:
    used = itertools.count(100.0)
    world.spawn.script = Script(obeys=False, effort=lambda: Effort(rests=False, cpu=next(used)))
    session = await bench.add()
    process = await up(session)
    session.post(StopRequested())
    await answers_are_due(bench, world)
    assert process.signals == ["TERM"], "what it had used before says nothing"
    await answers_are_due(bench, world)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert process.signals == ["TERM", "KILL"]
    assert next(used) == 102.0


@pytest.mark.timings(stop_grace=NEVER)
async def test_an_answer_that_is_not_read_yet_is_one(bench: Bench, world: World) -> None:
    """The daemon was busy when the time to check came."""
    world.spawn.script = Script(obeys=False, effort=lambda: Effort(rests=True, cpu=1.0))
    session = await bench.add()
    process = await up(session)
    session.post(StopRequested())
    process.report("unknown", phase="closing")
    await answers_are_due(bench, world)
    await until(session, lambda s: s.state.worker is not None and s.state.worker.closing)
    process.exit(0)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert process.signals == ["TERM"]


@pytest.mark.timings(stop_grace=NEVER)
async def test_an_answer_behind_much_else_is_waited_for(bench: Bench, world: World) -> None:
    """It rests because its line is full of what it said before."""
    world.spawn.script = Script(obeys=False, effort=lambda: Effort(rests=True, cpu=1.0))
    session = await bench.add()
    process = await up(session)
    session.post(StopRequested())
    process.send(*[Heartbeat(devtools=None, page=None)] * 20_000)
    process.report("unknown", phase="closing")
    await answers_are_due(bench, world)
    await until(session, lambda s: s.state.worker is not None and s.state.worker.closing)
    process.exit(0)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert process.signals == ["TERM"]


@pytest.mark.timings(stop_grace=0.3)
async def test_one_that_closes_and_hangs_is_killed_when_its_grace_is_over(
    bench: Bench, world: World
) -> None:
    world.spawn.script = Script(obeys=False)
    session = await bench.add()
    process = await up(session)
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    process.report("unknown", phase="closing")
    async with asyncio.timeout(DEADLINE):
        await stopping
    assert process.signals == ["TERM", "KILL"]


async def test_one_that_dies_while_it_closes_has_stopped(bench: Bench, world: World) -> None:
    world.spawn.script = Script(obeys=False)
    session = await bench.add()
    process = await up(session)
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    process.report("unknown", phase="closing")
    process.exit(-9)
    async with asyncio.timeout(DEADLINE):
        await stopping
    await written(session)
    assert world.row_status("s") == ("disconnected", "user_initiated")


@pytest.mark.timings(stop_grace=NEVER)
async def test_what_cannot_answer_is_not_checked(bench: Bench, world: World) -> None:
    """The daemon has no line to it."""
    asked = list[bool]()

    def effort() -> Effort:
        asked.append(True)
        return Effort(rests=True, cpu=1.0)

    world.spawn.script = Script(obeys=False, effort=effort)
    session = await bench.add()
    process = await up(session)
    process.hang_up()
    await wait_until(lambda: session.runner.link is None, "the line is lost")
    session.post(StopRequested())
    await session.runner.check_answer(1)
    assert asked == []
    assert process.signals == ["TERM"]
    process.exit(0)


async def test_what_a_worker_leaves_in_its_group_is_ended(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    world.spawn.remains.add(process.pid)
    await session.stop()
    await written(session)
    assert world.audited("stray_ended") == [(None, None, "its worker was gone")]


async def test_a_stop_of_what_is_down_says_who_wanted_it(bench: Bench, world: World) -> None:
    session = await bench.add()
    await session.stop()
    await written(session)
    assert world.row_status("s") == ("disconnected", "user_initiated")


async def test_the_daemon_stops(bench: Bench, world: World) -> None:
    session = await bench.add()
    await up(session)
    async with asyncio.timeout(DEADLINE):
        await session.stop(daemon_stopping=True)
    await written(session)
    assert world.row_status("s") == ("disconnected", "instance_restart")
    assert world.store.accounts["s"].disconnect_details == "waguard was stopped"


async def test_what_was_stopped_or_parked_before_keeps_its_reason(
    bench: Bench, world: World
) -> None:
    stopped, waiting = await bench.add("stopped"), await bench.add("parked")
    await up(stopped)
    await stopped.stop()
    await up(waiting)
    waiting.post(ParkRequested(cause=ParkCause.BLOCKED, details="TOS_BLOCK"))
    await until(waiting, parked)
    for session in (stopped, waiting):
        await session.stop(daemon_stopping=True)
        await written(session)
    assert world.row_status("stopped") == ("disconnected", "user_initiated")
    assert world.row_status("parked") == ("failed", "error")


async def brought_to(state: State, session: SessionActor, world: World) -> None:
    """Its worker hangs there."""
    world.spawn.script = Script(obeys=False, listens=state is not State.STARTING)
    session.start()
    if state is not State.STARTING:
        await until(session, connected)
    match state:
        case State.RECYCLING:
            session.start(restart=True)
        case State.PARKING:
            session.post(ParkRequested(cause=ParkCause.BLOCKED, details="TOS_BLOCK"))
        case State.STOPPING:
            session.post(StopRequested())
        case _:
            pass
    await until(session, lambda s: s.lifecycle is state)
    await wait_until(lambda: world.spawn.alive, "it has a process")


@pytest.mark.parametrize("state", sorted(HAS_PROCESS))
async def test_every_state_with_a_process_can_be_stopped(
    bench: Bench, world: World, state: State
) -> None:
    session = await bench.add()
    await brought_to(state, session, world)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert session.lifecycle in {State.STOPPED, State.PARKED}
    assert len(world.spawn.started) == 1
    assert world.spawn.alive == []
