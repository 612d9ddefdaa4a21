"""A worker that dies, hangs or stands still: it is replaced, and what counts against its session."""

import asyncio
from typing import Any

import pytest

from tests.supervision.bench import LOADING, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import (
    connected,
    crash,
    heard,
    heard_at,
    parked,
    until,
    unusable,
    up,
    written,
)
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.blame import Blame
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED, EXIT_PROFILE_HELD, EXIT_PROFILE_LOCKED
from waguard.core.host.evidence import Disk, Evidence
from waguard.core.lifecycle import State
from waguard.core.row_status import ParkCause
from waguard.core.session import views
from waguard.core.session.facts import Stopped
from waguard.ports.process import Usage
from waguard.wire.events import ProfileMended


async def test_the_first_restart_is_at_once_the_next_after_a_while(
    bench: Bench, world: World
) -> None:
    world.change("restart", base_delay=600.0, max_delay=3600.0)
    session = await bench.add()
    await up(session)
    await crash(session)
    await until(session, connected)
    assert session.state.restarts == 1
    assert len(world.spawn.started) == 2
    await crash(session)
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    await written(session)
    assert [e.evidence["delay"] for e in world.store.entries if e.kind == "restart"] == [0.0, 300.0]
    assert session.state.restarts == 2
    assert world.row_status("s") == ("disconnected", "error")
    assert world.store.accounts["s"].disconnect_details == "the worker was ended by SIGSEGV"
    async with asyncio.timeout(DEADLINE):  # a stop does not wait for the backoff
        await session.stop()
    assert session.lifecycle is State.STOPPED
    assert len(world.spawn.started) == 2


async def test_a_person_need_not_wait_for_the_backoff(bench: Bench, world: World) -> None:
    world.change("restart", base_delay=600.0, max_delay=3600.0)
    session = await bench.add()
    await up(session)
    await crash(session)
    await until(session, connected)
    await crash(session)
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    await up(session)
    assert len(world.spawn.alive) == 1


async def test_the_budget_is_used_up_and_a_person_is_called_once(
    bench: Bench, world: World
) -> None:
    world.change("restart", intensity=3, base_delay=0.0, max_delay=0.0)
    world.spawn.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    session = await bench.add()
    session.start()
    await until(session, parked)
    await written(session)
    assert len(world.spawn.started) == 4  # the start and three restarts
    assert session.state.restarts == 3
    assert views.parked_for(session.state) is ParkCause.RESTART_BUDGET
    assert world.row_status("s") == ("failed", "error")
    ((_, _, cause),) = world.audited("parked")
    assert cause == "restart_budget"
    assert "Chromium did not start" in str(views.details(session.state))
    # a person acts: the count begins anew
    world.spawn.script = Script()
    await up(session)
    await written(session)
    assert world.row_status("s") == ("connected", None)
    assert views.parked_for(session.state) is None


@pytest.mark.timings(held_retry=0.001)
@pytest.mark.parametrize("code", [EXIT_PROFILE_HELD, EXIT_PROFILE_LOCKED])
async def test_a_profile_that_cannot_be_used_is_waited_for_and_nobody_is_parked(
    bench: Bench, world: World, code: int
) -> None:
    world.change("restart", intensity=3)
    world.spawn.script = Script(exits=code)
    session = await bench.add()
    session.start()
    await until(session, lambda _: len(world.spawn.started) > 5)
    assert session.state.restarts == 0
    assert world.audited("restart") == []
    world.spawn.script = Script()
    await until(session, connected)


@pytest.mark.timings(held_retry=0.001)
@pytest.mark.parametrize(
    ("code", "ran"), [(1, False), (EXIT_BROWSER_NOT_STARTED, False), (1, True)]
)
async def test_a_full_disk_is_waited_for_whatever_the_exit_code_says(
    bench: Bench, world: World, *, code: int, ran: bool
) -> None:
    world.change("restart", intensity=3, base_delay=0.0, max_delay=0.0)
    full = Disk(key="paths.sessions", folder="/s", free=0)
    world.witness.seen = Evidence(disks=(full,))
    reports = (LOADING,) if ran else ()
    world.spawn.script = Script(exits=code, reports=reports)
    session = await bench.add()
    session.start()
    await until(session, lambda _: len(world.spawn.started) > 5)
    (condition,) = views.conditions(session.state)
    assert (condition.blame, condition.reason) == (Blame.HOST, "disk_full")
    assert session.state.restarts == 0
    assert world.witness.asked
    world.witness.seen = Evidence()
    world.spawn.script = Script()
    await until(session, connected)


