"""Chromium is missing during an upgrade, the disk with the profiles is not mounted yet: all sessions
wait, no restart is spent, and they start by themselves when the cause is gone."""

from collections.abc import Callable

import pytest

from tests.supervision.bench import CONNECTED, LOADING, QR_SHOWN, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import cause, until, unusable
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_BROWSER_KILLED, EXIT_BROWSER_UNUSABLE
from waguard.core.host.admission import TRIAL, Cause, Reading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause
from waguard.core.session import views
from waguard.core.session.facts import RestartRequested
from waguard.errors import UnavailableError
from waguard.profile import layout
from waguard.supervision.session.actor import SessionActor

MISSING = Reading(executable="/x/chromium does not exist (install Chromium)")
EMPTY = Reading(empty="paths.sessions (/s) has no profile in it: mount its disk")
WELL = Reading()
NAMES = ("a", "b", "c")


def connected(session: SessionActor) -> bool:
    return session.link is Link.CONNECTED


def waits_for_chromium(session: SessionActor) -> bool:
    return cause(session) is Cause.EXECUTABLE


def incidents(world: World) -> list[str]:
    ours = ("browser_missing", "browser_back", "sessions_folder_missing", "sessions_folder_back")
    return [entry.kind for entry in world.store.entries if entry.kind in ours]


def starts(world: World, count: int) -> Callable[[], bool]:
    return lambda: len(world.spawn.started) == count


async def watch(bench: Bench, world: World, seconds: float) -> None:
    """Seconds of ticks."""
    for _ in range(int(seconds)):
        world.clock.advance(1.0)
        await bench.it.watchdog.watch()


