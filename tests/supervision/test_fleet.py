"""Many fail alike: restarts wait, one is tried, and the others follow when it is up."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.supervision.bench import *  # noqa: F403  # fixtures
from tests.supervision.bench import CONNECTED, LOADING, Bench
from tests.supervision.fakes import Script, World, until
from tests.waiting import wait_until
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED, EXIT_PROFILE_HELD
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.ports import BusEvent
from waguard.supervision.actor import SessionActor

FOUR = ("a", "b", "c", "d")
BROKEN = Script(exits=EXIT_BROWSER_NOT_STARTED)


@pytest.fixture
async def fleet(bench: Bench, world: World) -> AsyncIterator[Bench]:
    """Four sessions that are up; their browsers do not start any more."""
    world.spawn.script = Script(reports=(CONNECTED,))
    for name in FOUR:
        await bench.row(name, priority=1 if name == "c" else 0)
    assert await bench.restore() == "restored 4"
    world.spawn.script = BROKEN
    yield bench
    world.spawn.script = Script(reports=(CONNECTED,))


def incidents(world: World) -> list[BusEvent]:
    """The fleet's own."""
    return [event for event in world.events("incident") if event.session_id is None]


def held(session: SessionActor) -> bool:
    return session.lifecycle is State.BACKOFF and session.held_by_fleet


async def break_all(fleet: Bench) -> None:
    """The third failure alike opens it."""
    for name in FOUR:
        fleet.process(name).exit(EXIT_BROWSER_NOT_STARTED)
    for name in FOUR:
        await until(fleet.session(name), held)


async def ticks(fleet: Bench, world: World, seconds: float) -> None:
    for _ in range(int(seconds)):
        world.clock.advance(1.0)
        await fleet.it.watchdog.watch()


async def test_it_opens_once_and_nobody_is_restarted_or_parked(fleet: Bench, world: World) -> None:
    await break_all(fleet)
    health = fleet.it.health.read()
    assert health.problems[0].startswith("the fleet breaker is open: 3 of 4 sessions failed alike")
    assert "Chromium did not start" in health.problems[0]
    view = await fleet.it.sessions.view("a")
    assert (view.lifecycle, view.waiting) == ("backoff", health.problems[0])
    await wait_until(lambda: world.audited("fleet_breaker_opened"), "it is in the trail")
    assert world.audited("fleet_breaker_opened") == [(None, None, "Chromium did not start")]
    (entry,) = (e for e in world.store.entries if e.kind == "fleet_breaker_opened")
    assert entry.session_id is None
    (incident,) = incidents(world)
    assert incident.session_id is None
    assert incident.data["kind"] == "fleet_breaker_opened"
    assert world.names("session_parked") == []
    assert all(fleet.session(name).parked is None for name in FOUR)


async def test_one_canary_at_a_time_and_at_intervals(fleet: Bench, world: World) -> None:
    await break_all(fleet)
    before = len(world.spawn.started)
    await ticks(fleet, world, 1)
    await wait_until(lambda: len(world.spawn.started) == before + 1, "the canary is tried")
    assert world.spawn.started[-1].spec.session == "c"  # the most important one
    await until(fleet.session("c"), held)
    await ticks(fleet, world, 59)
    assert len(world.spawn.started) == before + 1
    await ticks(fleet, world, 1)
    await wait_until(lambda: len(world.spawn.started) == before + 2, "it is tried again")
    await until(fleet.session("c"), held)
    for _ in range(10):  # more often than the budget of a session would allow
        await ticks(fleet, world, 60)
        await until(fleet.session("c"), held)
    assert fleet.session("c").parked is None
    assert len(incidents(world)) == 1


async def test_it_closes_when_the_canary_is_up_and_the_others_follow(
    fleet: Bench, world: World
) -> None:
    await break_all(fleet)
    world.spawn.script = Script(reports=(LOADING,))
    await ticks(fleet, world, 1)
    await wait_until(lambda: fleet.session("c").process is not None, "the canary is started")
    await wait_until(lambda: fleet.process("c").connected, "it is greeted")
    await ticks(fleet, world, 5)
    assert all(held(fleet.session(name)) for name in ("a", "b", "d"))
    world.spawn.script = Script(reports=(CONNECTED,))
    fleet.process("c").report("qr_pending")
    for name in ("a", "b", "d"):
        await until(fleet.session(name), lambda s: s.link is Link.CONNECTED)
    assert not any("fleet" in problem for problem in fleet.it.health.read().problems)
    await wait_until(lambda: world.audited("fleet_breaker_closed"), "it is in the trail")
    kinds = [event.data["kind"] for event in incidents(world)]
    assert kinds == ["fleet_breaker_opened", "fleet_breaker_closed"]
    # the budget: what was spent before it opened, and nothing since
    assert max(len(fleet.session(name)._crashes) for name in FOUR) <= 1


