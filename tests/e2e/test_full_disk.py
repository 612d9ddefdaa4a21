"""A disk that is almost full, for real: nothing new is begun, it is said, and it ends by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.small_disk import small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NEW = {"session_id": "s1", "workspace_id": 1}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    with small_disk(tmp_path / "disk", 32 << 20) as mounted:
        yield mounted


async def test_nothing_new_is_begun_while_the_disk_is_almost_full(world: World, disk: Path) -> None:
    daemon = world.daemon
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_PATHS__SESSIONS": str(disk / "sessions"),
        "WAGUARD_LIMITS__DISK_RESERVE": "8",
    }
    await daemon.start()
    (disk / "filler").write_bytes(bytes(28 << 20))

    async def degraded() -> list[str]:
        _, told = await daemon.call("GET", "/health/detailed")
        return list(told["problems"])

    (problem,) = await daemon.until(degraded)
    assert problem == f"4 MB are free in {disk / 'sessions'}, limits.disk_reserve is 8 MB"
    code, told = await daemon.call("POST", "/api/sessions", NEW)
    assert (code, told["field"]) == (507, "limits.disk_reserve")
    assert problem in told["error"]
    assert told["remedy"]
    (disk / "filler").unlink()

    async def well() -> bool:
        return not await degraded()

    await daemon.until(well)

    async def over() -> list[dict[str, Any]]:
        """It is written a moment after it was so."""
        _, told = await daemon.call("GET", "/api/incidents")
        return [one for one in told["incidents"] if one["ended"]]

    (incident,) = await daemon.until(over)
    assert incident["sentences"][0] == f"Cause: {problem}."
    assert incident["result"] == "there was room again"
    code, told = await daemon.call("GET", "/api/sessions")
    assert (code, told["total"]) == (200, 0)
