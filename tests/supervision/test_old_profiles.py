"""A start finds what the old service left, and uses the paired one."""

import shutil
from pathlib import Path

import pytest

from tests.profile.old_profile_files import archive, old_profile
from tests.supervision.bench import QR_SHOWN, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session import views
from waguard.profile import layout, quarantine
from waguard.profile.owner_mark import PAIRING
from waguard.supervision.session.actor import SessionActor

OLD, NEW = 1_700_000_000.0, 1_700_000_100.0


def connected(session: SessionActor) -> bool:
    return session.link is Link.CONNECTED


def place(world: World, name: str = "workspace_7/session-s") -> Path:
    return world.config.paths.sessions / name


def mark(profile: Path) -> Path:
    (profile / "Default/mark").touch()
    return profile


def is_marked(world: World) -> bool:
    return (place(world) / "Default/mark").exists()


@pytest.mark.parametrize(
    "layout", ["7/s/session-s", "workspace_7/s", "session-s", "RemoteAuth-s", "7/RemoteAuth-s"]
)
async def test_a_profile_in_an_old_layout_is_found(bench: Bench, world: World, layout: str) -> None:
    await bench.row("s", profile=False)
    mark(old_profile(place(world, layout)))
    assert await bench.restore() == "restored 1"
    assert is_marked(world)


@pytest.mark.parametrize("status", ["connected", "qr_scanning"])
async def test_an_unpaired_new_profile_does_not_beat_a_paired_old_one(
    bench: Bench, world: World, status: str
) -> None:
    """The old service's restore never found the paired one, and showed a code on a new one."""
    await bench.row("s", profile=False, status=status)
    old_profile(place(world), paired=False, used=NEW)
    mark(old_profile(place(world, "7/s/session-s"), used=OLD))
    await bench.restore()
    await until(bench.session(), connected)
    assert is_marked(world)
    assert len(quarantine.quarantined(world.config.paths.sessions)) == 1


async def test_a_profile_that_names_no_workspace_is_not_given_to_a_new_session(
    empty: Bench, world: World
) -> None:
    """It may be another customer's."""
    mark(old_profile(place(world, "session-s")))
    await empty.connected()
    assert not is_marked(world)
    assert place(world, "session-s").exists()


@pytest.mark.timings(held_retry=0.01)
@pytest.mark.parametrize("end", ["it is let go", "it is moved away by hand"])
async def test_one_that_is_in_use_is_waited_for_without_a_code(
    bench: Bench, world: World, end: str
) -> None:
    await bench.row("s", profile=False)
    old = mark(old_profile(place(world, "7/s/session-s")))
    (old / "SingletonLock").write_text("nobody can say whose")
    await bench.restore()
    session = bench.session()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert "stop the old service" in str(views.details(session.state))
    assert (world.spawn.started, session.state.restarts) == ([], 0)
    if end == "it is let go":
        (old / "SingletonLock").unlink()
    else:
        place(world).parent.mkdir()
        old.rename(place(world))
    await until(session, connected)
    assert is_marked(world)


async def test_an_archive_is_named_where_nothing_else_is_left(
    bench: Bench, world: World, tmp_path: Path
) -> None:
    await bench.row("s", profile=False)
    packed = archive(place(world, "RemoteAuth-s.zip"), old_profile(tmp_path / "made"))
    assert await bench.restore() == "missing profile 1"
    await bench.until_written()
    assert f"{packed} holds one: run `waguard import`" in str(
        world.store.accounts["s"].disconnect_details
    )


@pytest.mark.parametrize("how", ["logout", "delete"])
async def test_what_the_old_service_left_does_not_come_back_after_a_logout(
    empty: Bench, world: World, how: str
) -> None:
    """Also where an import has left the original."""
    old_profile(place(world), used=NEW)
    old_profile(place(world, "7/s/session-s"), used=OLD)
    await empty.connected()
    if how == "logout":
        await empty.it.sessions.logout("s")
    else:
        await empty.it.sessions.delete("s", purge=False)
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    view, _ = await empty.create()
    assert view.status == "qr_scanning"
    assert not layout.exists(place(world))
    assert not place(world, "7/s/session-s").exists()


async def test_where_waguard_has_connected_it_no_older_one_is_used(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    profile = mark(old_profile(place(world), paired=False))
    shutil.copy(profile / "Default/mark", profile / PAIRING)
    old_profile(place(world, "7/s/session-s"), used=NEW)
    await empty.it.sessions.start("s", restart=True)
    await until(empty.session(), lambda s: connected(s) and len(world.spawn.started) == 2)
    assert is_marked(world)
