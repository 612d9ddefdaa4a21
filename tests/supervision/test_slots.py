"""Start slots and memory limits in the shell: what is shown, what the host says, what is spawned."""

import asyncio
from typing import Any

import pytest

from tests.supervision.bench import CONNECTED, LOADING, TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import heard, until
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.host.admission import Reading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import ParkCause
from waguard.core.session.facts import ParkRequested
from waguard.ports.process import Usage

MB = 1 << 20
SHORT = Reading(memory=310 * MB)
AMPLE = Reading(memory=8_000 * MB)


def started(world: World) -> list[str]:
    return [process.spec.session for process in world.spawn.begun]


async def two_are_starting(bench: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    for name in ("a", "b"):
        await bench.create(name)
    await wait_until(
        lambda: {"a", "b"} <= {p.spec.session for p in world.spawn.started if p.connected},
        "both are greeted",
    )


async def test_a_create_beyond_the_places_waits_and_says_why(empty: Bench, world: World) -> None:
    await two_are_starting(empty, world)
    view, _ = await empty.create("c")
    assert (view.lifecycle, view.status) == ("starting", "qr_scanning")
    assert view.waiting == "2 sessions are starting, the limit is 2"
    assert (await empty.it.sessions.view("a")).waiting is None
    empty.process("a").report("qr_pending", phase="settling")
    await wait_until(lambda: started(world) == ["a", "b", "c"], "it follows")
    assert (await empty.it.sessions.view("c")).waiting is None


async def test_a_place_that_is_free_is_taken_in_the_same_turn(empty: Bench, world: World) -> None:
    await empty.row("s", up=False, status="disconnected")
    await empty.it.sessions.view("s")
    session = empty.session("s")
    session.start()
    # no await in between: the worker's task is there already
    assert any(task.get_name() == "s: spawn" for task in asyncio.all_tasks())
    await until(session, lambda s: s.link is Link.CONNECTED)


async def test_a_restart_waits_for_a_place_too_and_the_important_one_goes_first(
    bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("low")
    await bench.row("high", priority=5)
    assert await bench.restore() == "restored 2"
    await two_are_starting(bench, world)
    for name in ("low", "high"):
        bench.process(name).exit(13)
        await until(bench.session(name), lambda s: s.state.held_back is not None)
        assert bench.session(name).lifecycle is State.STARTING
    view = await bench.it.sessions.view("high")
    assert (view.status, view.disconnect_details) == (
        "disconnected",
        "2 sessions are starting, the limit is 2",
    )
    assert "high: 2 sessions are starting, the limit is 2" in bench.it.health.read().problems
    bench.process("a").report("connected")
    await wait_until(lambda: started(world).count("high") == 2, "the important one is back")
    assert started(world).count("low") == 1
    bench.process("b").report("connected")
    await wait_until(lambda: started(world).count("low") == 2, "and the other one")


@pytest.mark.parametrize("how", ["stop", "delete", "park", "daemon"])
async def test_one_that_is_stopped_while_it_waits_is_never_spawned(
    empty: Bench, world: World, how: str
) -> None:
    await two_are_starting(empty, world)
    await empty.create("c")
    session = empty.session("c")
    async with asyncio.timeout(DEADLINE):
        match how:
            case "stop":
                await session.stop()
                assert session.lifecycle is State.STOPPED
            case "delete":
                await empty.it.sessions.delete("c", purge=True)
            case "park":
                session.post(ParkRequested(cause=ParkCause.CONFLICT, details="a test"))
                await until(session, lambda s: s.lifecycle is State.PARKED)
            case _:
                await empty.it.stop()
    assert "c" not in empty.it.mailbox.fleet.waiting
    if how != "daemon":
        for name in ("a", "b"):
            empty.process(name).report("connected")
            await until(empty.session(name), lambda s: s.link is Link.CONNECTED)
    assert started(world) == ["a", "b"]


async def test_short_memory_holds_a_session_back_until_there_is_some(
    empty: Bench, world: World
) -> None:
    world.host = SHORT
    view, _ = await empty.create("s")
    assert view.waiting
    assert "memory: 310 MB available" in view.waiting
    assert world.spawn.started == []
    assert any("memory: 310 MB" in problem for problem in empty.it.health.read().problems)
    await empty.it.watchdog.watch()
    assert world.spawn.started == []
    world.host = AMPLE
    world.clock.advance(1.0)
    await empty.it.watchdog.watch()
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)


async def test_other_numbers_are_no_news_to_the_row(empty: Bench, world: World) -> None:
    await empty.row("s", status="disconnected", up=False)
    world.host = SHORT
    await empty.it.sessions.start("s", restart=False)
    await empty.until_written()
    reported = world.store.accounts["s"].disconnect_details
    assert "310 MB" in str(reported)
    world.host = Reading(memory=280 * MB)
    world.clock.advance(1.0)
    await empty.it.watchdog.watch()
    assert empty.it.mailbox.fleet.host.left == world.host
    assert not empty.session().publisher.writer.row_pending
    assert world.store.accounts["s"].disconnect_details == reported


async def test_a_restore_does_not_wait_for_memory_that_may_never_come(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    world.host = SHORT
    assert await bench.restore() == "waiting 1"
    assert bench.it.health.read().restored
    world.host = AMPLE
    world.clock.advance(1.0)
    await bench.it.watchdog.watch()
    await until(bench.session(), lambda s: s.link is Link.CONNECTED)


async def test_an_adopted_worker_needs_no_place(bench: Bench, world: World) -> None:
    world.change("restore", concurrency=1)
    world.host = SHORT
    for name in ("a", "b"):
        await bench.row(name)
    left = [await world.left_behind(name) for name in ("a", "b")]
    assert await bench.restore(*((one.record, one.process) for one in left)) == "restored 2"


async def test_a_reload_of_the_places_counts_with_the_next_fact(empty: Bench, world: World) -> None:
    await two_are_starting(empty, world)
    await empty.create("c")
    world.change("restore", concurrency=3)
    heard(empty.session("a"))
    await wait_until(lambda: started(world) == ["a", "b", "c"], "it is started")


# ---- memory over the limit ----


async def big(bench: Bench, world: World, memory: int, *names: str) -> None:
    """Sessions that are up, on a limit of 400 MB."""
    world.change("worker", memory_limit=400)
    for name in names:
        await bench.connected(name)
        world.meter.usage[name] = usage(memory)


def usage(memory: int) -> Usage:
    return Usage(cpu_percent=1.0, memory=memory * MB)


async def test_what_each_uses_is_shown_until_its_worker_ends(empty: Bench, world: World) -> None:
    process = await empty.connected()
    world.meter.usage["s"] = usage(172)
    assert (await empty.it.sessions.view("s")).usage is None
    await empty.it.watchdog.measure()
    assert world.meter.measured_at == {"s": (process.pid, process.pid + 1)}
    assert (await empty.it.sessions.view("s")).usage == usage(172)
    process.exit(13)
    await until(empty.session(), lambda s: s.runner.process is not process)
    assert (await empty.it.sessions.view("s")).usage is None


async def test_one_above_its_limit_is_recycled_when_it_is_idle(empty: Bench, world: World) -> None:
    await big(empty, world, 500, "s")
    process = empty.process()
    await empty.it.watchdog.measure()
    assert empty.session().lifecycle is State.RUNNING
    world.clock.advance(61.0)
    await empty.it.watchdog.measure()
    await until(
        empty.session(), lambda s: s.runner.process is not process and s.link is Link.CONNECTED
    )
    assert empty.session().state.restarts == 0
    await empty.until_written()
    why = "it used 500 MB, worker.memory_limit is 400 MB"
    assert world.audited("recycled") == [(None, None, why)]
    assert world.audited("restart") == []


async def test_one_that_is_busy_is_not_recycled(empty: Bench, world: World) -> None:
    await big(empty, world, 500, "s")
    release = asyncio.Event()

    async def answer(_: Any) -> Any:
        await release.wait()
        return None

    empty.process().script.answer = answer
    sending = asyncio.create_task(empty.it.sessions.send("s", TEXT, wait=0))
    await wait_until(lambda: empty.process().calls, "it is being sent")
    world.clock.advance(61.0)
    await empty.it.watchdog.measure()
    assert empty.session().lifecycle is State.RUNNING
    sending.cancel()
    release.set()
    await asyncio.gather(sending, return_exceptions=True)
    await empty.it.watchdog.measure()  # it was active a moment ago
    assert empty.session().lifecycle is State.RUNNING
