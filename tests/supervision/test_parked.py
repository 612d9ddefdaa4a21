"""A session that spent its restarts is tried again by itself, ever more rarely."""

import pytest

from tests.supervision.bench import CONNECTED, LOADING, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import heard, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import ParkCause
from waguard.core.session import views
from waguard.supervision.session.actor import SessionActor

BROKEN = Script(exits=EXIT_BROWSER_NOT_STARTED)
FIRST = 330  # s: five minutes, and half of the jitter


@pytest.fixture
async def quick(empty: Bench, world: World) -> Bench:
    """The only restart is at once."""
    world.change("restart", intensity=1, base_delay=0.0, max_delay=0.0)
    return empty


def given_up(session: SessionActor) -> bool:
    return session.lifecycle is State.PARKED


async def spend(quick: Bench, world: World, *names: str) -> None:
    """Their restarts, on a browser that does not start."""
    world.spawn.script = Script(reports=(CONNECTED,))
    for name in names:
        await quick.create(name)
        await until(quick.session(name), lambda s: s.link is Link.CONNECTED)
    world.spawn.script = BROKEN
    for name in names:
        quick.process(name).exit(EXIT_BROWSER_NOT_STARTED)
        await until(quick.session(name), given_up)


async def ticks(quick: Bench, world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.clock.advance(1.0)
        await quick.it.watchdog.watch()


async def test_a_parked_session_is_tried_ever_more_rarely_until_it_is_well(
    quick: Bench, world: World
) -> None:
    await spend(quick, world, "s")
    session, started = quick.session("s"), len(world.spawn.started)
    assert views.parked_for(session.state) is ParkCause.RESTART_BUDGET
    for pause in (FIRST, 2 * FIRST, 4 * FIRST):
        assert "it is tried again at " in str(views.details(session.state))
        await ticks(quick, world, pause - 1)
        assert len(world.spawn.started) == started
        await ticks(quick, world, 1)
        started += 1
        await wait_until(lambda n=started: len(world.spawn.started) == n, "it is tried")  # type: ignore[misc]
        await until(session, given_up)
    assert "another try did not help: Chromium did not start" in str(views.details(session.state))
    world.spawn.script = Script(reports=(CONNECTED,))
    await ticks(quick, world, 8 * FIRST)
    await until(session, lambda s: s.link is Link.CONNECTED)
    await session.written()
    # the application hears of one outage
    assert len(world.events("session_disconnected")) == 2
    assert [e.data["status"] for e in world.events("session_disconnected")] == [
        "disconnected",
        "failed",
    ]
    (incident,) = fold(world.store.entries)
    assert "Done: it was tried once more (4 times)." in sentences(incident)
    assert incident.ended is not None


async def test_one_at_a_time(quick: Bench, world: World) -> None:
    await spend(quick, world, "a", "b")
    world.spawn.script = Script(reports=(LOADING,))
    await ticks(quick, world, FIRST)
    trying = [name for name in "ab" if quick.session(name).state.retries.running]
    assert len(trying) == 1
    await until(quick.session(trying[0]), lambda s: s.runner.report is not None)
    await ticks(quick, world, 20)
    assert [name for name in "ab" if quick.session(name).state.retries.running] == trying
    world.spawn.script = Script(reports=(CONNECTED,))
    quick.process(trying[0]).report("connected")
    await until(quick.session(trying[0]), lambda s: s.link is Link.CONNECTED)
    (other,) = {"a", "b"} - {*trying}
    await ticks(quick, world, 1)
    await until(quick.session(other), lambda s: s.link is Link.CONNECTED)


async def test_a_person_begins_again_and_a_stop_ends_it(quick: Bench, world: World) -> None:
    await spend(quick, world, "s")
    session = quick.session("s")
    await ticks(quick, world, FIRST)
    await until(session, given_up)
    started = len(world.spawn.started)
    await quick.it.sessions.start("s", restart=False)
    await until(session, given_up)
    assert len(world.spawn.started) == started + 2, "its restarts are renewed"
    await ticks(quick, world, FIRST)
    await wait_until(lambda: len(world.spawn.started) == started + 3, "and its pauses")
    await until(session, given_up)
    await quick.it.sessions.stop("s")
    await ticks(quick, world, 20 * FIRST)
    assert (len(world.spawn.started), session.lifecycle) == (started + 3, State.STOPPED)


async def test_nobody_is_tried_while_many_fail_alike(quick: Bench, world: World) -> None:
    await spend(quick, world, "a", "b")
    world.network = world.network.__class__(reachable=False, error="refused")
    world.spawn.script = Script(reports=(CONNECTED,))
    await quick.create("c")
    await until(quick.session("c"), lambda s: s.link is Link.CONNECTED)
    quick.process("c").report("offline")
    await until(quick.session("c"), lambda s: s.link is Link.OFFLINE)
    started = len(world.spawn.started)
    for _ in range(2 * FIRST):
        world.clock.advance(1.0)
        heard(quick.session("c"))
        await quick.it.watchdog.watch()
    assert len(world.spawn.started) == started
    world.network = world.network.__class__(reachable=True)
    await ticks(quick, world, 1)
    await wait_until(lambda: len(world.spawn.started) > started, "it is there again")


async def restarts(quick: Bench, world: World) -> None:
    """The daemon, whose next one restores all."""
    world.remembered = {it.name: it.remember() for it in quick.it.registry.sessions}
    await quick.restart()
    await quick.restore()


async def test_the_next_daemon_tries_it_once_and_renews_no_restart(
    quick: Bench, world: World
) -> None:
    """A daemon that is restarted each hour must not renew the budget of a session that crashes."""
    await spend(quick, world, "s")
    await ticks(quick, world, FIRST)
    await until(quick.session("s"), given_up)
    await quick.session("s").written()
    row, events = world.row_status("s"), len(world.events("session_disconnected"))
    for tries in (2, 3):
        world.clock.advance(3600.0)  # no restart counts any more
        started = len(world.spawn.started)
        await restarts(quick, world)
        session = quick.session("s")
        await until(session, lambda s: given_up(s) and s.state.worker is None)
        await session.written()
        assert len(world.spawn.started) == started + 1
        assert (session.state.retries.tries, session.state.restarts) == (tries, 1)
        assert world.row_status("s")[:2] == row[:2]
    assert len(world.events("session_disconnected")) == events
    world.spawn.script = Script(reports=(CONNECTED,))
    await restarts(quick, world)
    await until(quick.session("s"), lambda s: s.link is Link.CONNECTED)


async def test_a_try_that_a_stop_ends_is_made_again_and_renews_no_restart(
    quick: Bench, world: World
) -> None:
    await spend(quick, world, "s")
    world.spawn.script = Script(reports=(LOADING,))
    await ticks(quick, world, FIRST)
    session = quick.session("s")
    await until(session, lambda s: s.runner.report is not None)
    assert session.state.retries.running
    await quick.restart()
    world.remembered = {"s": session.remember()}
    world.spawn.script = BROKEN
    world.clock.advance(3600.0)
    started = len(world.spawn.started)
    await quick.restore()
    await until(quick.session("s"), given_up)
    assert len(world.spawn.started) == started + 1


async def test_a_start_that_somebody_requests_after_a_restart_renews_all(
    quick: Bench, world: World
) -> None:
    await spend(quick, world, "s")
    await restarts(quick, world)
    await until(quick.session("s"), given_up)
    started = len(world.spawn.started)
    await quick.it.sessions.start("s", restart=False)
    await until(quick.session("s"), given_up)
    assert len(world.spawn.started) == started + 2, "its restarts are renewed"
