"""Rows, memory and host are compared and made to agree."""

import asyncio
import shutil
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.supervision.bench import Bench
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.host.strays import Seen
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.reconcile import Host, Stored, Worker
from waguard.errors import DatabaseUnavailableError, NotFoundError
from waguard.ports.process import Swept
from waguard.supervision.fleet import reconciler as under_test


@pytest.mark.parametrize("status", ["disconnected", "failed", "qr_scanning", "error"])
async def test_what_somebody_else_wrote_into_the_row_is_corrected(
    empty: Bench, world: World, status: str
) -> None:
    await empty.connected()
    await empty.until_written()
    world.store.accounts["s"].status = status
    await empty.it.reconciler.reconcile()
    await empty.until_written()
    assert world.row_status("s") == ("connected", None)
    ((before, after, _),) = world.audited("row_corrected")
    assert (before, after) == (status, "connected")
    await empty.it.reconciler.reconcile()
    assert len(world.audited("row_corrected")) == 1
    assert len(world.events("session_ready")) == 1, "the row has the number: it is not repeated"


async def test_a_row_that_is_wrong_and_lacks_the_number_has_ready_repeated(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    await empty.until_written()
    world.store.accounts["s"].status = "qr_scanning"
    world.store.accounts["s"].phone_number = None
    await empty.it.reconciler.reconcile()
    await wait_until(lambda: len(world.events("session_ready")) == 2, "it is repeated")
    await empty.until_written()
    assert world.row_status("s") == ("connected", None)


@pytest.mark.parametrize("status", ["connected", "authenticated", "qr_scanning"])
async def test_a_row_that_promises_what_nobody_runs_is_corrected(
    empty: Bench, world: World, status: str
) -> None:
    """The incident."""
    await empty.connected()
    await empty.it.sessions.logout("s")
    await empty.until_written()
    world.store.accounts["s"].status = status
    await empty.it.reconciler.reconcile()
    await empty.until_written()
    assert world.row_status("s")[0] == "disconnected"


async def test_a_row_that_appears_is_taken_in(empty: Bench, world: World) -> None:
    await empty.row("up")
    await empty.row("down", up=False, status="disconnected")
    await empty.it.reconciler.reconcile()
    await until(empty.session("up"), lambda s: s.link is Link.CONNECTED)
    assert empty.session("down").lifecycle is State.STOPPED
    assert [v.session_id for v in await empty.it.sessions.views()] == ["down", "up"]


async def test_a_row_that_promises_and_appears_unwanted_is_corrected_at_last(
    empty: Bench, world: World
) -> None:
    await empty.row("s", up=False, status="connected")
    await empty.it.reconciler.reconcile()
    await empty.it.reconciler.reconcile()
    await empty.until_written()
    assert world.row_status("s") == ("disconnected", "unknown")
    assert world.spawn.started == []


async def test_a_row_that_disappears_is_stopped_and_forgotten(empty: Bench, world: World) -> None:
    process = await empty.connected()
    del world.store.accounts["s"]
    await empty.it.reconciler.reconcile()
    assert not process.alive
    assert await empty.it.sessions.views() == []
    with pytest.raises(NotFoundError):
        await empty.it.sessions.view("s")


@pytest.mark.parametrize("paired", [False, True])
async def test_the_profile_of_a_deleted_row_is_a_finding_only_where_it_was_paired(
    empty: Bench, world: World, *, paired: bool
) -> None:
    await empty.row("s", status="connected" if paired else "qr_scanning")
    await empty.it.reconciler.reconcile()
    await until(empty.session(), lambda s: s.lifecycle is State.RUNNING)
    profile = empty.session().profile.at.profile
    assert profile.exists()
    world.store.accounts["s"].deleted_at = datetime.now(UTC)
    await empty.it.reconciler.reconcile()
    await empty.it.reconciler.reconcile()
    assert profile.exists() == paired
    assert [it.type for it in empty.it.reconciler.conditions] == ["profile_without_row"] * paired


async def test_the_desired_state_is_followed_both_ways(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await world.store.set_desired("s", up=False)
    await empty.it.reconciler.reconcile()
    assert not process.alive
    await empty.until_written()
    assert world.row_status("s") == ("disconnected", "user_initiated")
    row = await world.store.set_desired("s", up=True)
    assert row
    await empty.it.reconciler.reconcile()
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert empty.process().spec.generation == row.generation


async def test_a_parked_session_waits_for_a_person(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("blocked", details="TOS_BLOCK")
    await until(empty.session(), lambda s: s.lifecycle is State.PARKED)
    await empty.until_written()
    await empty.it.reconciler.reconcile()
    assert empty.session().lifecycle is State.PARKED
    assert len(world.spawn.started) == 1


async def test_a_database_that_is_down_changes_nothing(empty: Bench, world: World) -> None:
    """Unknown is not empty."""
    process = await empty.connected()
    await empty.until_written()
    world.store.down = True
    await empty.it.reconciler.reconcile()
    assert process.alive
    assert empty.session().link is Link.CONNECTED
    health = empty.it.health.read()
    assert not health.database
    assert (health.supervising, health.restored, health.connected) == (True, True, 1)
    assert health.problems == ("the database in memory is down",)
    world.store.down = False
    await empty.it.reconciler.reconcile()
    assert empty.it.health.read().problems == ()


async def test_nothing_is_compared_before_the_restore_or_after_the_stop(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    await bench.it.reconciler.reconcile()
    assert world.spawn.started == []
    await bench.restore()
    await bench.it.stop()
    await bench.it.reconciler.reconcile()
    assert len(world.spawn.started) == 1


async def test_every_correction_is_on_the_trail_and_in_the_stream(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await world.store.set_desired("s", up=False)
    await empty.row("new")
    done = await empty.it.reconciler.correct()
    assert [(one.session, one.action) for one in done] == [("s", "stop"), ("new", "add")]
    await until(empty.session("new"), lambda s: s.link is Link.CONNECTED)
    await empty.until_written("s")
    await empty.until_written("new")
    assert not process.alive
    assert world.audited("reconciled") == [
        ("running", "stopped", "it was up, and the row does not want it up"),
        (
            "not in memory",
            "added and started",
            "the row says connected, memory had no such session",
        ),
    ]
    await wait_until(lambda: len(world.events("incident")) >= 2, "both were told")
    assert await empty.it.reconciler.correct() == []


async def test_an_account_that_the_application_switched_off_says_so(
    empty: Bench, world: World
) -> None:
    why = "the application switched the account off (is_active = 0)"

    async def details() -> str | None:
        await empty.it.reconciler.correct()
        return (await empty.it.sessions.view("s")).disconnect_details

    await empty.connected()
    world.store.accounts["s"].is_active = False
    assert await details() == why
    await empty.until_written("s")
    assert world.audited("reconciled") == [("running", "stopped", why)]
    await empty.it.sessions.stop("s")
    world.store.accounts["s"].is_active = True
    assert await details() is None


async def test_the_difference_can_be_seen_before(empty: Bench, world: World) -> None:
    await empty.row("new", up=False, status="error")
    corrections, found = await empty.it.reconciler.difference()
    assert ([one.action for one in corrections], found) == (["add"], [])
    assert await empty.it.sessions.views() == []
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await empty.it.reconciler.difference()
    with pytest.raises(DatabaseUnavailableError):
        await empty.it.reconciler.correct()


async def test_a_row_that_is_connected_and_has_no_profile_is_reported_and_not_started(
    empty: Bench, world: World
) -> None:
    await empty.row("s", profile=False)
    await empty.it.reconciler.reconcile()
    await empty.until_written()
    assert world.row_status("s") == ("disconnected", "error")
    assert empty.session().lifecycle is State.PARKED
    assert world.spawn.started == []


async def test_a_profile_that_vanishes_under_its_browser_comes_back_by_a_planned_restart(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await empty.connected()
    await empty.until_written()
    shutil.rmtree(process.spec.profile)
    await empty.it.reconciler.reconcile()
    assert process.alive, "without a copy it lives as long as it can"
    assert [p for p in empty.it.health.read().problems if "removed" in p]
    copies = Host(profiles={(7, "s"): Stored(profile=False, copies=True)})
    monkeypatch.setattr(under_test, "read_inventory", lambda *_, **__: copies)
    await empty.it.reconciler.reconcile()
    await until(
        empty.session(), lambda s: s.link is Link.CONNECTED and s.runner.process is not process
    )
    assert not process.alive
    assert empty.session().state.restarts == 0
    monkeypatch.undo()
    await empty.it.reconciler.reconcile()
    assert empty.it.health.read().problems == ()


async def test_a_profile_without_a_row_is_a_problem_and_stays(empty: Bench, world: World) -> None:
    await empty.connected()
    profile = world.profile("old")
    for _ in range(2):
        await empty.it.reconciler.reconcile()
        assert any(line.startswith("old: ") for line in empty.it.health.read().problems)
    assert profile.is_dir()


async def test_two_rows_with_one_phone_are_reported_once(empty: Bench, world: World) -> None:
    for name in ("a", "b"):
        await empty.connected(name)
        await empty.until_written(name)
        world.store.accounts[name].phone_number = "4915112345678"
    await empty.it.reconciler.reconcile()
    await empty.it.reconciler.reconcile()
    await empty.until_written("a")
    await empty.until_written("b")
    assert len(world.audited("same_phone")) == 2
    assert len(empty.it.health.read().problems) == 2


async def test_a_worker_that_nobody_knows_is_ended(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await empty.connected()
    left = await world.left_behind("s")
    folder = world.config.paths.runtime / "workers"
    (folder / "stranger.json").write_bytes(msgspec.json.encode(left.record))
    seen = Host(workers={left.process.pid: Worker(session="s", ours=False)})
    monkeypatch.setattr(under_test, "read_inventory", lambda *_, **__: seen)
    [done] = await empty.it.reconciler.correct()
    assert (done.action, done.before) == ("end worker", f"worker {left.process.pid} runs")
    assert not left.process.alive
    assert process.alive
    await empty.until_written()
    assert len(world.audited("reconciled")) == 1
    assert await empty.it.reconciler.correct() == [], "it is gone, and nothing is told twice"


class Gate:
    """Holds the answer of ``sessions_of_all_hosts`` back: what it says is old when it arrives."""

    def __init__(self, world: World) -> None:
        self.read, self.open = asyncio.Event(), asyncio.Event()
        self._real = world.store.sessions_of_all_hosts
        world.store.sessions_of_all_hosts = self._sessions  # type: ignore[method-assign]

    async def _sessions(self) -> Any:
        rows = await self._real()
        self.read.set()
        await self.open.wait()
        return rows


async def test_a_session_that_was_created_meanwhile_is_not_removed(
    empty: Bench, world: World
) -> None:
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    process = await empty.connected()
    gate.open.set()
    await comparing
    assert process.alive
    assert empty.session().lifecycle is State.RUNNING


async def test_a_session_that_was_logged_out_meanwhile_is_not_started(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    await empty.it.sessions.logout("s")
    gate.open.set()
    await comparing
    assert world.spawn.alive == []
    assert empty.session().lifecycle is State.STOPPED


async def test_a_session_that_was_started_meanwhile_is_not_stopped(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    await empty.it.sessions.logout("s")
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    process = await empty.connected()
    gate.open.set()
    await comparing
    assert process.alive


async def test_a_status_that_was_written_meanwhile_is_no_lie(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await empty.until_written()
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    await empty.until_written()
    gate.open.set()
    await comparing
    await empty.until_written()
    assert world.audited("row_corrected") == []


async def test_a_row_that_corrected_itself_meanwhile_is_no_lie(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await empty.until_written()
    world.store.accounts["s"].status = "failed"
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    await empty.until_written()
    gate.open.set()
    await comparing
    await empty.until_written()
    assert world.audited("row_corrected") == []


async def test_a_session_that_was_taken_in_meanwhile_is_not_taken_in_twice(
    empty: Bench, world: World
) -> None:
    await empty.row("s")
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    process = await empty.connected()
    session = empty.session()
    gate.open.set()
    await comparing
    assert empty.session() is session
    assert world.spawn.alive == [process]


async def test_the_newest_wish_counts_not_the_one_that_was_read(empty: Bench, world: World) -> None:
    await empty.connected()
    await empty.it.sessions.logout("s")
    await empty.until_written()
    await world.store.set_desired("s", up=True)  # by somebody else, and read so
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    await empty.it.sessions.logout("s")
    gate.open.set()
    await comparing
    assert world.spawn.alive == []
    assert empty.session().lifecycle is State.STOPPED


async def test_a_comparison_that_meets_the_stop_starts_nothing(empty: Bench, world: World) -> None:
    await empty.row("s")
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconciler.reconcile())
    await gate.read.wait()
    await empty.it.stop()
    gate.open.set()
    await comparing
    assert world.spawn.started == []


async def test_what_a_dead_worker_left_unseen_is_ended_and_living_workers_are_kept(
    empty: Bench, world: World
) -> None:
    """A restart does not search for it: a crash handler, for example, is in no group of its browser's."""
    process = await empty.connected()
    left = Seen(
        pid=12,
        start_time=1,
        parent=1,
        user="op",
        command="chrome_crashpad_handler",
        profile=None,
        record="r",
        session="s",
    )
    world.spawn.swept = Swept(ended=(left,))
    await empty.it.reconciler.reconcile()
    paths = world.config.paths
    everything = (str(paths.runtime / "workers"), str(paths.sessions))
    assert world.spawn.sweeps[-1] == (*everything, {process.pid})
    assert world.audited("stray_ended") == [(None, None, "chrome_crashpad_handler")]


async def test_what_a_person_asked_for_since_the_plan_was_made_stands(
    empty: Bench, world: World
) -> None:
    await empty.connected("a")
    await empty.create("b")
    await empty.it.sessions.stop("b")
    await world.store.set_desired("a", up=False)
    await world.store.set_desired("b", up=True)
    process = empty.process("a")
    process.script.obeys = False
    reconciling = asyncio.create_task(empty.it.reconciler.correct())
    await wait_until(lambda: "TERM" in process.signals, "a is being stopped")
    await empty.it.sessions.stop("b")
    process.exit(0)
    assert [it.session for it in await reconciling] == ["a"]
    assert empty.session("b").lifecycle is State.STOPPED
    row = await world.store.session("b")
    assert row
    assert not row.desired_up


async def test_a_session_that_is_being_deleted_is_not_removed_a_second_time(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await empty.connected()
    del world.store.accounts["s"]
    asked, held, real = asyncio.Event(), asyncio.Event(), world.store.session

    async def slow(name: str) -> Any:
        asked.set()
        await held.wait()
        return await real(name)

    monkeypatch.setattr(world.store, "session", slow)
    reconciling = asyncio.create_task(empty.it.reconciler.correct())
    await asked.wait()
    with empty.it.registry.leaving("s"):
        held.set()
        assert await reconciling == []
    assert empty.session().faults.words is None
