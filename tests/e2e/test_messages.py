"""Nothing that was received is lost: a daemon is killed, a receiver is down."""

import signal
import sqlite3

import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"
COUNT = 20


def stored(world: World) -> list[str]:
    with sqlite3.connect(world.daemon.folder / "state" / "waguard.db") as database:
        found = database.execute("SELECT payload FROM waguard_inbox WHERE kind = 'message'")
        reported = [str(row[0]) for row in found]
    database.close()
    return reported


def incoming(world: World, start: int) -> None:
    for number in range(start, start + COUNT):
        world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body=f"text {number}.")


def bodies(world: World) -> list[str]:
    data = [d["data"] for d in world.receiver.received if d["event"] == "message_received"]
    return [one["message"]["body"] for one in data]


@pytest.mark.long
async def test_a_killed_daemon_and_a_receiver_that_is_down(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    await world.receiver.wait_for("session_ready")
    world.receiver.refusals = [503] * 1_000
    incoming(world, 0)

    async def all_stored() -> bool:
        return len(stored(world)) == COUNT

    await daemon.until(all_stored)
    assert daemon.process
    await daemon.stop(signal.SIGKILL)
    incoming(world, COUNT)  # while nobody but the worker is there
    world.receiver.refusals.clear()
    await daemon.start()

    async def all_delivered() -> bool:
        return len(bodies(world)) >= 2 * COUNT

    await daemon.until(all_delivered)
    wanted = [f"text {number}." for number in range(2 * COUNT)]
    # each once: the receiver took none of them before the kill. In order: they are of one chat
    assert bodies(world) == wanted
    reported = stored(world)
    assert len(reported) == 2 * COUNT
    assert all(any(f'"{body}"' in one for one in reported) for body in wanted)
    assert "text 1." not in daemon.log()


@pytest.mark.long  # what `make test` sees of it: tests/messaging/test_webhook_retry.py, test_webhook.py, test_signing.py
async def test_a_secret_that_differs_costs_nothing(world: World) -> None:
    daemon = world.daemon
    secret = daemon.folder / "webhook-secret"
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    await world.receiver.wait_for("session_ready")
    good = secret.read_bytes()
    secret.write_bytes(b"another one\n" + good)

    async def read_again() -> bool:
        return daemon.log().count("configuration read again") > 0

    async def refused() -> bool:
        return "event=webhook_failed" in daemon.log()

    assert daemon.process
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.until(read_again)
    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="badly signed")
    await daemon.until(refused)

    secret.write_bytes(good + b"\nanother one")
    daemon.process.send_signal(signal.SIGHUP)
    data = await world.receiver.wait_for("message_received")
    assert data["message"]["body"] == "badly signed"
    assert (await daemon.call("GET", "/api/webhooks/dead"))[1]["dead"] == []
