"""Somebody removes the runtime folder under a living daemon, as a second unit with the same one does."""

import asyncio
import signal
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import removed
from tests.host.processes import waguard
from waguard.host.system.listen import LOCAL_SOCKET

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"


@pytest.mark.long  # what `make test` sees of it: tests/daemon/test_running_daemon.py, test_life
async def test_sessions_go_on_and_are_adopted_by_the_next_daemon(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    run = daemon.folder / "run"
    removed(run)

    async def reachable() -> bool:
        names = {path.suffix for path in (run / "workers").glob("*")}
        there = all((run / name).exists() for name in ("waguard.pid", LOCAL_SOCKET))
        return names == {".json", ".sock"} and there

    await daemon.until(reachable)
    shown = await asyncio.to_thread(
        waguard, "status", folder=daemon.folder, environ=dict(daemon.settings)
    )
    assert "1 of 1 connected" in shown.stdout, shown.stderr
    code, reported = await daemon.send("s1", FRIEND, "as ever")
    assert code == 200, reported
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    after: dict[str, Any] = await daemon.wait_status("s1", "connected")
    for same in ("worker_pid", "browser_pid", "restarts", "lifecycle"):
        assert after[same] == before[same], same


@pytest.mark.long
async def test_a_session_that_starts_meanwhile_starts_all_the_same(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    removed(daemon.folder / "run")
    await daemon.create("s1")
    world.standin.phone.scan(await daemon.qr("s1"), phone=PHONE)
    reported = await daemon.wait_status("s1", "connected")
    assert reported["restarts"] == 0
