"""A paired session that was moved to another workspace is started on its own profile, whatever lies there."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from tests.profile.leveldb_files import profile as make
from tests.profile.leveldb_files import word_of
from tests.profile.old_profile_files import old_profile
from tests.supervision.bench import Bench
from tests.supervision.sessions import connected, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.profile import layout, owner_mark, snapshots
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock

if TYPE_CHECKING:
    from loguru import Message


@pytest.fixture
async def left(bench: Bench, world: World) -> Places:
    """Where its profile lies: its row is in workspace 8."""
    await bench.row("s", workspace=8, profile=False)
    at = layout.places(world.config.paths.sessions, 7, "s")
    make(at.profile, "its own")
    with ProfileLock(at.profile) as lock:
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
    return at


@pytest.fixture
def moves() -> Iterator[list[int]]:
    """The workspaces out of which a profile was moved, as the log says."""
    before: list[int] = []

    def read(it: "Message") -> None:
        if it.record["extra"].get("event") == "profile_moved":
            before.append(it.record["extra"]["before"])

    sink = logger.add(read, level="WARNING", format="")
    yield before
    logger.remove(sink)


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


@pytest.mark.parametrize("lock_only", [True, False])
async def test_it_moves_to_a_place_where_no_profile_lies(
    bench: Bench, left: Places, moves: list[int], *, lock_only: bool
) -> None:
    there = layout.path(left.quarantine.parent, 8, "s")
    if lock_only:
        with ProfileLock(there):
            pass
    assert await started_on(bench, left) == "its own"
    assert owner_mark.pairing(there)
    assert not left.profile.exists()
    assert moves == [7]


async def test_where_there_is_none_the_log_says_of_none_that_it_moved(
    bench: Bench, world: World, moves: list[int]
) -> None:
    await bench.row("s", up=False, status="qr_scanning", profile=False)
    await bench.restore()
    world.store.accounts["s"].workspace_id = 8
    await bench.it.reconciler.reconcile()
    await bench.it.sessions.start("s", restart=False)
    await wait_until(lambda: len(world.spawn.started) == 1, "it is started")
    assert moves == []


async def test_where_snapshots_of_a_later_pairing_lie_the_one_elsewhere_stays(
    bench: Bench, left: Places
) -> None:
    copied(left, "another pairing")
    await bench.restore()
    await until(bench.session(), connected)
    assert word_of(left.profile) == "its own"