async def test_while_it_is_read_what_the_host_lacks_no_session_is_connected_without_a_worker(
    empty: Bench, world: World
) -> None:
    session = await empty.add()
    process = await up(session)
    world.witness.held = asyncio.Event()
    process.exit(-11)
    await wait_until(lambda: world.witness.asked, "the host is asked")
    view = await empty.it.sessions.view("s")
    assert (view.status, view.worker_pid) == ("connected", process.pid), "nothing is decided yet"
    world.meter.usage = {"s": Usage(memory=1, cpu_percent=1.0)}
    await empty.it.watchdog.measure()
    stopping = asyncio.create_task(empty.it.sessions.stop("s"))
    world.witness.held.set()
    await stopping
    view = await empty.it.sessions.view("s")
    assert (view.status, view.worker_pid, view.usage) == ("disconnected", None, None)


@pytest.mark.timings(held_retry=0.001)
async def test_a_refused_start_is_explained_too(bench: Bench, world: World) -> None:
    world.witness.seen = Evidence(pids=3)
    world.spawn.script = Script(refuses="no worker could be started")
    session = await bench.add()
    session.start()
    await until(session, lambda it: it.state.failure is not None)
    (condition,) = views.conditions(session.state)
    assert condition.reason == "pids_short"
    assert "TasksMax" in condition.remedy


LAUNCHING = {"phase": "launching", "link": "unknown", "browser_pid": None}


@pytest.mark.parametrize(
    ("reports", "code", "ran"),
    [
        (LAUNCHING, EXIT_BROWSER_NOT_STARTED, False),
        (LAUNCHING, -9, True),
        (LAUNCHING, None, False),
        (LOADING, 1, True),
    ],
    ids=["exits before", "killed before", "unknown before", "exits after"],
)
async def test_chromium_is_tried_where_it_may_be_the_cause(
    bench: Bench, world: World, reports: dict[str, Any], code: int | None, *, ran: bool
) -> None:
    """To try it takes longer than a whole restart, and whoever was killed did not end because of it."""
    session = await bench.add()
    world.spawn.script = Script(reports=(reports,))
    session.start()
    await until(session, lambda it: it.runner.report is not None)
    await crash(session, code)
    assert world.witness.asked == [ran]


