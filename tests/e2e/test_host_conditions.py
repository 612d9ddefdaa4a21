"""Chromium or the disk with the profiles is away for a while: nobody is parked, nobody has to act."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE = "6281180001"
CHROMIUM = "/usr/lib/chromium/chromium"
SCRIPT = f'#!/bin/sh\nexec {CHROMIUM} "$@"\n'


def taken_away(executable: Path) -> None:
    executable.unlink()


def not_executable(executable: Path) -> None:
    executable.chmod(0o644)


def being_written(executable: Path) -> int:
    """ETXTBSY for whoever executes it."""
    return os.open(executable, os.O_WRONLY)


def put_back(executable: Path, held: int | None) -> None:
    if held is not None:
        os.close(held)
    script = executable.with_name("upgraded")
    script.write_text(SCRIPT)
    script.chmod(0o755)
    script.replace(executable)


async def waits(daemon: Daemon, words: str) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        reported = await daemon.status("s1")
        fits = reported["status"] == "disconnected" and words in (reported["waiting"] or "")
        return reported if fits else None

    result: dict[str, Any] = await daemon.until(check)
    return result


@pytest.mark.long  # what `make test` sees of it: test_host_conditions.py of tests/supervision
@pytest.mark.parametrize(
    ("upgrade", "words"),
    [
        (taken_away, "does not exist"),
        (not_executable, "is not an executable file"),
        (being_written, "Text file busy"),
    ],
)
async def test_chromium_is_away_while_the_package_is_upgraded(
    world: World, upgrade: Callable[[Path], int | None], words: str
) -> None:
    daemon = world.daemon
    executable = daemon.folder / "chromium"
    put_back(executable, None)
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_BROWSER__EXECUTABLE": str(executable),
        "WAGUARD_RESTART__INTENSITY": "2",
        "WAGUARD_RESTART__BASE_DELAY": "0.1",
        "WAGUARD_RESTART__MAX_DELAY": "0.1",
    }
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    held = upgrade(executable)
    os.kill(before["browser_pid"], signal.SIGKILL)
    answer = await waits(daemon, words)
    assert answer["disconnect_reason"] == "error"

    async def reported() -> bool:
        _, health = await daemon.call("GET", "/health/detailed")
        return any(words in problem for problem in health["problems"])

    await daemon.until(reported)
    put_back(executable, held)
    after = await daemon.wait_status("s1", "connected")
    assert after["restarts"] == 1, "the crash itself"
    assert "Chromium was killed (SIGKILL)" in daemon.log()
    assert world.receiver.count("qr_code_generated") == 1


@pytest.mark.long
async def test_the_disk_with_the_profiles_is_not_mounted_yet(world: World) -> None:
    daemon = world.daemon
    sessions, away = daemon.folder / "sessions", daemon.folder / "away"
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    await daemon.stop()
    sessions.rename(away)
    await daemon.start()
    reported = await waits(daemon, "has no profile in it")
    assert "mount its disk" in reported["disconnect_details"]
    await daemon.logs("restore finished: waiting 1")
    assert list(sessions.iterdir()) == [], "nothing is made where the mount belongs"
    sessions.rmdir()
    away.rename(sessions)
    after = await daemon.wait_status("s1", "connected")
    assert after["restarts"] == 0
    assert world.receiver.count("qr_code_generated") == 1

    async def over() -> bool:
        """It is written a moment after it was so."""
        _, reported = await daemon.call("GET", "/api/incidents")
        found = [one["ended"] for one in reported["incidents"] if "has no profile" in one["cause"]]
        return len(found) == 1 and found[0] is not None

    await daemon.until(over)
