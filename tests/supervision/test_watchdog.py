"""The ticks: what is silent is replaced."""

import asyncio
from collections.abc import Callable

import pytest

from tests.supervision.bench import LOADING, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import heard_at, until
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.supervision.session.actor import SessionActor


async def watch_for(bench: Bench, seconds: int, beat: Callable[[], None] = lambda: None) -> None:
    """The ticks of so many seconds; ``beat`` is called before each."""
    for _ in range(seconds):
        bench.world.clock.advance(1)
        beat()
        await asyncio.sleep(0)
        await bench.it.watchdog.watch()


async def test_a_silent_worker_is_replaced(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await watch_for(empty, 4)
    assert empty.session().lifecycle is State.RUNNING
    await watch_for(empty, 1)
    assert empty.session().lifecycle is State.RECYCLING
    await until(
        empty.session(), lambda s: s.runner.process is not process and s.link is Link.CONNECTED
    )
    await empty.until_written()
    assert world.audited("restart") == [(None, None, "the worker has not answered for 5 s")]


async def beating(
    bench: Bench,
    process: FakeProcess,
    seconds: int,
    page: float | None,
    *,
    unrecoverable: bool = False,
) -> None:
    session = bench.session(process.spec.session)
    async with asyncio.timeout(DEADLINE):
        for _ in range(seconds):
            bench.world.clock.advance(1)
            process.beat(page, unrecoverable=unrecoverable)
            while heard_at(session) != bench.world.clock.monotonic():
                await asyncio.sleep(0)
            await bench.it.watchdog.watch()


async def test_a_silent_page_is_replaced_although_its_worker_lives(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await beating(empty, process, 29, page=None)
    assert empty.session().lifecycle is State.RUNNING
    await beating(empty, process, 1, page=None)
    assert empty.session().lifecycle is State.RECYCLING
    await until(empty.session(), lambda s: s.runner.process is not process)
    await empty.until_written()
    assert world.audited("restart") == [(None, None, "the page has not answered for 30 s")]


@pytest.mark.parametrize(("cpu_is_saturated", "limit"), [(False, 10), (True, 30)])
async def test_a_page_that_cannot_be_helped_is_replaced_sooner_where_there_are_cores(
    empty: Bench, world: World, *, cpu_is_saturated: bool, limit: int
) -> None:
    process = await empty.connected()
    world.cpu_is_saturated = cpu_is_saturated
    await beating(empty, process, limit - 1, page=None, unrecoverable=True)
    assert empty.session().lifecycle is State.RUNNING
    await beating(empty, process, 1, page=None, unrecoverable=True)
    assert empty.session().lifecycle is State.RECYCLING


async def test_unresponsiveness_is_reported_before_anything_is_done(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await beating(empty, process, 1, page=None)
    assert (await empty.it.sessions.view("s")).disconnect_details is None
    await beating(empty, process, 1, page=None)
    view = await empty.it.sessions.view("s")
    assert (view.status, view.disconnect_details) == ("connected", "the page does not answer")
    await beating(empty, process, 1, page=0.01)
    assert (await empty.it.sessions.view("s")).disconnect_details is None
    assert empty.session().runner.process is process
    await watch_for(empty, 3)
    assert (await empty.it.sessions.view("s")).disconnect_details == "the worker does not answer"


async def test_why_a_page_is_silent_is_reported_where_it_is_known(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    process.report(silence="Chromium's process 7 was stopped (SIGSTOP)")
    await beating(empty, process, 10, page=None, unrecoverable=True)
    await until(empty.session(), lambda s: s.runner.process is not process)
    await empty.until_written()
    ((_, _, why),) = world.audited("restart")
    assert why == ("the page has not answered for 10 s: Chromium's process 7 was stopped (SIGSTOP)")


async def test_quiet_is_not_dead(empty: Bench, world: World) -> None:
    """Fault 7: no message in an hour, only heartbeats."""
    process = await empty.connected()
    await beating(empty, process, 3_600, page=0.01)
    assert empty.session().runner.process is process
    assert empty.session().state.restarts == 0


async def test_a_page_that_answers_but_never_says_how_it_stands(empty: Bench, world: World) -> None:
    """Wa-js could not be injected after a reload: the row must not say connected for ever."""
    process = await empty.connected()
    process.report("unknown")
    await until(empty.session(), lambda s: s.link is Link.UNKNOWN)
    await beating(empty, process, 30, page=0.01)
    await empty.until_written()
    assert world.row_status("s") == ("disconnected", "unknown")
    assert empty.session().runner.process is process
    await beating(empty, process, 30, page=0.01)
    assert empty.session().lifecycle is State.RECYCLING
    await until(empty.session(), lambda s: s.runner.process is not process)
    await empty.until_written()
    assert "the state of its link to WhatsApp" in str(world.audited("restart")[0][2])


async def test_a_start_that_takes_too_long(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started, "it was spawned")
    limit = int(world.config.browser.launch_timeout + world.config.restore.timeout)
    await watch_for(empty, limit - 1)
    assert empty.session().lifecycle is State.STARTING
    await watch_for(empty, 1)
    assert empty.session().lifecycle is State.RECYCLING


async def test_each_start_has_the_whole_time(empty: Bench, world: World) -> None:
    """Also one that follows a crash between two ticks."""
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started, "it was spawned")
    limit = int(world.config.browser.launch_timeout + world.config.restore.timeout)
    await watch_for(empty, limit - 1)
    world.spawn.started[0].exit(-9)
    await until(
        empty.session(),
        lambda s: (
            s.lifecycle is State.STARTING and s.runner.process is not None and s.state.restarts == 1
        ),
    )
    await watch_for(empty, limit - 1)
    assert empty.session().lifecycle is State.STARTING
    assert len(world.spawn.started) == 2


async def test_ones_own_sleep_makes_nobody_unresponsive(empty: Bench, world: World) -> None:
    """A daemon that was stopped for a minute has heard nobody: that is no evidence."""
    process = await empty.connected()
    await watch_for(empty, 1)
    world.clock.advance(60)
    await empty.it.watchdog.watch()
    # nor is the minute counted when it goes on: the others need a moment too
    await watch_for(empty, 3)
    assert empty.session().lifecycle is State.RUNNING
    await beating(empty, process, 3, page=0.01)
    assert empty.session().runner.process is process


async def test_the_watches_of_many_sessions_are_checked_in_turn(
    empty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick costs the same, however many there are; each has its turn."""
    names = [f"s{n:03}" for n in range(180)]
    for name in names:
        await empty.add(name, profile=False)
    checked: list[str] = []
    monkeypatch.setattr(SessionActor, "tick", lambda it: checked.append(it.name))
    for most in [12] * 15:
        before = len(checked)
        await watch_for(empty, 1)
        assert len(checked) - before == most
    assert sorted(checked) == names
    await watch_for(empty, 1)
    assert checked[180:] == checked[:12]
