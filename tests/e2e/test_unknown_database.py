"""A database that is not known to be ours ends nobody."""

import asyncio
import signal
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.host.processes import waguard
from waguard.host.process import procfs

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, PERSON = "6281180001", "6281180002"


async def conditions(daemon: Daemon) -> list[str]:
    """Types of those of all sessions."""
    _, found = await daemon.call("GET", "/health/detailed")
    return [it["type"] for it in found["conditions"] if not it.get("session")]


async def ready(daemon: Daemon) -> None:
    await daemon.until(lambda: daemon.answers("/health/ready"))


async def unknown(daemon: Daemon) -> None:
    async def check() -> bool:
        return "database_unknown" in await conditions(daemon)

    await daemon.until(check)
    _, found = await daemon.call("GET", "/health")
    assert found["status"] == "degraded"
    assert found["sessions"]["total"] == 0
    code, said = await daemon.call("GET", "/health/ready")
    assert (code, "does not answer" in said["error"]) == (503, False)
    shown = await asyncio.to_thread(
        waguard, "status", folder=daemon.folder, environ=daemon.settings
    )
    assert shown.stdout.splitlines()[0].endswith("degraded, the number of sessions is unknown")


async def test_a_daemon_that_finds_no_database_keeps_the_workers_until_it_is_back(
    world: World,
) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    await daemon.until_delivered()
    await daemon.stop(signal.SIGKILL)
    state, away = daemon.folder / "state", daemon.folder / "away"
    away.mkdir()
    for path in state.glob("waguard.db*"):
        path.rename(away / path.name)
    await daemon.start(ready=False)
    await unknown(daemon)
    world.standin.phone.incoming(phone=PHONE, from_=PERSON, body="meanwhile")
    assert (await daemon.call("GET", "/api/sessions"))[0] == 503
    assert procfs.start_time(before["worker_pid"]), "it lives"
    assert list(state.glob("waguard.db*")) == []
    for path in away.iterdir():
        path.rename(state / path.name)
    await ready(daemon)
    after = await daemon.wait_status("s1", "connected")
    assert (after["worker_pid"], after["browser_pid"]) == (
        before["worker_pid"],
        before["browser_pid"],
    )
    await world.receiver.wait_for(
        "message_received", where=lambda it: it["message"]["body"] == "meanwhile"
    )


@pytest.mark.long  # what `make test` sees of it: tests/daemon/test_restore_loop.py
async def test_a_disk_with_the_whole_state_that_comes_later_is_read_by_the_next_daemon(
    world: World,
) -> None:
    """Its keys are the application's, and who waits for a person still does."""
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    await daemon.pair(world.standin, "s2", PERSON)
    world.standin.phone.conflict(PERSON)
    await daemon.wait_status("s2", "failed", lifecycle="parked")
    await daemon.stop()
    state, key = daemon.folder / "state", daemon.key
    state.rename(daemon.folder / "not mounted")
    await daemon.start(ready=False)
    await unknown(daemon)
    state.rename(daemon.folder / "below")
    (daemon.folder / "not mounted").rename(state)
    assert daemon.process
    assert await daemon.process.wait() == 1
    assert "was mounted or replaced after the start" in daemon.log()
    await daemon.start()
    assert daemon.key == key
    await daemon.wait_status("s1", "connected", phone_number=before["phone_number"])
    await daemon.wait_status("s2", "failed", lifecycle="parked")


@pytest.mark.long  # what `make test` sees of it: the first test here, tests/daemon/test_installation.py
async def test_a_new_database_is_used_when_a_person_accepts_it(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    await daemon.stop(signal.SIGKILL)
    url = f"sqlite+aiosqlite:///{daemon.folder}/state/mistyped.db"
    daemon.settings = {**daemon.settings, "WAGUARD_DATABASE__URL": url}
    await daemon.start(ready=False)
    await unknown(daemon)
    assert procfs.start_time(before["worker_pid"]), "it lives"
    done = await asyncio.to_thread(
        waguard, "database", "accept", folder=daemon.folder, environ=daemon.settings
    )
    assert "mistyped.db" in done.stdout, done.stderr
    await ready(daemon)
    assert "database_unknown" not in await conditions(daemon)
    found: Any = await daemon.call("GET", "/api/sessions")
    assert found[1]["sessions"] == []
    assert procfs.start_time(before["worker_pid"]) is None, "a fact: this database has no session"
