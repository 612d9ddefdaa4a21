"""What the application does to its rows while sessions run."""

import pytest

from tests.store.memory import Account
from tests.supervision.bench import PHONE, Bench
from tests.supervision.leaving import quarantined_now
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.errors import SessionIdTakenError
from waguard.profile import layout
from waguard.supervision.session.actor import SessionActor


def connected(session: SessionActor) -> bool:
    return session.link is Link.CONNECTED


# ---- is_active ----


async def test_an_account_that_is_switched_off_is_not_restored(bench: Bench, world: World) -> None:
    await bench.row("on")
    await bench.row("off")
    world.store.accounts["off"].is_active = False
    assert await bench.restore() == "restored 1"
    assert [process.spec.session for process in world.spawn.started] == ["on"]
    assert bench.it.health.read().problems == ()


async def test_switching_it_off_stops_a_session_and_on_starts_it(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    world.store.accounts["s"].is_active = False
    await empty.it.reconciler.reconcile()
    assert not process.alive
    await empty.until_written()
    assert world.row_status("s") == ("disconnected", "user_initiated")
    await empty.it.reconciler.reconcile()
    assert empty.session().lifecycle is State.STOPPED
    world.store.accounts["s"].is_active = True
    await empty.it.reconciler.reconcile()
    await until(empty.session(), connected)


async def test_who_wants_it_up_by_the_api_switches_it_on(empty: Bench, world: World) -> None:
    await empty.connected()
    world.store.accounts["s"].is_active = False
    await empty.it.reconciler.reconcile()
    await empty.it.sessions.start("s", restart=False)
    await until(empty.session(), connected)
    await empty.it.reconciler.reconcile()
    assert empty.session().lifecycle is State.RUNNING
    assert world.store.accounts["s"].is_active


# ---- a row that goes and comes ----


def takes_away(world: World, how: str) -> None:
    if how == "removed":
        del world.store.accounts["s"]
    else:
        world.store.accounts["s"].deleted_at = world.store._now()


def makes_again(world: World) -> None:
    world.store.accounts["s"] = Account("s", 7, status="connected")


@pytest.mark.parametrize("how", ["removed", "soft-deleted"])
async def test_a_row_that_is_made_again_after_its_session_was_stopped_lives(
    empty: Bench, world: World, how: str
) -> None:
    process = await empty.connected()
    takes_away(world, how)
    await empty.it.reconciler.reconcile()
    assert not process.alive
    assert "s" not in empty.it.registry
    makes_again(world)
    await empty.it.reconciler.reconcile()
    await until(empty.session(), connected)


@pytest.mark.parametrize("how", ["removed", "soft-deleted"])
async def test_a_row_that_is_made_again_before_it_is_noticed_lives_on(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    process = await empty.connected()
    takes_away(world, how)
    real = world.store.sessions_of_all_hosts

    async def sessions() -> object:
        found = await real()
        makes_again(world)  # between the look and the deed
        return found

    monkeypatch.setattr(world.store, "sessions_of_all_hosts", sessions)
    await empty.it.reconciler.reconcile()
    monkeypatch.undo()
    await empty.it.reconciler.reconcile()
    assert empty.session().runner.process is process
    assert connected(empty.session())


@pytest.mark.parametrize("how", ["removed", "soft-deleted"])
async def test_a_row_that_the_api_makes_again_lives(empty: Bench, world: World, how: str) -> None:
    await empty.connected()
    takes_away(world, how)
    await empty.create()
    await until(empty.session(), connected)
    await empty.it.reconciler.reconcile()
    assert connected(empty.session())
    assert len(world.spawn.alive) == 1


# ---- the phone number ----


async def test_a_number_that_the_application_cleared_is_written_again(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    await empty.until_written()
    seen = len(world.names("session_ready"))
    world.store.accounts["s"].phone_number = None
    await empty.it.reconciler.reconcile()
    await empty.until_written()
    assert world.store.accounts["s"].phone_number == PHONE
    assert len(world.names("session_ready")) == seen, "to the world nothing has happened"
    assert world.audited("row_corrected") == [
        ("connected", "connected", "its phone number was missing")
    ]
    await empty.it.reconciler.reconcile()
    assert len(world.audited("row_corrected")) == 1


# ---- the workspace ----


async def moved(bench: Bench, world: World) -> None:
    """A paired session, whose row the application puts into another workspace."""
    await bench.connected()
    await bench.until_written()
    profile = layout.path(world.config.paths.sessions, 7, "s")
    (profile / "Default/mark").touch()
    world.store.accounts["s"].workspace_id = 8


async def test_a_session_in_another_workspace_goes_on_with_its_worker(
    empty: Bench, world: World
) -> None:
    await moved(empty, world)
    process = empty.process()
    for _ in range(3):
        await empty.it.reconciler.reconcile()
    assert empty.session().runner.process is process, "its profile is where it was"
    assert not empty.it.reconciler.conditions
    assert (await empty.it.sessions.view("s")).workspace_id == 8


async def test_the_api_knows_the_new_workspace_at_once(empty: Bench, world: World) -> None:
    await moved(empty, world)
    view, new = await empty.create("s", workspace=8)
    assert (view.workspace_id, new) == (8, False)
    with pytest.raises(SessionIdTakenError):
        await empty.create("s", workspace=9)


async def test_the_profile_of_a_moved_session_is_found_at_its_next_start(
    empty: Bench, world: World
) -> None:
    await moved(empty, world)
    await empty.it.reconciler.reconcile()
    await empty.it.sessions.start("s", restart=True)
    await until(empty.session(), lambda s: connected(s) and len(world.spawn.started) == 2)
    assert (layout.path(world.config.paths.sessions, 8, "s") / "Default/mark").exists()
    assert not layout.path(world.config.paths.sessions, 7, "s").exists()


async def test_the_profile_of_a_moved_session_is_found_by_the_next_daemon(
    bench: Bench, world: World
) -> None:
    await bench.row("s", workspace=7)
    world.store.accounts["s"].workspace_id = 8
    assert await bench.restore() == "restored 1"
    assert layout.exists(layout.path(world.config.paths.sessions, 8, "s"))


async def test_a_new_session_of_that_name_is_never_given_it(bench: Bench, world: World) -> None:
    """It may be another customer's."""
    await bench.row("s", workspace=8, status="qr_scanning", profile=False)
    old = world.profile("s", 7)
    (old / "Default/mark").touch()
    await bench.restore()
    await wait_until(lambda: len(world.spawn.started) == 1, "it is started")
    assert not (layout.path(world.config.paths.sessions, 8, "s") / "Default/mark").exists()
    assert (old / "Default/mark").exists()


async def test_one_that_is_logged_out_in_another_workspace_leaves_no_profile(
    empty: Bench, world: World
) -> None:
    await moved(empty, world)
    await empty.it.reconciler.reconcile()
    await empty.it.sessions.logout("s")
    assert not layout.path(world.config.paths.sessions, 7, "s").exists()
    assert not layout.exists(layout.path(world.config.paths.sessions, 8, "s"))


async def test_a_stopped_one_in_another_workspace_is_no_profile_without_a_row(
    empty: Bench, world: World
) -> None:
    """Nobody is to quarantine its only credentials."""
    await moved(empty, world)
    world.store.accounts["s"].workspace_id = 7
    await empty.it.sessions.stop("s")
    world.store.accounts["s"].workspace_id = 8
    await empty.it.reconciler.reconcile()
    assert not empty.it.reconciler.conditions
    await empty.it.sessions.start("s", restart=False)
    await until(empty.session(), connected)
    assert (layout.path(world.config.paths.sessions, 8, "s") / "Default/mark").exists()


@pytest.mark.parametrize("how", ["logout", "delete"])
async def test_nor_does_one_that_was_stopped_and_moved_before_the_daemon_began(
    bench: Bench, world: World, how: str
) -> None:
    """Its credentials would stay in a folder that belongs to nobody any more."""
    await bench.row("s", workspace=7, up=False, status="disconnected")
    world.store.accounts["s"].workspace_id = 8
    await bench.restore()
    if how == "logout":
        await bench.it.sessions.logout("s")
    else:
        await bench.it.sessions.delete("s", purge=False)
    assert not layout.path(world.config.paths.sessions, 7, "s").exists()
    assert not layout.exists(layout.path(world.config.paths.sessions, 8, "s"))
    assert len(quarantined_now(world)) == 1


async def test_the_old_profile_of_a_new_sessions_name_stays_where_it_is_deleted(
    bench: Bench, world: World
) -> None:
    """It may be another customer's."""
    await bench.row("s", workspace=8, up=False, status="qr_scanning", profile=False)
    old = world.profile("s", 7)
    await bench.restore()
    await bench.it.sessions.delete("s", purge=False)
    assert layout.exists(old)
