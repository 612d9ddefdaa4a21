"""The restore at a start of the daemon."""

import asyncio
import copy
from typing import Any

import pytest

from tests.supervision.bench import LOADING, QR_SHOWN, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.host.strays import Foreign, Seen
from waguard.core.incidents.kinds import BEGUN
from waguard.core.lifecycle import State
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.errors import DatabaseUnavailableError, UnavailableError
from waguard.ports.process import Swept
from waguard.profile import layout
from waguard.profile.lock import ProfileLock
from waguard.supervision.fleet import restorer as under_test
from waguard.supervision.fleet.readiness import summary


async def test_restore_says_what_became_of_each(bench: Bench, world: World) -> None:
    for name in ("a", "b", "c"):
        await bench.row(name)
    await bench.row("unlinked")
    world.spawn.scripts["unlinked"] = Script(reports=(QR_SHOWN,))
    await bench.row("lost", profile=False)
    await bench.row("down", up=False, status="disconnected")
    assert not bench.it.health.read().restored
    assert await bench.restore() == "restored 3, needs QR 1, missing profile 1"
    for name in ("a", "b", "c", "unlinked", "lost", "down"):
        await bench.until_written(name)
    assert world.row_status("a") == ("connected", None)
    assert world.row_status("unlinked") == ("qr_scanning", None)
    assert world.row_status("lost") == ("disconnected", "error")
    assert "profile missing" in str(world.store.accounts["lost"].disconnect_details)
    assert world.row_status("down") == ("disconnected", None)
    assert {p.spec.session for p in world.spawn.started} == {"a", "b", "c", "unlinked"}
    health = bench.it.health.read()
    assert health.restored
    assert (health.total, health.connected, health.disconnected) == (6, 3, 3)
    assert [it.session for it in health.conditions] == ["lost", "unlinked"]
    assert [it.session for it in health.conditions if it.degrades] == ["lost"], (
        "one waits for a scan"
    )


async def test_an_outage_that_an_earlier_daemon_reported_ends_for_why(
    bench: Bench, world: World
) -> None:
    """This one has not seen it: it neither reports its end, nor may the new connection pass for that."""
    await bench.row("up")
    await bench.row("down", up=False, status="disconnected")
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await bench.restore()
    world.store.down = False
    assert await bench.restore() == "restored 1"
    await bench.until_written("up")
    await bench.until_written("down")
    begun = [str(it.session_id) for it in world.store.entries if it.kind == BEGUN]
    assert sorted(begun) == ["down", "up"]


async def test_a_session_that_was_never_linked_has_no_profile_to_miss(
    bench: Bench, world: World
) -> None:
    await bench.row("new", status="qr_scanning", profile=False)
    world.spawn.scripts["new"] = Script(reports=(QR_SHOWN,))
    assert await bench.restore() == "needs QR 1"


async def test_one_that_was_stopped_before_its_first_scan_shows_a_code_again(
    bench: Bench, world: World
) -> None:
    """An orderly stop writes "disconnected" into the row of one that waits for its scan, too."""
    row = await world.store.create("new", 7, account_id=None, priority=0)
    stopped = DerivedStatus(Status.DISCONNECTED, Reason.INSTANCE_RESTART, "waguard was stopped")
    assert await world.store.write_status("new", row.generation, stopped)
    world.spawn.scripts["new"] = Script(reports=(QR_SHOWN,))
    assert await bench.restore() == "needs QR 1"


async def test_a_profile_in_the_old_layout_is_found(bench: Bench, world: World) -> None:
    """Fault 2."""
    await bench.row("s", profile=False)
    (world.config.paths.sessions / "7" / "s" / "Default").mkdir(parents=True)
    assert await bench.restore() == "restored 1"
    assert layout.exists(world.config.paths.sessions / "workspace_7" / "session-s")


