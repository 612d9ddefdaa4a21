"""What came in while the database was away outlives the worker that reported it, and the daemon."""

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"


@pytest.mark.parametrize(
    "daemon_end",
    [
        pytest.param(signal.SIGTERM, id="stopped", marks=pytest.mark.long),
        pytest.param(signal.SIGKILL, id="killed"),
    ],
)
async def test_a_message_outlives_its_worker_and_daemon(
    world: World, daemon_end: signal.Signals
) -> None:
    daemon = world.daemon
    await daemon.start()
    seen = await daemon.pair(world.standin, "s1", PHONE)
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="while it was away")

        async def logged(words: str) -> bool:
            return words in daemon.log()

        await daemon.until(lambda: logged("nothing can be stored"))
        if daemon_end is signal.SIGKILL:  # its worker ends before it
            os.kill(seen["browser_pid"], signal.SIGKILL)
            await daemon.until(lambda: logged("worker exited"))
        await daemon.stop(daemon_end)
        database.rollback()
    await daemon.start()
    data = await world.receiver.wait_for("message_received")
    assert data["message"]["body"] == "while it was away"
    assert data["message"]["backfilled"] is False, "it is the worker's own report"
    await daemon.wait_status("s1", "connected")
    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="afterwards")
    await world.receiver.wait_for(
        "message_received", where=lambda it: it["message"]["body"] == "afterwards"
    )
    assert world.receiver.count("message_received") == 2

    async def cleared() -> bool:
        """By the worker, when it hears that all is stored."""
        return not list((daemon.folder / "run/workers").glob("*.unstored"))

    await daemon.until(cleared)