async def test_a_worker_that_waguard_kills_may_have_failed_because_of_chromium(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    world.spawn.script = Script(reports=(LAUNCHING,), obeys=False)
    session.start()
    await until(session, lambda it: it.runner.report is not None)
    session.post(Stopped(worker=1))
    await until(session, lambda it: it.state.workers > 1)
    assert world.witness.asked == [False]


async def test_a_full_disk_is_the_cause_of_a_kill_too(bench: Bench, world: World) -> None:
    world.witness.seen = Evidence(disks=(Disk(key="paths.sessions", folder="/s", free=0),))
    session = await bench.add()
    world.spawn.script = Script(reports=(LAUNCHING,))
    session.start()
    await until(session, lambda it: it.runner.report is not None)
    await crash(session, -9)
    assert (session.state.restarts, session.state.counted) == (0, ())


async def test_an_orderly_end_asks_nobody(bench: Bench, world: World) -> None:
    session = await bench.add()
    await up(session)
    await session.stop()
    assert world.witness.asked == []


async def test_what_was_done_to_a_profile_is_in_the_trail(bench: Bench, world: World) -> None:
    session = await bench.add()
    await up(session)
    assert isinstance(session.runner.process, FakeProcess)
    done = ("the profile was quarantined (garbage)", "the snapshot s1 was restored")
    session.runner.process.event(ProfileMended(done=done, grave=True, aside="/q/1"))
    session.runner.process.event(ProfileMended(done=("the stale lock was removed",), grave=False))
    await wait_until(lambda: bool(world.audited("profile_tidied")), "both are recorded")
    [(_, _, why)] = world.audited("profile_mended")
    assert why == "; ".join(done)
    assert len(world.audited("profile_tidied")) == 1


async def test_a_long_quiet_time_pays_the_crashes_back(bench: Bench, world: World) -> None:
    world.change("restart", intensity=1, period=86_000.0, stable_after=300.0)
    session = await bench.add()
    await up(session)
    await crash(session)
    await until(session, connected)
    world.clock.advance(301)
    assert isinstance(session.runner.process, FakeProcess)
    session.runner.process.beat()
    await wait_until(lambda: heard_at(session) == world.clock.monotonic(), "it was heard")
    bench.it.mailbox.tick()
    await crash(session)
    await until(session, connected)
    assert session.state.restarts == 2


async def test_crashes_do_not_count_for_ever(bench: Bench, world: World) -> None:
    world.change("restart", intensity=1, period=300.0, stable_after=86_000.0)
    session = await bench.add()
    await up(session)
    for _ in range(3):
        await crash(session)
        await until(session, connected)
        world.clock.advance(301)
        heard(session)
    assert session.state.restarts == 3
    await crash(session)
    await until(session, connected)
    await crash(session)
    await until(session, parked)


async def test_a_planned_restart_is_no_crash(bench: Bench, world: World) -> None:
    world.change("restart", intensity=1, base_delay=600.0, max_delay=600.0)
    session = await bench.add()
    for _ in range(4):
        before = await up(session)
        session.start(restart=True)
        assert session.lifecycle is State.RECYCLING
        await until(session, lambda s, old=before: s.runner.process is not old and connected(s))  # type: ignore[misc]
    assert session.state.restarts == 0
    assert world.audited("restart") == []
    assert len(world.spawn.alive) == 1


async def test_a_start_during_a_planned_restart_does_not_make_it_a_crash(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    before = await up(session)
    session.start(restart=True)
    session.start()
    await until(session, lambda s: s.runner.process is not before and connected(s))
    assert session.state.restarts == 0


async def test_a_restart_of_a_stopped_session_does_not_excuse_its_next_crash(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    session.start(restart=True)
    await until(session, connected)
    await crash(session)
    await until(session, connected)
    assert session.state.restarts == 1
    assert world.audited("restart") == [(None, None, "the worker was ended by SIGSEGV")]


@pytest.mark.timings(stop_grace=0.05)
async def test_a_worker_that_hangs_is_replaced_and_that_counts(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    process.script = Script(obeys=False)
    unusable(session, "the page has not answered for 31 s")
    await until(session, lambda s: s.runner.process is not process and connected(s))
    assert process.signals == ["TERM", "KILL"]
    assert session.state.restarts == 1
    await written(session)
    assert world.audited("restart") == [(None, None, "the page has not answered for 31 s")]


async def test_a_worker_that_stands_still_is_killed_at_once(bench: Bench, world: World) -> None:
    """TERM does nothing to it."""
    session = await bench.add()
    process = await up(session)
    process.script = Script(obeys=False)
    process.stands_still.set()
    await until(session, lambda s: s.runner.process is not process and connected(s))
    assert "KILL" in process.signals
    assert session.state.restarts == 1
    await written(session)
    assert world.audited("restart") == [(None, None, "the worker was stopped (SIGSTOP)")]


async def test_one_that_stands_still_while_it_is_stopped_in_order_is_killed_too(
    bench: Bench,
) -> None:
    session = await bench.add()
    process = await up(session)
    process.script = Script(obeys=False)
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    process.stands_still.set()
    async with asyncio.timeout(DEADLINE):
        await stopping
    assert "KILL" in process.signals
    assert session.lifecycle is State.STOPPED


async def test_what_the_worker_said_last_is_why(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    process.report("unknown", phase="closing", details="Chromium is gone")
    process.exit(13)
    await until(session, lambda s: s.state.restarts == 1)
    await written(session)
    assert world.audited("restart") == [(None, None, "Chromium is gone")]
