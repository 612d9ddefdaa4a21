"""A paired session that was moved to another workspace is started on its own profile, whatever lies there."""

from pathlib import Path

import pytest

from tests.profile.leveldb_files import profile as make
from tests.profile.leveldb_files import word_of
from tests.profile.old_profile_files import old_profile
from tests.supervision.bench import Bench
from tests.supervision.sessions import connected, until
from tests.supervision.world import World
from waguard.profile import layout, owner_mark, snapshots
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock


@pytest.fixture
async def left(bench: Bench, world: World) -> Places:
    """Where its profile lies: its row is in workspace 8."""
    await bench.row("s", workspace=8, profile=False)
    at = layout.places(world.config.paths.sessions, 7, "s")
    make(at.profile, "its own")
    with ProfileLock(at.profile) as lock:
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
    return at


def copied(left: Places, pairing: str) -> Path:
    """A snapshot in the new workspace."""
    there = layout.places(left.quarantine.parent, 8, "s").snapshots
    snapshots.create(left.profile, there, pairing=pairing, running=False, now=1_700_000_000.0)
    return there


async def started_on(bench: Bench, left: Places) -> str:
    await bench.restore()
    await until(bench.session(), connected)
    return word_of(layout.path(left.quarantine.parent, 8, "s"))


async def test_where_the_move_was_cut_off_after_its_snapshots(bench: Bench, left: Places) -> None:
    copied(left, owner_mark.pairing(left.profile) or "")
    assert await started_on(bench, left) == "its own"
    assert not left.profile.exists()


async def test_where_an_old_profile_waits(bench: Bench, left: Places) -> None:
    old = old_profile(left.quarantine.parent / "session-s", used=1_500_000_000.0)
    assert await started_on(bench, left) == "its own"
    assert old.exists()
    assert not left.profile.exists()


async def test_where_snapshots_of_a_later_pairing_lie_the_one_elsewhere_stays(
    bench: Bench, left: Places
) -> None:
    copied(left, "another pairing")
    await bench.restore()
    await until(bench.session(), connected)
    assert word_of(left.profile) == "its own"