async def all_connected(bench: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    for name in NAMES:
        await bench.row(name)
    assert await bench.restore() == "restored 3"


# ---- the executable ----


async def test_an_executable_that_is_missing_is_waited_for_and_costs_no_restart(
    bench: Bench, world: World
) -> None:
    await all_connected(bench, world)
    world.host = MISSING
    for name in NAMES:
        bench.process(name).exit(EXIT_BROWSER_GONE)
        await until(bench.session(name), waits_for_chromium)
    await watch(bench, world, 600)
    for name in NAMES:
        session = bench.session(name)
        assert (session.lifecycle, views.parked_for(session.state)) == (State.STARTING, None)
        await bench.until_written(name)
        assert world.row_status(name) == ("disconnected", "error")
        reported = str(world.store.accounts[name].disconnect_details)
        assert reported == MISSING.executable
    assert len(world.spawn.started) == 3
    assert bench.it.health.read().problems[0] == MISSING.executable
    world.host = WELL
    await bench.it.watchdog.watch()
    for name in NAMES:
        await until(bench.session(name), connected)
        assert (
            bench.session(name).state.restarts == 1
        )  # for the crash, before Chromium was looked for
    await wait_until(lambda: len(incidents(world)) == 2, "both are recorded")
    assert incidents(world) == ["browser_missing", "browser_back"]


async def test_a_restore_without_chromium_says_that_it_waits(bench: Bench, world: World) -> None:
    world.host = MISSING
    await bench.row("s")
    assert await bench.restore() == "waiting 1"
    assert world.spawn.started == []
    world.host = WELL
    await bench.it.watchdog.watch()
    await until(bench.session(), connected)


async def test_a_chromium_that_starts_for_nobody_is_tried_by_one_at_a_time(
    bench: Bench, world: World
) -> None:
    await all_connected(bench, world)
    world.change("fleet", threshold=1.0, minimum=4)
    world.spawn.script = Script(exits=EXIT_BROWSER_UNUSABLE)
    for name in NAMES:
        bench.process(name).exit(EXIT_BROWSER_GONE)
    for name in NAMES:
        await until(bench.session(name), waits_for_chromium)
    tries = len(world.spawn.started)
    for number in range(1, 20):
        await watch(bench, world, TRIAL)
        await wait_until(starts(world, tries + number), "one tries it")
        await wait_until(
            lambda: all(waits_for_chromium(bench.session(name)) for name in NAMES), "all wait"
        )
    assert all(bench.session(name).state.restarts == 1 for name in NAMES)
    assert not world.audited("parked")
    assert bench.it.mailbox.fleet.view.breaker is None, "the breaker has nothing to do with it"
    world.spawn.script = Script(reports=(LOADING, CONNECTED))
    await watch(bench, world, TRIAL)
    for name in NAMES:
        await until(bench.session(name), connected)
    await bench.it.watchdog.watch()
    await wait_until(lambda: len(incidents(world)) == 2, "both are recorded")
    assert incidents(world) == ["browser_missing", "browser_back"]


async def test_an_upgrade_that_ends_all_browsers_is_no_matter_of_the_breaker(
    bench: Bench, world: World
) -> None:
    await all_connected(bench, world)
    world.host = MISSING
    for name in NAMES:
        bench.process(name).exit(EXIT_BROWSER_GONE)
    for name in NAMES:
        await until(bench.session(name), waits_for_chromium)
    await watch(bench, world, 120)
    assert bench.it.mailbox.fleet.view.breaker is None
    world.host = WELL
    await bench.it.watchdog.watch()
    for name in NAMES:
        await until(bench.session(name), connected)
    assert bench.it.mailbox.fleet.view.breaker is None


async def test_one_session_alone_keeps_the_incident_open_between_its_tries(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    world.spawn.scripts["s"] = Script(exits=EXIT_BROWSER_UNUSABLE)
    process.exit(EXIT_BROWSER_GONE)
    await until(empty.session(), waits_for_chromium)
    for number in range(3, 10):
        await watch(empty, world, TRIAL)
        await wait_until(starts(world, number), "it is tried")
        await until(empty.session(), waits_for_chromium)
    await watch(empty, world, 1)
    await wait_until(lambda: bool(incidents(world)), "it is recorded")
    await empty.until_written()
    assert incidents(world) == ["browser_missing"]


async def test_a_session_that_is_stopped_ends_the_wait_and_the_incident(
    empty: Bench, world: World
) -> None:
    world.host = MISSING
    await empty.create()
    assert cause(empty.session()) is Cause.EXECUTABLE
    await empty.it.sessions.stop("s")
    await empty.it.watchdog.watch()
    await wait_until(lambda: len(incidents(world)) == 2, "both are recorded")
    assert empty.it.health.read().problems == ()


async def test_the_host_is_read_once_for_all_and_only_while_somebody_waits(
    bench: Bench, world: World
) -> None:
    await all_connected(bench, world)
    before = world.host_reads
    await watch(bench, world, 5)
    assert world.host_reads == before
    world.host = MISSING
    for name in NAMES:
        bench.process(name).exit(EXIT_BROWSER_GONE)
        await until(bench.session(name), waits_for_chromium)
    before = world.host_reads
    await watch(bench, world, 5)
    assert world.host_reads == before + 5


# ---- memory ----

SHORT = Reading(memory=100 << 20)


@pytest.mark.parametrize("code", [-9, EXIT_BROWSER_KILLED], ids=["worker", "browser"])
async def test_one_that_was_killed_while_memory_was_short_waits_for_memory(
    empty: Bench, world: World, code: int
) -> None:
    """The kernel took its memory because another one needed it: it is not there for the next."""
    process = await empty.connected()
    world.host = SHORT
    process.exit(code)
    await until(empty.session(), lambda s: cause(s) is Cause.MEMORY)
    await watch(empty, world, 120)
    assert world.spawn.alive == []
    world.host = WELL
    await empty.it.watchdog.watch()
    await until(empty.session(), connected)
    assert empty.session().state.restarts == 1


@pytest.mark.parametrize("how", ["recycled", "unhealthy"])
async def test_one_that_is_replaced_takes_the_memory_that_it_had(
    empty: Bench, world: World, how: str
) -> None:
    process = await empty.connected()
    process.script.obeys = False  # so it is killed at last
    world.host = SHORT
    session = empty.session()
    session.post(RestartRequested(why="a test")) if how == "recycled" else unusable(
        session, "a test"
    )
    await until(session, lambda s: s.runner.process is not process and connected(s))


# ---- the folder of all profiles ----


async def test_an_empty_folder_of_profiles_is_unknown_and_all_wait_for_it(
    bench: Bench, world: World
) -> None:
    world.host = EMPTY
    for name in ("a", "b"):
        await bench.row(name, profile=False)
    assert await bench.restore() == "waiting 2"
    await watch(bench, world, 300)
    for name in ("a", "b"):
        await bench.until_written(name)
        assert world.row_status(name) == ("disconnected", "error")
        assert world.store.accounts[name].disconnect_details == EMPTY.empty
        assert views.parked_for(bench.session(name).state) is None
    assert world.spawn.started == []
    for name in ("a", "b"):
        world.profile(name)
    world.host = WELL
    await bench.it.watchdog.watch()
    for name in ("a", "b"):
        await until(bench.session(name), connected)
    await wait_until(lambda: len(incidents(world)) == 2, "both are recorded")
    assert incidents(world) == ["sessions_folder_missing", "sessions_folder_back"]


@pytest.mark.timings(held_retry=0.01)
async def test_a_profile_on_a_disk_of_its_own_is_waited_for(bench: Bench, world: World) -> None:
    await bench.row("a")
    await bench.row("s", profile=False)
    disk = world.folder / "disk"
    layout.path(world.config.paths.sessions, 7, "s").symlink_to(disk)
    assert await bench.restore() == "restored 1, failed 1"
    session = bench.session()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert f"links to {disk}, which is not there: mount its disk" in str(
        views.details(session.state)
    )
    assert session.state.restarts == 0
    (disk / "Default/IndexedDB").mkdir(parents=True)
    await until(session, connected)


@pytest.mark.timings(held_retry=0.01)
async def test_a_lost_profile_whose_snapshots_are_on_a_disk_of_their_own_is_waited_for(
    bench: Bench, world: World
) -> None:
    await bench.row("a")
    await bench.row("s", profile=False)
    disk = world.folder / "disk"
    link = layout.places(world.config.paths.sessions, 7, "s").snapshots.parents[1]
    link.symlink_to(disk)
    assert await bench.restore() == "restored 1, failed 1"
    session = bench.session()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert f"{link} links to {disk}, which is not there: mount its disk" in str(
        views.details(session.state)
    )
    assert session.state.restarts == 0
    assert [process.spec.session for process in world.spawn.started] == ["a"]


async def test_one_whose_profile_has_not_come_back_is_parked_then(
    bench: Bench, world: World
) -> None:
    world.host = EMPTY
    for name in ("a", "lost"):
        await bench.row(name, profile=False)
    assert await bench.restore() == "waiting 2"
    world.profile("a")
    world.host = WELL
    await bench.it.watchdog.watch()
    await until(bench.session("a"), connected)
    await until(bench.session("lost"), lambda s: s.lifecycle is State.PARKED)
    assert views.parked_for(bench.session("lost").state) is ParkCause.PROFILE_MISSING
    assert [process.spec.session for process in world.spawn.started] == ["a"]
    await wait_until(lambda: not bench.it.mailbox.fleet.starting, "its place is given back")


async def test_a_running_session_whose_disk_goes_waits_until_it_is_back(
    bench: Bench, world: World
) -> None:
    await all_connected(bench, world)
    world.host = EMPTY
    bench.process("a").exit(EXIT_BROWSER_GONE)
    await until(bench.session("a"), lambda s: cause(s) is Cause.SESSIONS_FOLDER)
    world.host = WELL
    await bench.it.watchdog.watch()
    await until(bench.session("a"), connected)


async def test_nobody_makes_a_profile_under_the_place_of_a_mount(
    bench: Bench, world: World
) -> None:
    world.host = replace(EMPTY, missing=True)
    await bench.row("paired", profile=False)
    assert await bench.restore() == "waiting 1"
    view, _ = await bench.create("new")
    assert view.waiting == EMPTY.empty
    await bench.it.sessions.start("paired", restart=False)
    assert world.spawn.started == []
    for leave in (
        bench.it.sessions.logout("paired"),
        bench.it.sessions.delete("paired", purge=False),
    ):
        with pytest.raises(UnavailableError, match="mount its disk"):
            await leave
    assert (await bench.it.sessions.view("paired")).status == "disconnected"


async def test_a_new_session_shows_its_code_in_an_empty_folder_and_the_paired_ones_wait(
    bench: Bench, world: World
) -> None:
    """The application's rows came without their profiles: it waited for a disk that there never was."""
    world.host = EMPTY
    await bench.row("paired", profile=False)
    await bench.row("old", profile=False, status="qr_scanning")
    assert await bench.restore() == "waiting 2"
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await bench.create("new")
    await until(bench.session("new"), lambda s: s.link is Link.QR_PENDING)
    await watch(bench, world, 300)
    assert [process.spec.session for process in world.spawn.started] == ["new"]
    for name in ("paired", "old"):  # nobody asked for the second one now
        assert cause(bench.session(name)) is Cause.SESSIONS_FOLDER
    assert world.unpaired == {
        layout.places(world.config.paths.sessions, 7, name).profile for name in ("old", "new")
    }


async def test_a_folder_in_which_nobody_was_paired_is_only_empty(
    empty: Bench, world: World
) -> None:
    world.host = EMPTY
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)


async def test_a_folder_that_cannot_be_read_is_waited_for_by_all(
    empty: Bench, world: World
) -> None:
    world.host = replace(WELL, unreadable="paths.sessions (/s) cannot be read: mount its disk")
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    assert cause(empty.session()) is Cause.SESSIONS_FOLDER
    world.host = WELL
    await empty.it.watchdog.watch()
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
