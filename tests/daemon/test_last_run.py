"""The daemon's own death, as the next one reports it; without sessions."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.test_running_daemon import ALONE
from tests.e2e.harness import Daemon, short_folder
from tests.host.processes import waguard
from waguard.host.files.private_files import write_private

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with short_folder() as folder:
        async with Daemon(folder, ALONE) as made:
            yield made


def run_file(daemon: Daemon) -> Path:
    return daemon.folder / "state/run.json"


async def started(daemon: Daemon, *, ready: bool = True) -> Mapping[str, Any]:
    """What it keeps of its run."""
    await daemon.start(ready=ready)
    assert daemon.process

    async def its_own() -> Mapping[str, Any] | None:
        try:
            kept: Mapping[str, Any] = json.loads(run_file(daemon).read_bytes())
        except FileNotFoundError:
            return None
        return kept if kept["pid"] == daemon.process.pid else None  # type: ignore[union-attr]

    found: Mapping[str, Any] = await daemon.until(its_own)
    return found


async def over(daemon: Daemon) -> list[dict[str, Any]]:
    """Incidents of the fleet, when the newest one has ended."""

    async def check() -> list[dict[str, Any]] | None:
        _, reported = await daemon.call("GET", "/api/incidents")
        incidents: list[dict[str, Any]] = reported["incidents"]
        return incidents if incidents and incidents[-1]["ended"] else None

    found: list[dict[str, Any]] = await daemon.until(check)
    return found


async def noted(daemon: Daemon) -> None:
    """Wait until its run's file says that earlier deaths are on the trail."""

    async def check() -> bool:
        return bool(json.loads(run_file(daemon).read_bytes())["unreported"] == [])

    await daemon.until(check, deadline=20.0)


async def why(daemon: Daemon) -> str:
    environ = dict(daemon.settings) | {"WAGUARD_API__PORT": daemon.base.rpartition(":")[2]}
    done = await asyncio.to_thread(waguard, "why", folder=daemon.folder, environ=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


# the kernel short of memory sends KILL; systemd's watchdog ABRT, and KILL to what outlives that
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT], ids=["KILL", "ABRT"])
async def test_why_says_when_it_died_and_when_the_next_one_began(
    daemon: Daemon, number: signal.Signals
) -> None:
    kept = await started(daemon)
    seen = run_file(daemon).stat().st_mtime
    await daemon.stop(number)
    ended = time.time()
    await started(daemon)
    (incident,) = await over(daemon)
    moment = r"\d\d:\d\d:\d\d UTC"
    assert re.search(
        rf"waguard \(pid {kept['pid']}\) was killed or crashed between {moment}, when it was last seen"
        rf" alive, and {moment}, when the next one began; the machine was not rebooted",
        await why(daemon),
    )
    assert incident["sentences"][2:-1] == ["Done: no worker was left, and none was started."]
    assert incident["result"] == "the sessions were supervised again"
    began, restored = (datetime.fromisoformat(incident[at]) for at in ("began", "ended"))
    assert seen - 0.001 <= began.timestamp() <= ended <= restored.timestamp()


async def test_an_orderly_stop_is_no_incident(daemon: Daemon) -> None:
    await started(daemon)
    assert await daemon.stop() == 0
    kept = json.loads(run_file(daemon).read_bytes())
    assert (kept["ended"], kept["stopping"], kept["error"]) == (True, "SIGTERM", None)
    await started(daemon)
    await daemon.logs("restore finished", 2)
    assert "no incidents recorded" in await why(daemon)


async def test_what_a_restore_left_is_not_undone_behind_a_start(daemon: Daemon) -> None:
    journal = daemon.folder / "state/.restore/journal"
    write_private(journal, b"")
    await daemon.start()
    assert not journal.exists()


async def test_a_reboot_is_distinguished_from_a_crash(daemon: Daemon) -> None:
    """As it looks afterwards: the machine has another boot id."""
    kept = await started(daemon)
    await daemon.stop(signal.SIGKILL)
    seen = run_file(daemon).stat().st_mtime_ns
    run_file(daemon).write_text(json.dumps({**kept, "boot": "another"}))
    os.utime(run_file(daemon), ns=(seen, seen))
    await started(daemon)
    (incident,) = await over(daemon)
    assert "did not end in order between" in incident["cause"]
    assert "the machine was rebooted in between" in incident["cause"]


async def test_a_second_instance_that_is_refused_touches_nothing(daemon: Daemon) -> None:
    await started(daemon)
    before = run_file(daemon).stat().st_ino, run_file(daemon).read_bytes()
    done = await asyncio.to_thread(
        waguard, "run", folder=daemon.folder, environ=dict(daemon.settings)
    )
    assert done.returncode == 3, done.stderr
    assert (run_file(daemon).stat().st_ino, run_file(daemon).read_bytes()) == before


async def test_an_odd_file_prevents_no_start_and_is_an_incident(daemon: Daemon) -> None:
    await started(daemon)
    await daemon.stop()
    run_file(daemon).write_bytes(b"\xff{")
    await started(daemon)
    (incident,) = await over(daemon)
    assert incident["cause"].startswith(f"{run_file(daemon)} is quarantined: ")
    assert Path(f"{run_file(daemon)}.unreadable").read_bytes() == b"\xff{"


async def test_the_run_file_is_renewed_by_a_living_daemon(daemon: Daemon) -> None:
    await started(daemon)
    before = run_file(daemon).stat()

    async def renewed() -> bool:
        return run_file(daemon).stat().st_mtime > before.st_mtime

    await daemon.until(renewed, deadline=20.0)
    assert run_file(daemon).stat().st_ino == before.st_ino


@pytest.mark.long
async def test_a_death_is_handed_on_while_no_database_takes_it(daemon: Daemon) -> None:
    first = await started(daemon)
    await daemon.stop(signal.SIGKILL)
    well = daemon.settings
    blocked = daemon.folder / "no-folder"
    blocked.touch()
    url = f"sqlite+aiosqlite:///{blocked}/waguard.db"
    daemon.settings = {**well, "WAGUARD_DATABASE__URL": url}
    second = await started(daemon, ready=False)
    assert [death["pid"] for death in second["unreported"]] == [first["pid"]]
    await daemon.stop(signal.SIGKILL)
    daemon.settings = well
    await started(daemon)
    (incident,) = await over(daemon)
    assert f"waguard (pid {first['pid']}) was killed or crashed" in incident["cause"]
    assert any(
        f"the next daemon died as well: waguard (pid {second['pid']})" in done
        for done in incident["actions"]
    )
    await noted(daemon)


async def test_daemons_that_die_young_are_each_reported_once(daemon: Daemon) -> None:
    """Not again by each that follows: the trail shows the newest entries, and would be full of them."""
    for _ in range(3):
        kept = await started(daemon)
        await noted(daemon)
        await daemon.stop(signal.SIGKILL)
        os.utime(run_file(daemon), (kept["began"], kept["began"]))  # however slow the machine is
    await started(daemon)
    await noted(daemon)
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        query = "SELECT count(*) FROM waguard_events WHERE kind = 'daemon_died'"
        assert database.execute(query).fetchall() == [(3,)]
