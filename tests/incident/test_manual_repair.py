"""The repair that took a person an afternoon, step by step: with waguard nobody does any of it."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.profile.leveldb_files import INDEXED, LOCAL
from waguard.host.process.procfs import command_line
from waguard.profile import layout, quarantine, snapshots
from waguard.profile.layout import Places

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

SESSION = "webjs_1_1763796537_7b4O9uEe"
PHONE = "6281180001"
FRIEND = "6281180002"


def says(daemon: Daemon, status: str) -> None:
    """Somebody writes into the row."""
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database, database:
        database.execute("UPDATE whatsapp_accounts SET status = ?", (status,))


def row(daemon: Daemon) -> str:
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        [[status]] = database.execute("SELECT status FROM whatsapp_accounts").fetchall()
        return str(status)


@pytest.fixture
async def at(real: World) -> Places:
    """A session that was connected, and a daemon that has ended."""
    daemon = real.daemon
    await daemon.start()
    await daemon.pair(real.standin, SESSION, PHONE)
    at = layout.places(daemon.folder / "sessions", 1, SESSION)
    await daemon.stop()
    while not snapshots.known(at.snapshots):  # a browser that trapped at its end leaves none
        await daemon.start()
        await daemon.wait_status(SESSION, "connected")
        await daemon.stop()
    return at


async def connected_without_a_scan(world: World) -> None:
    await world.daemon.wait_status(SESSION, "connected")
    assert world.receiver.count("qr_code_generated") <= 1
    code, answer = await world.daemon.send(SESSION, FRIEND, "a test message")
    assert (code, answer["success"]) == (200, True)


async def test_the_checklist_holds_and_after_corrupt_files_and_a_lost_profile_nobody_does_a_step(
    real: World, at: Places
) -> None:
    """The steps one after the other, on one session; each ends with a daemon that runs."""
    await checklist(real)
    await real.daemon.stop()
    await step_2(real, at)
    await real.daemon.stop()
    await step_4(real, at, "connected")


async def step_2(real: World, at: Places) -> None:
    """`rm -rf ./sessions/workspace_1/*`"""
    for folder in (INDEXED, LOCAL):
        for path in (at.profile / folder).glob("*.log"):
            path.write_bytes(b"\xff" * 5_000)
    (at.profile / "SingletonLock").symlink_to(f"{os.uname().nodename}-4194303")
    says(real.daemon, "connected")
    await real.daemon.start()
    await connected_without_a_scan(real)
    assert len(quarantine.quarantined(real.daemon.folder / "sessions")) == 1


@pytest.mark.long
async def test_step_3_caches_are_cleaned_and_the_session_stays(real: World, at: Places) -> None:
    """`rm -rf ./.wwebjs_cache/*`"""
    filler = at.profile / "Default/Cache/filler"
    filler.parent.mkdir(parents=True, exist_ok=True)
    filler.write_bytes(os.urandom(2 << 20))
    real.daemon.settings = dict(real.daemon.settings) | {"WAGUARD_PROFILES__CACHE_LIMIT": "1"}
    await real.daemon.start()
    await connected_without_a_scan(real)
    assert not filler.exists()


@pytest.mark.long
async def test_step_4_the_row_is_corrected_by_itself(real: World, at: Places) -> None:
    await step_4(real, at, "authenticated")


async def step_4(real: World, at: Places, said: str) -> None:
    """`$account->update(['status' => 'disconnected'])`"""
    shutil.rmtree(at.profile)
    shutil.rmtree(at.snapshots)
    says(real.daemon, said)
    await real.daemon.start()
    reported = await real.daemon.wait_status(SESSION, "disconnected")
    assert "profile missing" in reported["disconnect_details"]

    async def corrected() -> bool:
        return row(real.daemon) == "disconnected"

    await real.daemon.until(corrected)
    code, answer = await real.daemon.send(SESSION, FRIEND, "a test message")
    assert code == 409, answer
    # what is left for a person is a scan, and one call shows the code
    code, _ = await real.daemon.call("POST", f"/api/sessions/{SESSION}/regenerate-qr", {})
    real.standin.phone.scan(await real.daemon.qr(SESSION), phone=PHONE)
    await real.daemon.wait_status(SESSION, "connected")


@pytest.mark.long
async def test_step_6_no_code_has_to_be_scanned_again(real: World, at: Places) -> None:
    shutil.rmtree(at.profile)
    await real.daemon.start()
    await connected_without_a_scan(real)


async def checklist(real: World) -> None:
    """One instance, healthy, restored, sends, receives, database and memory agree."""
    daemon = real.daemon
    await daemon.start()
    await connected_without_a_scan(real)
    assert "restore finished: restored 1" in daemon.log()
    code, health = await daemon.call("GET", "/health", key=False)
    assert (code, health["status"]) == (200, "healthy")
    real.standin.phone.incoming(from_=FRIEND, body="hello")
    await real.receiver.wait_for("message_received")
    reported = await daemon.status(SESSION)
    assert row(daemon) == reported["status"] == "connected"
    assert "single-process" not in " ".join(command_line(reported["browser_pid"]))
    code, reported = await daemon.call("GET", "/api/reconcile")
    assert (reported["corrections"], reported["findings"]) == ([], [])
