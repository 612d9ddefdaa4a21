"""Disconnect and reconnect as the application does it: DELETE, then POST reconnect."""

import asyncio
import contextlib
import signal
import sqlite3

import aiohttp
import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, NEW_PHONE, FRIEND = "6281180001", "6281180009", "6281180002"
ONE = "/api/sessions/s1"


def row(daemon: Daemon) -> tuple[str, str | None, str | None]:
    """Status, its reason and deleted_at, as the application reads them."""
    columns = "status, disconnect_reason, deleted_at"
    with contextlib.closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        query = f"SELECT {columns} FROM whatsapp_accounts WHERE session_id = 's1'"
        found: tuple[str, str | None, str | None] = database.execute(query).fetchone()
        return found


async def assert_gone(daemon: Daemon) -> None:
    reported = await daemon.status("s1")
    assert (reported["status"], reported["disconnect_reason"]) == ("disconnected", "user_initiated")
    assert reported["worker_pid"] is None
    assert row(daemon) == ("disconnected", "user_initiated", None)
    assert (await daemon.call("GET", "/api/sessions"))[1]["total"] == 0
    health = (await daemon.call("GET", "/health"))[1]
    assert (health["status"], health["sessions"]["total"]) == ("healthy", 0)
    assert len(list((daemon.folder / "sessions/quarantine").iterdir())) == 1


async def reconnect(world: World) -> None:
    daemon = world.daemon
    code, reported = await daemon.call("POST", f"{ONE}/reconnect", {})
    assert (code, reported["status"]) == (200, "qr_scanning"), reported
    assert row(daemon) == ("qr_scanning", None, None)
    world.standin.phone.scan(await daemon.qr("s1"), phone=NEW_PHONE)
    reported = await daemon.wait_status("s1", "connected")
    assert (reported["phone_number"], reported["removed_at"]) == (NEW_PHONE, None)
    assert (await daemon.call("GET", "/api/sessions"))[1]["total"] == 1
    assert (await daemon.send("s1", FRIEND, "hello"))[0] == 200


@pytest.mark.long  # what `make test` sees of it: test_application, tests/supervision/test_leaving.py, test_coming_back.py
async def test_disconnect_and_reconnect(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    await world.receiver.wait_for("session_ready")
    code, reported = await daemon.call("DELETE", ONE)
    assert code == 200, reported
    await assert_gone(daemon)
    assert (await world.receiver.wait_for("session_disconnected"))["reason"] == "user_initiated"
    assert (await daemon.send("s1", FRIEND, "too late"))[0] == 409
    assert (await daemon.call("GET", f"{ONE}/incidents"))[0] == 200

    await daemon.until_delivered()
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    await assert_gone(daemon)
    await reconnect(world)
    assert world.receiver.count("session_disconnected") == 1


@pytest.mark.long
async def test_a_kill_in_the_middle_of_a_disconnect(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    deleting = asyncio.create_task(daemon.call("DELETE", ONE))

    async def is_reported() -> bool:
        return row(daemon)[0] == "disconnected"

    await daemon.until(is_reported)
    await daemon.stop(signal.SIGKILL)
    with contextlib.suppress(aiohttp.ClientError):
        await deleting
    await daemon.start()
    await assert_gone(daemon)
    await reconnect(world)


@pytest.mark.long
async def test_stop_and_start_need_no_new_code(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    code, reported = await daemon.call("POST", f"{ONE}/stop", {})
    assert (code, reported["status"], reported["worker_pid"]) == (200, "disconnected", None), (
        reported
    )
    code, reported = await daemon.call("POST", f"{ONE}/start", {})
    assert code == 200, reported
    assert (await daemon.wait_status("s1", "connected"))["phone_number"] == PHONE
    assert world.receiver.count("qr_code_generated") <= 1
