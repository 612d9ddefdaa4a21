"""The reserve on the disks: new work is refused below it, once told, and taken again above it."""

from pathlib import Path

import pytest

from tests.small_disk import small_disk
from tests.supervision.world import World
from waguard.errors import NoRoomError
from waguard.ports.store import AuditEntry
from waguard.supervision.fleet.disk_reserve import DiskReserve
from waguard.supervision.outages import Outages
from waguard.supervision.status_writer import AuditLog

MB = 1 << 20
SESSIONS, STATE = Path("/sessions"), Path("/state")


class Disks:
    """What is free, in MB; None: it cannot be asked."""

    def __init__(self) -> None:
        self.left: dict[Path, int | None] = {SESSIONS: 900, STATE: 500}
        self.asked = 0

    def free(self, folder: Path) -> int | None:
        self.asked += 1
        left = self.left[folder]
        return None if left is None else left * MB


@pytest.fixture
def disks() -> Disks:
    return Disks()


@pytest.fixture
def entries() -> list[AuditEntry]:
    """What was put on the trail of the fleet."""
    return []


@pytest.fixture
def outages(world: World, entries: list[AuditEntry]) -> Outages:
    return Outages(AuditLog(None, world.store, world.clock, publish=entries.append, retry=1.0))


@pytest.fixture
def guard(world: World, disks: Disks, outages: Outages) -> DiskReserve:
    return DiskReserve(
        outages,
        world.clock,
        reserve=lambda: world.config.limits.disk_reserve,
        folders=(SESSIONS, STATE),
        free=disks.free,
    )


async def test_below_the_reserve_nothing_new_begins(
    world: World, disks: Disks, guard: DiskReserve, outages: Outages, entries: list[AuditEntry]
) -> None:
    guard.require()
    for left in (150, 120):
        disks.left[STATE] = left
        world.clock.advance(1.0)
        with pytest.raises(NoRoomError, match=f"{left} MB are free in /state") as refused:
            guard.require()
    assert (refused.value.status, refused.value.field) == (507, "limits.disk_reserve")
    assert [entry.kind for entry in entries] == ["disk_low"]
    assert str(outages.why("disk_low")).startswith("120 MB are free in /state")
    disks.left[STATE] = 210  # a little above the reserve is not enough
    world.clock.advance(1.0)
    with pytest.raises(NoRoomError):
        guard.require()
    disks.left[STATE] = 221
    world.clock.advance(1.0)
    guard.require()
    assert [entry.kind for entry in entries] == ["disk_low", "disk_free"]


async def test_a_disk_is_asked_once_a_second(
    world: World, disks: Disks, guard: DiskReserve
) -> None:
    for _ in range(100):
        guard.require()
    assert disks.asked == 2
    world.clock.advance(1.0)
    guard.check()
    assert disks.asked == 4


async def test_a_disk_that_says_nothing_refuses_nothing(
    world: World, disks: Disks, guard: DiskReserve
) -> None:
    disks.left = {SESSIONS: None, STATE: None}
    guard.require()
    disks.left[STATE] = 10
    world.clock.advance(1.0)
    with pytest.raises(NoRoomError):
        guard.require()
    disks.left[STATE] = None
    world.clock.advance(1.0)
    with pytest.raises(NoRoomError):
        guard.require()


async def test_on_a_real_disk(world: World, outages: Outages, tmp_path: Path) -> None:
    world.change("limits", disk_reserve=4)
    with small_disk(tmp_path / "disk", 8 * MB) as disk:
        guard = DiskReserve(
            outages,
            world.clock,
            reserve=lambda: world.config.limits.disk_reserve,
            folders=(world.folder, disk),
        )
        guard.require()
        (disk / "full").write_bytes(bytes(6 * MB))
        world.clock.advance(1.0)
        with pytest.raises(NoRoomError, match=f"2 MB are free in {disk}"):
            guard.require()
        (disk / "full").unlink()
        world.clock.advance(1.0)
        guard.require()
