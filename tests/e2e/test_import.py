"""Old profiles, made by the real Chromium: each connects without a scan, and the originals stay as they are."""

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.profile.old_profile_files import archive, content
from tests.worker.browser_session import BrowserSession
from waguard.core.profile.old_profiles import Credentials, Outcome
from waguard.cutover import importing
from waguard.cutover.importing import Report, Request
from waguard.profile import layout, old_profiles, quarantine
from waguard.worker.browser.devtools import flush_storage

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]
PHONE = "6281180001"
SESSION = "s1"
NESTED = f"1/{SESSION}/session-{SESSION}"
LAYOUTS = (
    NESTED,
    f"workspace_1/session-{SESSION}",
    f"1/{SESSION}",
    f".wwebjs_auth/session-{SESSION}",
    f"RemoteAuth-{SESSION}.zip",
    f"1/session-{SESSION} (its Default alone)",
)


async def made(world: World, profile: Path, *, killed: bool, paired: bool = True) -> Path:
    """A profile that a browser has used, and that it left in order or in the middle of its work."""
    browser = BrowserSession(world.standin, profile, world.daemon.folder / "t")
    await browser.open()
    if paired:
        await browser.pair(PHONE)
        # what Chromium does by itself within a minute
        await flush_storage(browser.chromium.devtools, browser.session)
    else:
        await browser.link()
    if killed:
        browser.loader.close()
        os.killpg(browser.chromium.pid, signal.SIGKILL)
        await browser.chromium.exited
    await browser.close()
    return profile


def lay_out(profile: Path, service: Path, layout: str) -> None:
    """Where the old service has it."""
    place = service / layout.removesuffix(" (its Default alone)")
    place.parent.mkdir(parents=True)
    if layout.endswith(".zip"):
        archive(place, profile)
    elif place != service / layout:
        shutil.move(profile / "Default", place)
    else:
        shutil.move(profile, place)


def imported(daemon: Daemon, folder: Path) -> Report:
    sessions = daemon.folder / "sessions"
    return importing.run(Request(folder=folder, sessions=sessions, workspaces={}, workspace=1))


async def connected_without_a_scan(world: World) -> None:
    body = {"session_id": SESSION, "workspace_id": 1}
    code, reported = await world.daemon.call("POST", "/api/sessions", body)
    assert code == 201, reported
    await world.daemon.wait_status(SESSION, "connected")
    assert world.receiver.count("qr_code_generated") == 0


@pytest.mark.parametrize(
    ("layout", "killed"),
    [
        pytest.param(
            *(layout, killed),
            id=f"{layout}, {'killed' if killed else 'clean'}",
            marks=[] if layout is NESTED and killed else [pytest.mark.long],
        )
        for layout in LAYOUTS
        for killed in (False, True)
    ],
)
async def test_an_imported_profile_connects_without_a_scan(
    world: World, tmp_path: Path, layout: str, *, killed: bool
) -> None:
    service = tmp_path / "service"
    lay_out(await made(world, tmp_path / "made", killed=killed), service, layout)
    before = content(service)
    [line] = imported(world.daemon, service).lines
    assert line.outcome is Outcome.TAKEN, line.why
    assert line.profile.credentials is Credentials.PAIRED
    await world.daemon.start()
    await connected_without_a_scan(world)
    assert content(service) == before


@pytest.mark.long
@pytest.mark.parametrize("killed", [False, True], ids=["clean", "killed"])
async def test_a_start_uses_the_paired_old_profile_and_not_the_new_one_in_its_place(
    world: World, tmp_path: Path, *, killed: bool
) -> None:
    sessions = world.daemon.folder / "sessions"
    sessions.mkdir(mode=0o700)
    at = layout.places(sessions, 1, SESSION)
    lay_out(await made(world, tmp_path / "old", killed=killed), sessions, NESTED)
    await made(world, at.profile, killed=False, paired=False)
    await world.daemon.start()
    await connected_without_a_scan(world)
    [quarantined] = quarantine.quarantined(sessions)
    assert (
        old_profiles.examine(at.quarantine / quarantined.name).credentials is Credentials.UNPAIRED
    )


@pytest.mark.long
async def test_a_profile_that_a_browser_uses_is_neither_imported_nor_started(
    world: World, tmp_path: Path
) -> None:
    """It is seen by its databases: it has another name there, and its lock names another host."""
    sessions = world.daemon.folder / "sessions"
    old = sessions / NESTED
    (tmp_path / "elsewhere").symlink_to(sessions)
    browser = BrowserSession(
        world.standin, tmp_path / "elsewhere" / NESTED, world.daemon.folder / "t"
    )
    sessions.mkdir(mode=0o700)
    old.mkdir(parents=True)
    await browser.open()
    await browser.pair(PHONE)
    await flush_storage(browser.chromium.devtools, browser.session)
    (old / "SingletonLock").unlink()
    (old / "SingletonLock").symlink_to("a-container-7")
    report = imported(world.daemon, sessions)
    assert report.failed
    assert report.lines[0].why.startswith("process ")
    await world.daemon.start()
    body = {"session_id": SESSION, "workspace_id": 1}
    await world.daemon.call("POST", "/api/sessions", body)
    waits = await world.daemon.wait_status(SESSION, "disconnected")
    assert "stop the old service" in waits["disconnect_details"]
    assert old.is_dir()
    await browser.close()
    await world.daemon.wait_status(SESSION, "connected")
    assert world.receiver.count("qr_code_generated") == 0
    assert not (old / "Default").exists()


async def run(daemon: Daemon, line: str, *more: str) -> str:
    """A command as it was printed; what it says. It must succeed unless it says that it failed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", *line.split(), *more),
        cwd=daemon.folder,
        env=os.environ | dict(daemon.settings),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == ("failed: " in out.decode()), out.decode()
    return out.decode()


@pytest.mark.long
async def test_the_printed_commands_lead_from_a_running_session_to_its_old_profile(
    world: World, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    lay_out(await made(world, tmp_path / "made", killed=True), service, NESTED)
    await world.daemon.start()
    await world.daemon.create(SESSION)
    refused = await run(world.daemon, "waguard import --from", str(service))
    [stop] = re.findall(r"the session runs \((.*)\)", refused)
    await run(world.daemon, stop)
    taken = await run(world.daemon, "waguard import --from", str(service))
    [start] = re.findall(r"(?m)^next: (.*)$", taken)
    shown = world.receiver.count("qr_code_generated")
    await run(world.daemon, start)
    await world.daemon.wait_status(SESSION, "connected")
    assert world.receiver.count("qr_code_generated") == shown
    again = await run(world.daemon, "waguard import --from", str(service))
    assert "waguard has connected the session with" in again
