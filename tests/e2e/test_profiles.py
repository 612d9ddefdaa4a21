"""Profiles that are lost, damaged or in use: the session comes back by itself, and says how."""

import asyncio
import os
import shutil
import signal
import socket
import sys

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.profile.leveldb_files import INDEXED
from tests.worker.browser_session import LONG, BrowserSession
from waguard.profile import layout, quarantine, snapshots
from waguard.profile.layout import Places
from waguard.profile.quarantine import NOTE
from waguard.worker.browser.devtools import flush_storage

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]
PHONE = "6281180001"
SESSION = "s1"


def places(daemon: Daemon) -> Places:
    return layout.places(daemon.folder / "sessions", 1, SESSION)


async def copied(world: World) -> Places:
    """A paired session, which was stopped in order and left a copy."""
    await world.daemon.start()
    await world.daemon.pair(world.standin, SESSION, PHONE)
    await world.daemon.stop()
    at = places(world.daemon)
    for _ in range(2):  # a browser that trapped at its end leaves none (``TRAPPED``)
        if not snapshots.known(at.snapshots):
            await world.daemon.start()
            await world.daemon.wait_status(SESSION, "connected")
            await world.daemon.stop()
    assert len(snapshots.known(at.snapshots)) == 1
    return at


async def connected(world: World) -> None:
    await world.daemon.wait_status(SESSION, "connected")
    assert world.receiver.count("qr_code_generated") <= 1, "nobody has to scan a second code"


async def incident_with(daemon: Daemon, words: str) -> str:
    """The sentence of `waguard why` that has these words."""

    async def check() -> str | None:
        _, answer = await daemon.call("GET", f"/api/sessions/{SESSION}/incidents")
        found = [text for one in answer["incidents"] for text in one["sentences"] if words in text]
        return found[0] if found else None

    return str(await daemon.until(check))


@pytest.mark.long
async def test_a_profile_that_was_removed_comes_back_from_its_snapshot(world: World) -> None:
    at = await copied(world)
    shutil.rmtree(at.profile)
    await world.daemon.start()
    await connected(world)
    assert "the snapshot" in await incident_with(world.daemon, "was restored")


@pytest.mark.long  # what `make test` sees of it: tests/incident/test_manual_repair.py, tests/profile/test_repair.py
async def test_damage_under_a_running_browser_is_found_at_the_next_start(world: World) -> None:
    at = await copied(world)
    await world.daemon.start()
    before = await world.daemon.wait_status(SESSION, "connected")
    for manifest in (at.profile / INDEXED).glob("MANIFEST-*"):
        manifest.unlink()  # the browser has it open and does not notice
    os.kill(before["browser_pid"], signal.SIGKILL)
    await incident_with(world.daemon, "was quarantined")
    await connected(world)
    [copy] = quarantine.quarantined(world.daemon.folder / "sessions")
    assert "MANIFEST" in (at.quarantine / copy.name / NOTE).read_text()


@pytest.mark.long
async def test_damage_without_a_snapshot_shows_a_code_and_never_connected(world: World) -> None:
    at = await copied(world)
    shutil.rmtree(at.snapshots)
    for manifest in (at.profile / INDEXED).glob("MANIFEST-*"):
        manifest.unlink()
    await world.daemon.start()
    await world.daemon.wait_status(SESSION, "qr_scanning")
    await incident_with(world.daemon, "a QR code has to be scanned")
    assert len(quarantine.quarantined(world.daemon.folder / "sessions")) == 1
    world.standin.phone.scan(await world.daemon.qr(SESSION), phone=PHONE)
    await world.daemon.wait_status(SESSION, "connected")


@pytest.mark.long
async def test_a_code_although_it_was_paired_is_a_lost_profile_until_proven_otherwise(
    world: World,
) -> None:
    at = await copied(world)
    browser = BrowserSession(world.standin, at.profile, world.daemon.folder / "t")
    await browser.open()
    await browser.session.evaluate("localStorage.clear(), 0", timeout=LONG)
    await flush_storage(browser.chromium.devtools, browser.session)
    await browser.close()
    await world.daemon.start()
    await incident_with(world.daemon, "although it was paired")
    await connected(world)


@pytest.mark.long
async def test_an_unlink_while_nobody_runs_ends_with_a_code(world: World) -> None:
    await copied(world)
    world.standin.phone.unlink(PHONE)
    await world.daemon.start()
    await world.daemon.wait_status(SESSION, "qr_scanning", link="qr_pending")
    world.standin.phone.scan(await world.daemon.qr(SESSION), phone=PHONE)
    await world.daemon.wait_status(SESSION, "connected")


@pytest.mark.long
async def test_a_profile_on_which_chromium_ends_at_once_is_replaced_with_its_credentials(
    world: World,
) -> None:
    at = await copied(world)
    shutil.rmtree(at.snapshots)
    script = world.daemon.folder / "chromium"
    script.write_text(
        '#!/bin/sh\nfor given; do case "$given" in --user-data-dir=*)\n'
        '  [ -e "${given#*=}/Default/poison" ] && exit 7;;\nesac; done\n'
        'exec /usr/lib/chromium/chromium "$@"\n'
    )
    script.chmod(0o755)
    (at.profile / "Default" / "poison").touch()
    world.daemon.settings = {
        **world.daemon.settings,
        "WAGUARD_BROWSER__EXECUTABLE": str(script),
    }
    await world.daemon.start()
    await connected(world)
    assert "exit code 7" in await incident_with(world.daemon, "was quarantined")
    assert (await world.daemon.status(SESSION))["restarts"] == 0


@pytest.mark.long
async def test_a_browser_that_does_not_start_anywhere_costs_no_profile(world: World) -> None:
    at = await copied(world)
    script = world.daemon.folder / "chromium"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec /usr/lib/chromium/chromium "$@"\nexit 7\n'
    )
    script.chmod(0o755)
    healthy = dict(world.daemon.settings)
    world.daemon.settings = {
        **healthy,
        "WAGUARD_BROWSER__EXECUTABLE": str(script),
        "WAGUARD_RESTART__INTENSITY": "1",
    }
    await world.daemon.start()

    async def tried_again() -> bool:
        return world.daemon.log().count("worker started") >= 3

    await world.daemon.until(tried_again)
    waits = await world.daemon.wait_status(SESSION, "disconnected")
    assert "exit code 7, on a new profile too" in waits["disconnect_details"]
    assert waits["restarts"] == 0
    assert quarantine.quarantined(at.quarantine.parent) == []
    mended = script.with_name("mended")
    mended.write_text('#!/bin/sh\nexec /usr/lib/chromium/chromium "$@"\n')
    mended.chmod(0o755)
    mended.replace(script)
    await connected(world)


@pytest.mark.long
async def test_a_foreign_browser_on_the_profile_is_waited_for_and_not_killed(
    world: World,
) -> None:
    at = await copied(world)
    foreign = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "input()",
        f"--user-data-dir={at.profile}",
        stdin=asyncio.subprocess.PIPE,
    )
    (at.profile / "SingletonLock").symlink_to(f"{socket.gethostname()}-{foreign.pid}")
    try:
        await world.daemon.start()
        held = await world.daemon.wait_status(SESSION, "disconnected", lifecycle="backoff")
        assert f"Chromium {foreign.pid} uses" in held["disconnect_details"]
        assert foreign.returncode is None
    finally:
        await foreign.communicate(b"\n")
    assert foreign.returncode == 0
    await connected(world)
