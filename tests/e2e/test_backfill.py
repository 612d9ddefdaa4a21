"""What came in while nobody listened, where the history of a chat is not as one would wish."""

import os
import signal
from typing import Any

import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, ANN, BOB = "6281180001", "62812", "62813"


async def received(world: World, body: str) -> dict[str, Any]:
    def is_it(data: dict[str, Any]) -> bool:
        return bool(data["message"]["body"] == body)

    reported = await world.receiver.wait_for("message_received", where=is_it)
    message: dict[str, Any] = reported["message"]
    return message


async def restarted(world: World, pid: int) -> int:
    """Its worker has another browser, and is connected."""

    async def check() -> int | None:
        reported = await world.daemon.status("s1")
        is_new = reported["status"] == "connected" and reported["browser_pid"] not in {None, pid}
        return int(reported["browser_pid"]) if is_new else None

    return int(await world.daemon.until(check))


@pytest.mark.long
async def test_a_size_that_no_file_has(world: World) -> None:
    """Each new worker read the message back and ended by it: the session was parked after 33 s."""
    await world.daemon.start()
    before = await world.daemon.pair(world.standin, "s1", PHONE)
    os.kill(before["browser_pid"], signal.SIGKILL)
    picture = {"mimetype": "image/png", "base64": "AAAA"}
    odd = {"size": 2**64}
    world.standin.phone.incoming(from_=ANN, body="look", media=picture, attributes=odd)
    message = await received(world, "look")
    assert message["media"]["size"] == 2**53 - 1
    assert message["media"]["data"] is None
    assert "9007199254740991" in message["media"]["error"]
    after = await world.daemon.wait_status("s1", "connected")
    assert (after["restarts"], after["lifecycle"]) == (1, "running")
    world.standin.phone.incoming(from_=ANN, body="next")
    await received(world, "next")


@pytest.mark.long
async def test_a_chat_whose_history_throws_is_in_the_trail_and_the_others_go_on(
    world: World,
) -> None:
    world.standin.policy.history_error = [f"{ANN}@c.us"]
    await world.daemon.start()
    before = await world.daemon.pair(world.standin, "s1", PHONE)
    os.kill(before["browser_pid"], signal.SIGKILL)
    for friend in (ANN, BOB):
        world.standin.phone.incoming(from_=friend, body=f"from {friend}")
    await received(world, f"from {BOB}")
    await restarted(world, before["browser_pid"])

    async def gap() -> list[str]:
        return [cause for cause in await incidents(world) if f"{ANN}@c.us may be missing" in cause]

    (reported,) = await world.daemon.until(gap)
    assert "the database does not answer" in reported
    world.standin.phone.incoming(from_=ANN, body="live")
    await received(world, "live")


@pytest.mark.long  # what `make test` sees of it: test_life, tests/supervision/test_page_care.py, tests/worker/test_inbound.py
async def test_after_a_crash_right_after_a_pairing_the_backfill_comes_at_once_and_in_order(
    world: World,
) -> None:
    """It came ten minutes later, behind newer messages."""
    chats = [ANN, BOB, "62814", "62815"]
    await world.daemon.start()
    before = await world.daemon.pair(world.standin, "s1", PHONE)
    os.kill(before["browser_pid"], signal.SIGKILL)
    for chat in chats:
        world.standin.phone.incoming(from_=chat, body=f"{chat} missed")
    await restarted(world, before["browser_pid"])
    for chat in chats:
        world.standin.phone.incoming(from_=chat, body=f"{chat} live")
        await received(world, f"{chat} live")
    bodies = [
        one["data"]["message"]["body"]
        for one in world.receiver.received
        if one["event"] == "message_received"
    ]
    for chat in chats:
        mine = [body for body in bodies if body.startswith(chat)]
        assert mine == [f"{chat} missed", f"{chat} live"]


async def incidents(world: World) -> list[str]:
    code, reported = await world.daemon.call("GET", "/api/sessions/s1/incidents")
    assert code == 200, reported
    return [
        reported for one in reported["incidents"] for reported in (one["cause"], *one["actions"])
    ]


@pytest.mark.long
async def test_what_the_phone_writes_is_no_message_received(world: World) -> None:
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)
    world.standin.phone.write(ANN, body="own")
    world.standin.phone.incoming(from_=ANN, body="answer")
    await received(world, "answer")
    sent = await world.receiver.wait_for("message_sent")
    assert sent["message"]["from"] == f"{ANN}@c.us"
    used = await world.receiver.wait_for("mobile_activity_detected")
    assert (used["message_id"], used["device_type"]) == (sent["message_id"], "ios")
    path = "/api/internal/sessions/s1/last-activity"
    code, reported = await world.daemon.call("GET", path)
    assert code == 200, reported
    assert reported["data"]["last_activity"]
    bodies = [
        one["data"]["message"]["body"]
        for one in world.receiver.received
        if one["event"] == "message_received"
    ]
    assert bodies == ["answer"]
