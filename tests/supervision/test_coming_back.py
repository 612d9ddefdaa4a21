"""Deleted sessions that come back, over a death of the daemon and whatever the application does to their rows."""

import asyncio
import copy
from collections.abc import Awaitable, Callable

import pytest

from tests.supervision.bench import QR_SHOWN, TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.leaving import GONE, deleted, quarantined_now, read, unlinking
from tests.supervision.reports import qr
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import DEADLINE
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.errors import NotFoundError, WaguardError
from waguard.ports.outcomes import Acked
from waguard.ports.sessions import SessionView
from waguard.ports.store import SessionRow
from waguard.profile import inspection, layout
from waguard.profile.lock import ProfileLock
from waguard.wire.calls import Unlink

# ---- and back ----


async def created(bench: Bench) -> SessionView:
    view, new = await bench.create()
    assert not new
    return view


async def by_qr(bench: Bench) -> SessionView:
    await bench.it.sessions.qr("s", wait=DEADLINE, refresh=True)
    return await bench.it.sessions.view("s")


WAYS: dict[str, Callable[[Bench], Awaitable[SessionView]]] = {
    "reconnect": lambda bench: bench.it.sessions.start("s", restart=True),
    "restore": lambda bench: bench.it.sessions.start("s", restart=False),
    "regenerate-qr": by_qr,
    "create": created,
}


async def comes_back(
    bench: Bench, world: World, way: Callable[[Bench], Awaitable[SessionView]]
) -> None:
    """It shows a code, its row says so at once, and a scan connects it."""
    before = await read(world)
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    async with asyncio.timeout(DEADLINE):
        view = await way(bench)
    assert (view.status, view.removed_at) == ("qr_scanning", None)
    row = await read(world)
    assert (row.status, row.desired_up, row.removed_at) == ("qr_scanning", True, None)
    assert row.generation == before.generation + 1
    await until(bench.session(), lambda s: s.link is Link.QR_PENDING)
    assert await bench.it.sessions.qr("s", wait=0) == qr()
    assert (await bench.it.sessions.views(), bench.it.health.read().total) == (
        [await bench.it.sessions.view("s")],
        1,
    )
    bench.process().report("connected", phone="4917000000000")
    await until(bench.session(), lambda s: s.link is Link.CONNECTED)
    await bench.until_written()
    assert world.row_status("s") == ("connected", None)
    assert isinstance(await bench.it.sessions.send("s", TEXT, wait=0), Acked)
    assert world.audited("parked") == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_deleted_session_comes_back_and_shows_a_code(
    empty: Bench, world: World, way: str
) -> None:
    await deleted(empty, world)
    await comes_back(empty, world, WAYS[way])


async def test_one_that_comes_back_can_be_deleted_again(empty: Bench, world: World) -> None:
    await deleted(empty, world)
    await comes_back(empty, world, WAYS["reconnect"])
    await empty.it.sessions.delete("s", purge=False)
    await comes_back(empty, world, WAYS["reconnect"])
    assert len(quarantined_now(world)) == 2


async def test_the_application_deletes_its_row_after_that(empty: Bench, world: World) -> None:
    await deleted(empty, world)
    world.store.accounts["s"].deleted_at = (await read(world)).removed_at
    await empty.it.reconciler.reconcile()
    assert await empty.it.sessions.views(removed=True) == []
    with pytest.raises(NotFoundError):
        await empty.it.sessions.view("s")
    view, new = await empty.create()
    assert (view.status, view.removed_at, new) == ("qr_scanning", None, True)


@pytest.mark.parametrize("purge", [False, True])
async def test_the_application_deletes_its_row_before_that(
    empty: Bench, world: World, *, purge: bool
) -> None:
    """Then it is unlinked all the same: who deletes a session does not want its device to stay."""
    world.profile("s")
    process = await empty.connected()
    await empty.until_written()
    account = world.store.accounts["s"]
    account.deleted_at = account.last_connected_at
    await empty.it.sessions.delete("s", purge=purge)
    assert (process.calls, process.alive) == ([Unlink()], False)
    assert len(quarantined_now(world)) == 1
    await empty.it.reconciler.reconcile()
    with pytest.raises(NotFoundError):
        await empty.it.sessions.delete("s", purge=purge)
    assert world.spawn.alive == []


async def test_a_row_that_comes_back_without_its_profile_is_a_condition(
    empty: Bench, world: World
) -> None:
    """The database from before its deletion was put back under the daemon."""
    world.profile("s")
    await empty.connected()
    await empty.until_written()
    before = copy.deepcopy((world.store.accounts["s"], world.store._own["s"]))
    await empty.it.sessions.delete("s", purge=False)
    world.store.accounts["s"], world.store._own["s"] = before
    await empty.it.reconciler.reconcile()
    await until(empty.session(), lambda s: s.lifecycle is State.PARKED)
    await empty.until_written()
    [found] = [it for it in empty.it.health.read().conditions if it.session == "s"]
    assert (found.type, found.reason, found.degrades) == ("parked", "profile_missing", True)
    assert world.row_status("s") == ("disconnected", "error")
    assert "profile missing" in str(world.store.accounts["s"].disconnect_details)


# ---- the daemon dies ----


