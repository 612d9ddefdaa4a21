"""The fleet breaker in the shell: on the trail, on the bus, in what is shown, and at the daemon's end."""

from collections.abc import AsyncIterator

import pytest

from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import cause, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.host.admission import Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session import views
from waguard.ports.bus import BusEvent
from waguard.supervision.session.actor import SessionActor

FOUR = ("a", "b", "c", "d")
BROKEN = Script(exits=EXIT_BROWSER_NOT_STARTED)


@pytest.fixture
async def fleet(bench: Bench, world: World) -> AsyncIterator[Bench]:
    """Four sessions that are up; their browsers do not start any more."""
    world.change("restart", base_delay=0.01)
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
    return session.lifecycle is State.BACKOFF and cause(session) is Cause.FLEET


async def break_all(fleet: Bench) -> None:
    """The third failure alike opens it."""
    for name in FOUR:
        fleet.process(name).exit(EXIT_BROWSER_NOT_STARTED)
    for name in FOUR:
        await until(fleet.session(name), held)


async def test_the_breaker_opens_once_and_says_so_everywhere(fleet: Bench, world: World) -> None:
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
    assert len(entry.evidence["sessions"]) == 3
    (incident,) = incidents(world)
    assert incident.session_id is None
    assert incident.data["kind"] == "fleet_breaker_opened"
    assert world.names("session_parked") == []
    assert all(views.parked_for(fleet.session(name).state) is None for name in FOUR)


async def test_the_others_follow_a_canary_that_is_up_and_its_end_is_in_the_trail(
    fleet: Bench, world: World
) -> None:
    await break_all(fleet)
    before = len(world.spawn.started)
    world.spawn.script = Script(reports=(CONNECTED,))
    world.clock.advance(60.0)
    await fleet.it.watchdog.watch()
    for name in FOUR:
        await until(fleet.session(name), lambda s: s.link is Link.CONNECTED)
    assert len(world.spawn.started) == before + 4
    assert not any("fleet" in problem for problem in fleet.it.health.read().problems)
    await wait_until(lambda: world.audited("fleet_breaker_closed"), "it is in the trail")
    kinds = [event.data["kind"] for event in incidents(world)]
    assert kinds == ["fleet_breaker_opened", "fleet_breaker_closed"]


@pytest.mark.timings(last_write=0.1)
async def test_the_daemon_stops_while_it_is_open(fleet: Bench, world: World) -> None:
    await break_all(fleet)
    world.store.down = True
    await fleet.it.stop()
    assert world.spawn.alive == []
