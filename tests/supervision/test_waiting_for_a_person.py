"""A session that waits for a person waits on after a restart of the daemon, and nothing is said of it twice."""

import pytest

from tests.supervision.bench import CONNECTED, QR_SHOWN, Bench
from tests.supervision.fake_workers import TERMINATED, Script
from tests.supervision.sessions import connected, parked, until, written
from tests.supervision.test_session_link import taken_back_three_times
from tests.supervision.world import World
from tests.waiting import DEADLINE
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.incidents.kinds import BEGUN
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause
from waguard.core.session import views
from waguard.core.session.facts import ParkRequested, StopRequested

STAY = (ParkCause.CONFLICT, ParkCause.BLOCKED, ParkCause.PAGE_FLOODS, ParkCause.QR_EXPIRED)


async def restarts(bench: Bench, world: World) -> str:
    """The daemon, which hands over what it knows."""
    world.remembered = {it.name: it.remember() for it in bench.it.registry.sessions}
    await bench.restart()
    return await bench.restore()


async def parks(bench: Bench, cause: ParkCause) -> None:
    await bench.connected()
    session = bench.session()
    session.post(ParkRequested(cause=cause, details="found"))
    await until(session, parked)
    await written(session)


async def test_a_session_that_was_taken_back_three_times_is_not_taken_back_by_the_next_daemon(
    empty: Bench, world: World
) -> None:
    world.change("whatsapp", on_conflict="takeover")
    process = await empty.connected()
    session = empty.session()
    await taken_back_three_times(world, session, process)
    started = len(world.spawn.started)
    await restarts(empty, world)
    assert parked(empty.session())
    assert len(world.spawn.started) == started
    await empty.it.sessions.start("s", restart=False)
    await until(empty.session(), connected)


@pytest.mark.parametrize("cause", STAY)
async def test_it_waits_on_after_every_restart_and_nothing_is_said_twice(
    empty: Bench, world: World, cause: ParkCause
) -> None:
    world.clock.advance(0.25)
    await parks(empty, cause)
    before, (shown,) = world.row_status("s"), views.conditions(empty.session().state)
    webhooks = len(world.events("session_disconnected"))
    entries, started = len(world.store.entries), len(world.spawn.started)
    for _ in range(2):
        world.clock.advance(60)
        await restarts(empty, world)
        session = empty.session()
        await written(session)
        assert views.parked_for(session.state) is cause
        (again,) = views.conditions(session.state)
        assert (again.reason, again.message, again.remedy) == (
            shown.reason,
            shown.message,
            shown.remedy,
        )
        assert abs(again.since - shown.since) <= 1
    assert world.row_status("s") == before
    assert len(world.events("session_disconnected")) == webhooks
    assert len(world.audited("parked")) == 1
    assert [it.kind for it in world.store.entries[entries:]] == [BEGUN, BEGUN]
    assert len(world.spawn.started) == started


@pytest.mark.parametrize("cause", [ParkCause.NEEDS_UPDATE, ParkCause.PROFILE_MISSING])
async def test_what_a_restart_may_cure_is_tried(
    empty: Bench, world: World, cause: ParkCause
) -> None:
    await parks(empty, cause)
    await restarts(empty, world)
    await until(empty.session(), connected)


async def test_a_start_that_was_not_stored_any_more_is_not_undone(
    empty: Bench, world: World
) -> None:
    """The daemon was killed before it had stored that somebody started the session."""
    await parks(empty, ParkCause.CONFLICT)
    world.remembered = {"s": empty.session().remember()}
    await empty.it.sessions.start("s", restart=False)
    await until(empty.session(), connected)
    await written(empty.session())
    await empty.restart()
    await empty.restore()
    await until(empty.session(), connected)


async def test_a_new_code_is_shown_after_a_restart_as_soon_as_somebody_asks(
    empty: Bench, world: World
) -> None:
    await parks(empty, ParkCause.QR_EXPIRED)
    await restarts(empty, world)
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await empty.it.sessions.qr("s", wait=DEADLINE, refresh=True)
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)


async def test_a_stop_ends_its_wait(empty: Bench, world: World) -> None:
    await parks(empty, ParkCause.BLOCKED)
    await restarts(empty, world)
    await empty.it.sessions.stop("s")
    assert empty.session().remember().parked is None
    await restarts(empty, world)
    assert not parked(empty.session())
    await empty.it.sessions.start("s", restart=False)
    await until(empty.session(), connected)


async def connects_under_another_host(empty: Bench, world: World) -> None:
    """Another host's daemon knows nothing of it."""
    world.remembered = {}
    world.clock.advance(60)
    await empty.restart()
    await empty.restore()
    await until(empty.session(), connected)


@pytest.mark.parametrize("cause", [ParkCause.CONFLICT, ParkCause.RESTART_BUDGET])
async def test_what_an_earlier_daemon_knew_of_a_session_that_connected_since_does_not_count(
    empty: Bench, world: World, cause: ParkCause
) -> None:
    """A host that takes over again has the file of its own last daemon; the row says the same of both causes."""
    world.change("restart", intensity=1, base_delay=0.0)
    await parks(empty, ParkCause.CONFLICT)
    stale = replace(empty.session().remember(), parked=str(cause))
    await connects_under_another_host(empty, world)
    world.spawn.scripts["s"] = Script(exits=EXIT_BROWSER_NOT_STARTED)
    empty.process().exit(EXIT_BROWSER_NOT_STARTED)
    await until(empty.session(), lambda it: it.lifecycle is State.PARKED)
    await written(empty.session())
    assert world.row_status("s") == ("failed", "error")
    world.remembered = {"s": stale}
    started = len(world.spawn.started)
    world.clock.advance(3600)
    await empty.restart()
    await empty.restore()
    await until(empty.session(), lambda it: it.lifecycle is State.PARKED and it.state.restarts > 0)
    assert len(world.spawn.started) == started + 2, "it was restored, and restarted"


async def test_a_stop_while_its_worker_still_closes_does_not_end_its_wait(
    empty: Bench, world: World
) -> None:
    world.spawn.scripts["s"] = Script(reports=(CONNECTED,), obeys=False)
    process = await empty.connected()
    session = empty.session()
    session.post(ParkRequested(cause=ParkCause.CONFLICT, details="found"))
    await written(session)
    assert session.lifecycle is State.PARKING
    session.post(StopRequested(daemon_stopping=True))
    process.exit(TERMINATED)
    await empty.restart()
    world.remembered = {"s": session.remember()}
    started = len(world.spawn.started)
    await empty.restore()
    assert views.parked_for(empty.session().state) is ParkCause.CONFLICT
    assert len(world.spawn.started) == started