async def test_browsers_that_were_all_killed_at_once_are_back_with_the_next_tick(
    fleet: Bench, world: World
) -> None:
    """The first canary does not wait for its interval."""
    world.spawn.script = Script(reports=(CONNECTED,))
    before = {name: fleet.process(name) for name in FOUR}
    for process in before.values():
        process.exit(13)
    await wait_until(lambda: incidents(world), "it opens")
    await until(fleet.session("c"), lambda s: s.held_by_fleet or s.link is Link.CONNECTED)
    await ticks(fleet, world, 1)
    for name in FOUR:
        await until(
            fleet.session(name),
            lambda s, old=before[name]: s.runner.process is not old and s.link is Link.CONNECTED,  # type: ignore[misc]
        )
    assert not any("fleet" in problem for problem in fleet.it.health.read().problems)


async def test_a_restart_that_was_under_way_when_it_opened_waits_too(
    fleet: Bench, world: World
) -> None:
    world.change("restart", base_delay=3_600.0, max_delay=3_600.0)
    world.chance.drawn = 0.0
    session = fleet.session("a")
    session._crashes.append(world.clock.monotonic())
    world.spawn.script.held = asyncio.Event()
    fleet.process("a").exit(13)
    await wait_until(lambda: world.spawn.starting == 1, "its restart is under way")
    for name in "bcd":
        fleet.process(name).exit(EXIT_BROWSER_NOT_STARTED)
    await until(fleet.session("d"), held)
    world.spawn.script.held.set()
    world.spawn.script.held = None
    await until(session, held)


async def test_what_a_person_asks_for_is_started_all_the_same(fleet: Bench, world: World) -> None:
    await break_all(fleet)
    world.spawn.scripts["b"] = Script(reports=(LOADING,))
    await fleet.it.sessions.start("b", restart=False)
    await wait_until(lambda: fleet.session("b").process is not None, "it is started")
    assert held(fleet.session("a"))
    assert fleet.session("b").waiting is None


async def test_one_that_is_stopped_while_it_is_held_is_never_spawned(
    fleet: Bench, world: World
) -> None:
    await break_all(fleet)
    for name in FOUR:
        await fleet.it.sessions.logout(name)
    before = len(world.spawn.started)
    await ticks(fleet, world, 1)
    assert len(world.spawn.started) == before
    assert not any("fleet" in problem for problem in fleet.it.health.read().problems)
    assert world.spawn.alive == []


async def test_different_failures_are_no_fleet(fleet: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    for name, code in zip(FOUR, (10, 12, 13, -9), strict=True):
        process = fleet.process(name)
        process.exit(code)
        await until(
            fleet.session(name),
            lambda s, p=process: s.runner.process is not p and s.link is Link.CONNECTED,  # type: ignore[misc]
        )
    assert incidents(world) == []


async def test_a_profile_in_use_is_not_the_fleets_fault(fleet: Bench, world: World) -> None:
    world.spawn.script = Script(exits=EXIT_PROFILE_HELD)
    for name in FOUR:
        fleet.process(name).exit(EXIT_PROFILE_HELD)
    for name in FOUR:
        await until(fleet.session(name), lambda s: s.lifecycle is State.BACKOFF)
    assert incidents(world) == []


async def test_sessions_that_hang_alike(fleet: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    for name in FOUR:
        fleet.session(name).unhealthy(f"silent for {name}")
    for name in "cd":
        await until(fleet.session(name), lambda s: s.held_by_fleet or s.lifecycle is State.STARTING)
    await wait_until(lambda: incidents(world), "it opens")
    assert incidents(world)[0].data["reason"] == "a worker or its page hung"


async def test_a_restore_in_which_all_fail_waits_as_well(bench: Bench, world: World) -> None:
    """Those that still wait for a place say nothing about the fleet."""
    world.change("restart", base_delay=3_600.0, max_delay=3_600.0)
    world.chance.drawn = 0.99
    world.spawn.script = BROKEN
    for name in "abcdefghij":
        await bench.row(name)
    summary = await bench.restore()
    assert "waiting" in summary
    assert len(incidents(world)) == 1
    assert len({p.spec.session for p in world.spawn.started}) < 10
    waiting = [s for s in bench.it.registry.sessions if s.lifecycle is State.STARTING]
    assert waiting
    assert all(session.held_by_fleet for session in waiting)
    world.spawn.script = Script(reports=(CONNECTED,))
    await ticks(bench, world, 2)
    for name in "abcdefghij":
        await until(bench.session(name), lambda s: s.link is Link.CONNECTED)


async def test_the_daemon_stops_while_it_is_open(fleet: Bench, world: World) -> None:
    await break_all(fleet)
    world.store.down = True
    await fleet.it.stop()
    assert world.spawn.alive == []