async def test_a_removed_session_is_left_alone_at_the_start(bench: Bench, world: World) -> None:
    await bench.restore()
    await deleted(bench, world)
    before, entries = await read(world), len(world.store.entries)
    await bench.die()
    assert await bench.restore() == "no session to restore"
    await bench.it.reconciler.reconcile()
    assert await read(world) == before
    assert len(world.store.entries) == entries
    assert world.spawn.alive == []
    assert (await bench.it.sessions.view("s")).status == "disconnected"
    assert (bench.it.health.read().total, bench.it.health.read().problems) == (0, ())
    await comes_back(bench, world, WAYS["reconnect"])


@pytest.mark.parametrize("worker", ["lives on", "is gone"])
async def test_a_daemon_that_dies_in_the_middle_of_a_delete(
    bench: Bench, world: World, worker: str
) -> None:
    await bench.restore()
    world.profile("s")
    process = await bench.connected()
    await bench.until_written()
    task = await unlinking(bench)
    assert world.row_status("s") == GONE  # before anything is done that cannot be undone
    left = await bench.die()
    task.cancel()
    if worker == "is gone":
        process.exit(-9)
        left = []
    await bench.restore(*((one.record, one.process) for one in left))
    assert world.spawn.alive == []
    assert len(quarantined_now(world)) == 1
    assert not inspection.something_left(bench.session().profile.at)
    await bench.until_written()
    assert world.row_status("s") == GONE
    assert world.audited("left") == [(None, None, "deleted by the API")]
    await comes_back(bench, world, WAYS["reconnect"])


@pytest.mark.parametrize("way", WAYS)
async def test_an_old_profile_that_could_not_be_quarantined_is_not_used(
    bench: Bench, world: World, way: str
) -> None:
    """Somebody still had it at the start; then what brings it back puts it aside, or says why not."""
    await bench.restore()
    await deleted(bench, world)
    await bench.die()
    world.profile("s")
    with ProfileLock(layout.path(world.config.paths.sessions, 7, "s")):
        await bench.restore()
        with pytest.raises(WaguardError, match="in use"):
            await WAYS[way](bench)
        assert (await read(world)).removed_at
    assert len(quarantined_now(world)) == 1
    await comes_back(bench, world, WAYS[way])
    assert len(quarantined_now(world)) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_a_delete_that_was_cut_off_is_finished_before_it_comes_back(
    empty: Bench, world: World, way: str
) -> None:
    world.profile("s")
    old = await empty.connected()
    task = await unlinking(empty)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert old.alive
    await comes_back(empty, world, WAYS[way])
    assert not old.alive
    assert len(quarantined_now(world)) == 1


async def test_a_daemon_that_dies_right_after_a_reconnect(bench: Bench, world: World) -> None:
    """Its row is all that is known of it: no profile is missing there."""
    await bench.restore()
    await deleted(bench, world)
    await world.store.set_desired("s", up=True)
    await bench.die()
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    assert await bench.restore() == "needs QR 1"
    await bench.until_written()
    assert world.row_status("s") == ("qr_scanning", None)


# ---- what the application does to rows ----


@pytest.mark.parametrize("status", ["connected", "qr_scanning", "failed", "error"])
@pytest.mark.parametrize("when", ["while waguard runs", "while it does not"])
async def test_a_status_that_the_application_gives_a_removed_one_is_corrected_once(
    bench: Bench, world: World, status: str, when: str
) -> None:
    await bench.restore()
    await deleted(bench, world)
    if when == "while it does not":
        await bench.die()
    world.store.accounts["s"].status = status
    if when == "while it does not":
        await bench.restore()
    for _ in range(2):
        await bench.it.reconciler.reconcile()
        await bench.until_written()
    assert world.row_status("s") == GONE
    assert len(world.audited("row_corrected")) == 1
    assert world.spawn.alive == []


@pytest.mark.parametrize("how", ["deleted", "soft-deleted"])
async def test_a_row_that_was_made_again_while_it_was_compared_lives(
    empty: Bench, world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await empty.connected()
    account = world.store.accounts["s"]
    sessions = world.store.sessions_of_all_hosts

    async def without() -> list[SessionRow]:
        if how == "deleted":
            del world.store.accounts["s"]
        else:
            account.deleted_at = account.last_connected_at
        rows = await sessions()
        account.deleted_at = None
        world.store.accounts["s"] = account  # a moment after it was read
        return rows

    monkeypatch.setattr(world.store, "sessions_of_all_hosts", without)
    await empty.it.reconciler.reconcile()
    assert process.alive
    assert (await empty.it.sessions.view("s")).status == "connected"


@pytest.mark.parametrize("how", ["deleted", "soft-deleted"])
async def test_a_row_that_is_deleted_and_created_again_a_moment_later_lives(
    empty: Bench, world: World, how: str
) -> None:
    process = await empty.connected()
    await empty.until_written()
    if how == "deleted":
        del world.store.accounts["s"]
    else:
        account = world.store.accounts["s"]
        account.deleted_at = account.last_connected_at
    view, _ = await empty.create()
    assert view.status == "connected"
    await empty.until_written()
    await empty.it.reconciler.reconcile()
    assert process.alive
    assert world.row_status("s") == ("connected", None)
    assert world.names("session_ready") == ["session_ready"] * 2


async def test_a_create_of_what_runs_needs_no_database(empty: Bench, world: World) -> None:
    await empty.connected()
    world.store.down = True
    view, new = await empty.create()
    assert (view.status, new) == ("connected", False)
