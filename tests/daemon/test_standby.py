"""A daemon that waits for another host's lease, from its start until that is released."""

import asyncio
import contextlib
import signal
import sqlite3
import time
from collections.abc import Mapping
from typing import Final

import pytest

from tests.daemon.test_running_daemon import ALONE, Manager, daemon, manager
from tests.e2e.harness import DEADLINE, Daemon
from tests.store import template
from tests.waiting import wait_until

__all__ = ["daemon", "manager"]  # pytest finds fixtures by name
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
STANDBY: Final[Mapping[str, str]] = {**ALONE, "WAGUARD_LEASE__STANDBY": "true"}
WAITS: Final = "standby: waiting for the lease of beta"
HELD: Final = """
    INSERT OR REPLACE INTO waguard_lease (id, epoch, machine, runtime, host, pid, instance, taken_at, renewed_at,
    lasts, renewed_every, released) VALUES (1, 7, 'm2', '/run/waguard', 'beta', 4711, 'i8', ?, ?, 1e6, 1e5, 0)
"""


async def test_a_standby_answers_and_starts_nothing_until_the_lease_is_released(
    daemon: Daemon, manager: Manager
) -> None:
    file = daemon.folder / "w.db"
    await template.copy_to(file)

    def run(statement: str, *values: float) -> None:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection, connection:
            connection.execute(statement, values)

    run(HELD, time.time(), time.time())
    url = f"sqlite+aiosqlite:///{file}"
    daemon.settings = {**daemon.settings, **STANDBY, "WAGUARD_DATABASE__URL": url}
    await daemon.start(ready=False)
    await wait_until(lambda: manager.status == WAITS, "the service manager knows")
    assert "READY=1" in manager.heard
    for path in ("/health", "/health/ready"):
        code, said = await daemon.call("GET", path, key=False)
        assert (code, said["status"], said["error"]) == (503, "standby", WAITS)
    body = {"session_id": "s", "workspace_id": 1}
    for method, path in (("POST", "/api/sessions"), ("GET", "/api/sessions/s/status")):
        code, said = await daemon.call(method, path, body)
        assert (code, said["error"]) == (503, WAITS)
    _, detailed = await daemon.call("GET", "/health/detailed")
    assert (detailed["problems"], detailed["details"]) == ([], None)
    assert detailed["lease_holder"]["renewed_ago"] >= 0
    _, incidents = await daemon.call("GET", "/api/incidents")
    assert [it["type"] for it in incidents["conditions"]] == ["standby"]
    assert incidents["incidents"] is None
    assert await daemon.metric("waguard_standby") == 1.0

    run("UPDATE waguard_lease SET released = 1")
    await daemon.until(lambda: daemon.answers("/health/ready"))
    await wait_until(lambda: manager.status == "no session", "it supervises")
    assert await daemon.metric("waguard_standby") == 0.0
    # another host takes it: this one ends, and a next start waits there
    run(
        "UPDATE waguard_lease SET epoch = 9, machine = 'm2', instance = 'i9', host = 'beta', lasts = 1e6"
    )
    assert daemon.process
    async with asyncio.timeout(DEADLINE):
        assert await daemon.process.wait() == 6
    await daemon.start(ready=False)
    await wait_until(lambda: manager.status == WAITS, "it is the standby")
    assert await daemon.stop(signal.SIGTERM) == 0