async def test_a_profile_folder_that_cannot_be_used_does_not_end_the_restore(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.row("bad")
    await bench.row("good")
    real = layout.migrate

    def migrate(sessions: Any, workspace_id: int, session_id: str, **more: Any) -> Any:
        if session_id == "bad":
            raise PermissionError(13, "Permission denied")
        return real(sessions, workspace_id, session_id, **more)

    monkeypatch.setattr(layout, "migrate", migrate)
    assert await bench.restore() == "restored 1, failed 1"
    assert bench.it.health.read().restored
    assert "Permission denied" in str((await bench.it.sessions.view("bad")).disconnect_details)


async def test_a_failed_read_is_not_an_empty_list(bench: Bench, world: World) -> None:
    """Fault 3."""
    await bench.row("s")
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await bench.restore()
    health = bench.it.health.read()
    assert not health.restored
    assert not health.database
    assert "sessions are still being restored" in health.problems
    assert world.spawn.started == []
    for call in (bench.it.sessions.views(), bench.it.sessions.view("s"), bench.create("s")):
        with pytest.raises(UnavailableError) as raised:  # and not: there is none
            await call
        assert raised.value.retry_after
    world.store.down = False
    assert await bench.restore() == "restored 1"


async def test_only_so_many_are_started_at_once_and_important_ones_first(
    bench: Bench, world: World
) -> None:
    names = ["a", "b", "c", "d", "e"]
    world.spawn.script = Script(reports=(LOADING,))
    for name in names:
        await bench.row(name, priority=9 if name == "d" else 0)
    restoring = asyncio.create_task(bench.restore())
    order: list[str] = []
    while len(order) < len(names):
        expected = min(len(order) + 2, len(names))
        await wait_until(lambda n=expected: len(world.spawn.begun) == n, "the next is started")  # type: ignore[misc]
        fresh = next(p for p in world.spawn.begun if p.spec.session not in order)
        await wait_until(lambda p=fresh: p.connected, "it is greeted")  # type: ignore[misc]
        assert len(world.spawn.begun) == expected
        order.append(fresh.spec.session)
        fresh.report("connected")
    assert await restoring == "restored 5"
    assert order[0] == "d"


async def test_one_that_only_waits_for_its_page_gives_its_place_to_the_next(
    bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=({"phase": "settling", "link": "unknown"},))
    for name in ("a", "b", "c", "d", "e"):
        await bench.row(name)
    restoring = asyncio.create_task(bench.restore())
    await wait_until(lambda: len(world.spawn.started) == 5, "all are started")
    await wait_until(lambda: all(p.connected for p in world.spawn.started), "all are greeted")
    assert not restoring.done()
    for process in world.spawn.started:
        process.report("connected")
    assert await restoring == "restored 5"


async def test_one_that_does_not_come_up_in_time_is_left_to_its_own_limit(
    bench: Bench, world: World
) -> None:
    world.change("restore", timeout=0.1)
    await bench.row("s")
    world.spawn.script = Script(reports=(LOADING,))
    assert await bench.restore() == "pending 1"
    await bench.until_written()
    assert world.row_status("s") == ("disconnected", "error")
    limit = world.config.browser.launch_timeout + 0.1
    for _ in range(int(limit) + 1):
        world.clock.advance(1)
        await bench.it.watchdog.watch()
    await wait_until(lambda: len(world.spawn.started) == 2, "it is tried again")
    assert [p.session_id for p in await bench.it.sessions.views()] == ["s"]
    assert world.audited("restart") == [(None, None, f"not ready {limit:g} s after its start")]


async def test_one_that_crashes_at_its_start_failed(bench: Bench, world: World) -> None:
    await bench.row("s")
    world.change("restart", intensity=1, base_delay=0.0, max_delay=0.0)
    world.spawn.script = Script(exits=12)
    assert await bench.restore() == "failed 1"
    await until(bench.session(), lambda s: s.lifecycle is State.PARKED)


@pytest.mark.timings(stop_grace=DEADLINE)  # however slow the machine is
async def test_workers_that_fit_are_adopted_and_the_others_stopped(
    bench: Bench, world: World
) -> None:
    for name in ("fits", "older", "unwanted"):
        await bench.row(name, up=name != "unwanted")
    row = await world.store.session("older")
    assert row
    fits = await world.left_behind("fits")
    older = await world.left_behind("older", generation=row.generation - 1)
    unwanted = await world.left_behind("unwanted")
    foreign = await world.left_behind("stranger")
    left = (fits, older, unwanted, foreign)
    assert await bench.restore(*((one.record, one.process) for one in left)) == "restored 2"
    assert [one.process.alive for one in left] == [True, False, False, False]
    assert bench.session("fits").runner.process is fits.process
    assert [one.process.signals for one in left[1:]] == [["TERM"]] * 3
    assert len(world.spawn.of("older")) == 2
    for name in ("fits", "older", "unwanted"):
        await bench.until_written(name)
    assert world.row_status("fits") == ("connected", None)
    assert world.row_status("unwanted") == ("disconnected", "unknown")


async def test_a_restore_that_failed_and_is_repeated_keeps_what_it_adopted(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.row("s")
    left = await world.left_behind("s")
    with monkeypatch.context() as patched:

        def bug(_: object) -> bool:
            raise RuntimeError

        patched.setattr(under_test, "summary", bug)
        with pytest.raises(RuntimeError):
            await bench.restore((left.record, left.process))
    assert await bench.restore((left.record, left.process)) == "restored 1"
    assert left.process.alive
    assert bench.session("s").runner.process is left.process
    assert left.process.signals == []


async def test_before_the_restore_strays_are_ended_and_adopted_workers_are_not(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    left = await world.left_behind("s")
    world.spawn.swept = Swept(
        ended=(
            Seen(
                pid=12,
                start_time=1,
                parent=1,
                user="op",
                command="waguard.worker gone",
                profile=None,
                record="/r",
                session="gone",
            ),
        )
    )
    assert await bench.restore((left.record, left.process)) == "restored 1"
    paths = world.config.paths
    assert world.spawn.sweeps == [
        (str(paths.runtime / "workers"), str(paths.sessions), {left.process.pid})
    ]
    assert world.audited("stray_ended") == [(None, None, "waguard.worker gone")]


@pytest.mark.timings(check_all=DEADLINE)  # however slow the machine is
@pytest.mark.parametrize(("foreign", "checks"), [(False, 1), (True, 3)])
async def test_one_check_of_all_processes_serves_all_where_nothing_was_left(
    bench: Bench, world: World, *, foreign: bool, checks: int
) -> None:
    for name in ("s", "t"):
        await bench.row(name, profile=False)
        with ProfileLock(world.profile(name)):  # which its last worker had
            pass
    if foreign:
        seen = Seen(
            pid=12,
            start_time=1,
            parent=1,
            user="op",
            command="chromium",
            profile="/p",
            record=None,
            session=None,
        )
        world.spawn.swept = Swept(foreign=(Foreign(seen),))
    restoring = asyncio.create_task(bench.restore())
    await wait_until(lambda: len(world.spawn.sweeps) == checks, "all have checked")
    assert foreign or await restoring == "restored 2"
    assert len(world.spawn.sweeps) == checks
    restoring.cancel()


async def test_two_workers_of_one_session_cannot_both_be_kept(bench: Bench, world: World) -> None:
    await bench.row("s")
    one = await world.left_behind("s")
    two = await world.left_behind("s")
    assert await bench.restore((one.record, one.process), (two.record, two.process)) == "restored 1"
    assert [one.process.alive, two.process.alive] == [True, False]


async def test_a_left_worker_that_hangs_does_not_hold_up_the_others(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    world.spawn.scripts["stranger"] = Script(obeys=False)
    foreign = await world.left_behind("stranger")
    assert await bench.restore((foreign.record, foreign.process)) == "restored 1"
    assert foreign.process.signals == ["TERM", "KILL"]


async def test_no_session_is_ever_shown_connected_whose_worker_died_with_the_last_daemon(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.row("s")
    await bench.row("down", up=False)
    world.spawn.script = Script(reports=(LOADING,))
    under_check = asyncio.Event()
    sweep = world.spawn.sweep

    async def slow(**where: Any) -> Swept:
        await under_check.wait()
        return await sweep(**where)

    monkeypatch.setattr(world.spawn, "sweep", slow)
    restoring = asyncio.create_task(bench.restore())
    shown = list[tuple[str, str]]()
    while not (shown and world.spawn.of("s")):
        assert bench.it.health.read().connected == 0
        assert bench.it.health.connection("s").why_not
        try:
            views = [await bench.it.sessions.view(name) for name in ("s", "down")]
            views += await bench.it.sessions.views()
        except UnavailableError:
            under_check.set()
        else:
            shown += [(view.session_id, view.status) for view in views]
        await asyncio.sleep(0)
    restoring.cancel()
    assert set(shown) == {("down", "disconnected"), ("s", "disconnected")}


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("restored", [True, False])
async def test_nor_is_one_that_comes_to_memory_later(
    bench: Bench, world: World, *, wanted: bool, restored: bool
) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await bench.row("slow", up=not restored)
    restoring = await bench.restoring()
    if restored:
        await restoring
    await bench.row("new", up=wanted)
    view = await bench.it.sessions.view("new")
    assert (view.status, view.lifecycle) == ("disconnected", "starting" if wanted else "stopped")
    if restored:
        await bench.row("found", up=wanted)
        await bench.it.reconciler.correct()
        assert bench.session("found").state.status.status is Status.DISCONNECTED
    restoring.cancel()


async def test_a_restore_that_is_repeated_does_not_adopt_what_ended_since(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    left = await world.left_behind("s")
    assert await bench.restore((left.record, left.process)) == "restored 1"
    left.process.report("conflict")
    await until(bench.session(), lambda s: s.lifecycle is State.PARKED)
    await bench.restore((left.record, left.process))
    assert bench.session().lifecycle is State.PARKED, "it waits for a person"
    assert world.spawn.started == [left.process]


async def test_a_restore_that_is_repeated_knows_its_workers_by_pid(
    bench: Bench, world: World
) -> None:
    """In a cluster each try takes hold of them anew."""
    await bench.row("s")
    left = await world.left_behind("s")
    assert await bench.restore((left.record, left.process)) == "restored 1"
    assert await bench.restore((left.record, copy.copy(left.process))) == "restored 1"
    assert (left.process.alive, left.process.signals) == (True, [])


@pytest.mark.parametrize("status", ["connected", "authenticated", "qr_scanning", "error"])
async def test_a_row_that_promises_what_is_not_wanted_is_corrected_at_the_start(
    bench: Bench, world: World, status: str
) -> None:
    await bench.row("s", status=status, up=False)
    await bench.restore()
    await bench.until_written()
    assert world.row_status("s") == ("disconnected", "unknown")
    ((before, after, _),) = world.audited("row_corrected")
    assert (before, after) == (status, "disconnected")
    assert world.spawn.started == []


async def test_a_correct_row_is_left_alone(bench: Bench, world: World) -> None:
    await bench.row("s", status="disconnected", up=False)
    world.store.accounts["s"].disconnect_reason = "user_initiated"
    writes = count(world, "write_status")
    await bench.restore()
    await bench.it.reconciler.reconcile()
    assert world.row_status("s") == ("disconnected", "user_initiated")
    assert writes == []


def count(world: World, name: str) -> list[Any]:
    """The calls of a method of the store from now on."""
    calls: list[Any] = []
    real = getattr(world.store, name)

    async def counted(*args: Any, **rest: Any) -> Any:
        calls.append(args)
        return await real(*args, **rest)

    setattr(world.store, name, counted)
    return calls


async def test_the_daemon_stops_in_the_middle_of_a_restore(bench: Bench, world: World) -> None:
    for name in ("a", "b", "c"):
        await bench.row(name)
    world.spawn.script = Script(reports=(LOADING,))
    restoring = asyncio.create_task(bench.restore())
    await wait_until(lambda: len(world.spawn.begun) == 2, "two are under way")
    restoring.cancel()
    await asyncio.gather(restoring, return_exceptions=True)
    async with asyncio.timeout(DEADLINE):
        await bench.it.stop()
    assert world.spawn.alive == []
    assert len(world.spawn.begun) == 2


def test_a_summary_names_only_what_occurred() -> None:
    assert summary([]) == "no session to restore"
    assert summary(["failed", "restored", "restored"]) == "restored 2, failed 1"
    assert summary(["interrupted"]) == "interrupted 1"
