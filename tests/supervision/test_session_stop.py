"""A stop, whatever the worker does meanwhile, and whose wish it was."""

import asyncio

import pytest

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import connected, parked, until, up, written
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.lifecycle import HAS_PROCESS, State
from waguard.core.row_status import ParkCause
from waguard.core.session.facts import ParkRequested, StopRequested
from waguard.supervision.session.actor import SessionActor


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
