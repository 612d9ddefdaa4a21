"""A disk that is almost full, for real: nothing new is begun, it is said, and it ends by itself."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.small_disk import small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"
RESERVE = 8 << 20  # bytes
A_LOT = 60_000  # characters; more than the free part of a page that is on the disk already
NEW = {"session_id": "s1", "workspace_id": 1}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    with small_disk(tmp_path / "disk", 32 << 20) as mounted:
        yield mounted


@pytest.mark.long
async def test_nothing_new_is_begun_while_the_disk_is_almost_full(world: World, disk: Path) -> None:
    daemon = world.daemon
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_PATHS__SESSIONS": str(disk / "sessions"),
        "WAGUARD_LIMITS__DISK_RESERVE": f"{RESERVE >> 20}",
    }
    await daemon.start()
    fill_but(disk, RESERVE)

    async def degraded() -> list[str]:
        _, reported = await daemon.call("GET", "/health/detailed")
        return list(reported["problems"])

    (problem,) = await daemon.until(degraded)
    assert problem == f"7 MB are free in {disk / 'sessions'}, limits.disk_reserve is 8 MB"
    code, reported = await daemon.call("POST", "/api/sessions", NEW)
    assert (code, reported["field"]) == (507, "limits.disk_reserve")
    assert problem in reported["error"]
    assert reported["remedy"]
    (disk / "filler").unlink()

    async def well() -> bool:
        return not await degraded()

    await daemon.until(well)

    async def over() -> list[dict[str, Any]]:
        """It is written a moment after it was so."""
        _, reported = await daemon.call("GET", "/api/incidents")
        return [one for one in reported["incidents"] if one["ended"]]

    (incident,) = await daemon.until(over)
    assert incident["sentences"][0] == f"Cause: {problem}."
    assert incident["result"] == "there was room again"
    code, reported = await daemon.call("GET", "/api/sessions")
    assert (code, reported["total"]) == (200, 0)


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 MB."""
    with small_disk(tmp_path / "disk", 256 << 20) as mounted:
        yield mounted


@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_a_message_that_neither_the_page_nor_the_database_can_store_is_not_lost(
    world: World, roomy: Path, end: signal.Signals
) -> None:
    """Profiles and database lie on the disk that is full. Its operator restarts waguard."""
    daemon = world.daemon
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_PATHS__SESSIONS": str(roomy / "sessions"),
        "WAGUARD_PATHS__STATE": str(roomy / "state"),
        "WAGUARD_LIMITS__DISK_RESERVE": "0",
    }
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    fill(roomy / "filler")
    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="x" * A_LOT)

    async def refused() -> bool:
        """By the database, or by a page that has given up before it was told of the message."""
        log = daemon.log()
        return "nothing can be stored" in log or "closed the page's storage" in log

    await daemon.until(refused)
    await daemon.stop(end)
    (roomy / "filler").unlink()
    await daemon.start()
    data = await world.receiver.wait_for("message_received")
    assert data["message"]["body"] == "x" * A_LOT
    await daemon.wait_status("s1", "connected")
    assert world.receiver.count("message_received") == 1


@pytest.mark.chromium
@pytest.mark.long
async def test_a_full_disk_is_the_hosts_and_harms_no_profile(world: World, roomy: Path) -> None:
    """Chromium starts on no profile there, and would on an empty one elsewhere."""
    daemon = world.daemon
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_PATHS__SESSIONS": str(roomy / "sessions"),
        "WAGUARD_LIMITS__DISK_RESERVE": "0",
    }
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    fill(roomy / "filler")
    os.kill(before["browser_pid"], signal.SIGKILL)

    async def full() -> list[dict[str, Any]]:
        _, reported = await daemon.call("GET", "/health/detailed")
        return [it for it in reported["conditions"] if it["reason"] == "disk_full"]

    (condition,) = await daemon.until(full)
    assert (condition["session_id"], condition["blame"]) == ("s1", "host")
    (roomy / "filler").unlink()
    await daemon.wait_status("s1", "connected")
    assert "the profile is suspect" not in daemon.log()


def fill_but(disk: Path, free: int) -> None:
    """Leave a block less than this, in bytes. The last block alone crosses the line: a daemon that
    looks in the middle of it must not see another number than afterwards."""
    it = os.statvfs(disk)
    with (disk / "filler").open("wb", buffering=0) as file:
        file.write(bytes(it.f_bavail * it.f_frsize - free))
        file.write(bytes(it.f_frsize))


def fill(path: Path) -> None:
    """Leave not a byte."""
    free = os.statvfs(path.parent)
    with path.open("wb") as file:
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        with contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(4096))
