"""The faults that show only on real processes, browsers and sockets; numbered as in ``test_faults``."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from waguard.api.app import create_app
from waguard.core.profile.before_start import Healthy
from waguard.host.process import procfs
from waguard.profile import inspection, layout

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONES = {"a": "6281180001", "b": "6281180002"}
OPEN = {"/", "/page.js", "/page/{file}", "/page.css", "/health", "/health/live", "/health/ready"}
OPEN |= {"/docs", "/docs/reference.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"}
OPEN |= {"/api/openapi.json", "/api/keys/exchange"}


def second_instance(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "waguard", "run"],
        cwd=daemon.folder,
        env=os.environ | dict(daemon.settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def has_body(body: str, data: dict[str, Any]) -> bool:
    return bool(data["message"]["body"] == body)


def routes() -> Iterator[tuple[str, str]]:
    """Every route that the API has, with an id that nobody has."""
    for route in create_app(Mock()).router.routes():
        path = route.resource.canonical if route.resource else ""
        if route.method != "HEAD" and path not in OPEN:
            known = path.replace("{session_id}", "nobody").replace("{number}", "1")
            known = known.replace("{sha256}", "0" * 64).replace("{id}", "1").replace("{host}", "b")
            known = known.replace("{bulk_id}", str(UUID(int=0))).replace("{key_id}", "0" * 8)
            known = known.replace("{group_id}", "1203630@g.us").replace("{chat_id}", "1@c.us")
            known = known.replace("{numbers}", "628999").replace("{function}", "conn.isOnline")
            yield route.method, known


@pytest.mark.long
async def test_11_a_stop_ends_all_at_once_and_harms_no_profile(real: World) -> None:
    """One after the other, and killed after 5 s: orphans and corrupt profiles."""
    daemon = real.daemon
    await daemon.start()
    for name, phone in PHONES.items():
        await daemon.pair(real.standin, name, phone)
    assert await daemon.stop() == 0
    assert daemon.left_behind() == []
    for name in PHONES:
        at = layout.places(daemon.folder / "sessions", 1, name)
        assert isinstance(inspection.inspect(at.profile), Healthy)
    await daemon.start()
    for name in PHONES:
        await daemon.wait_status(name, "connected")
    assert real.receiver.count("qr_code_generated") <= len(PHONES)


async def test_13_nothing_is_done_without_a_key_and_no_key_is_shipped(real: World) -> None:
    daemon = real.daemon
    await daemon.start()
    for method, path in routes():
        code, reported = await daemon.call(method, path, key=False)
        assert (code, reported["error"]) == (401, "Invalid API key"), (method, path)
    key = daemon.folder / "state/api-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(daemon.key) >= 32
    source = Path(sys.modules["waguard"].__file__ or "").parent
    assert not [p for p in source.rglob("*.py") if daemon.key in p.read_text()]


@pytest.mark.long
async def test_14_what_the_receiver_refuses_comes_later(real: World) -> None:
    """210 messages were lost for ever: time-outs and 5xx were never tried again."""
    daemon = real.daemon
    await daemon.start()
    await daemon.pair(real.standin, "a", PHONES["a"])
    real.receiver.refusals += [500, 408]  # half a minute lies between two tries
    for number in range(5):
        real.standin.phone.incoming(from_="62812", body=f"number {number}")
    for number in range(5):
        await real.receiver.wait_for(
            "message_received", where=partial(has_body, f"number {number}")
        )
    assert real.receiver.refusals == []
    assert real.receiver.count("message_received") == 5


@pytest.mark.long
async def test_15_a_second_instance_never_touches_the_sessions(real: World) -> None:
    """Four instances shared one folder."""
    daemon = real.daemon
    await daemon.start()
    before = await daemon.pair(real.standin, "a", PHONES["a"])
    refused = await asyncio.gather(*(asyncio.to_thread(second_instance, daemon) for _ in range(3)))
    assert [one.returncode for one in refused] == [3, 3, 3]
    assert all(daemon.base in one.stderr for one in refused)
    after = await daemon.status("a")
    assert after["browser_pid"] == before["browser_pid"]


@pytest.mark.long  # what `make test` sees of it: the checklist of test_manual_repair, tests/worker/test_chromium_arguments.py
async def test_17_the_browser_has_processes_of_its_own(real: World) -> None:
    """With --single-process a crash of the page took the browser and unsaved storage along."""
    daemon = real.daemon
    await daemon.start()
    reported = await daemon.pair(real.standin, "a", PHONES["a"])
    assert not [
        one for one in procfs.command_line(reported["browser_pid"]) if "single-process" in one
    ]
    await daemon.stop()
    extra = {"WAGUARD_BROWSER__EXTRA_ARGS": '["--single-process"]'}
    daemon.settings = dict(daemon.settings) | extra
    refused = await asyncio.to_thread(second_instance, daemon)
    assert refused.returncode == 2
    assert "--single-process" in refused.stderr


@pytest.mark.long
async def test_18_a_database_that_comes_later_is_waited_for(real: World) -> None:
    """The service booted first, was refused, and gave up."""
    daemon = real.daemon
    await daemon.start()
    await daemon.pair(real.standin, "a", PHONES["a"])
    await daemon.stop()
    database = daemon.folder / "state/waguard.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        await daemon.start(ready=False)
        code, health = await daemon.call("GET", "/health", key=False)
        assert (code, health["status"]) == (200, "degraded")
        assert not await daemon.answers("/health/ready")
        other.execute("ROLLBACK")
    await daemon.until(lambda: daemon.answers("/health/ready"))
    await daemon.wait_status("a", "connected")


@pytest.mark.long
async def test_a_killed_daemon_costs_no_session(real: World) -> None:
    """What a crash of the service cost was every session."""
    daemon = real.daemon
    await daemon.start()
    before = await daemon.pair(real.standin, "a", PHONES["a"])
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    after = await daemon.wait_status("a", "connected")
    assert after["browser_pid"] == before["browser_pid"]
