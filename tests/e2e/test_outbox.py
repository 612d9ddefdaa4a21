"""Sends survive: a daemon is killed in mid-send, a session comes back, a key is used again."""

import asyncio
import os
import signal
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import acknowledge

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"
SEND = "/api/messages/send"


def a_message(text: str, **more: Any) -> dict[str, Any]:
    return {"session_id": "s1", "recipient_phone": FRIEND, "message": text} | more


def at_the_server(world: World, text: str) -> list[str]:
    """The ids under which the stand-in's server has it."""
    return [m["id"] for m in world.standin.phone.messages(PHONE) if m.get("body") == text]


async def messages(world: World, query: str = "") -> list[dict[str, Any]]:
    code, reported = await world.daemon.call("GET", f"/api/messages{query}")
    assert code == 200
    found: list[dict[str, Any]] = reported["messages"]
    return found


async def test_a_daemon_that_is_killed_in_mid_send_doubles_nothing(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    world.standin.policy.never_answer = "recorded"
    sending = asyncio.ensure_future(daemon.call("POST", SEND, a_message("killed")))

    async def left() -> Any:
        return [m for m in await messages(world) if m["status"] == "sending"]

    async def arrived() -> list[str]:
        return at_the_server(world, "killed")

    [before] = await daemon.until(left)
    [known_as] = await daemon.until(arrived)
    await daemon.stop(signal.SIGKILL)
    await asyncio.gather(sending, return_exceptions=True)
    world.standin.policy.never_answer = ""
    acknowledge(world.standin, PHONE, known_as)  # nobody but the worker is there
    await daemon.start()
    await daemon.wait_status("s1", "connected")

    async def known() -> Any:
        return [m for m in await messages(world) if m["status"] == "sent"]

    code, reported = await daemon.call("POST", SEND, a_message("killed"))  # as the application does
    assert (code, reported["message_id"]) in {
        (200, before["message_id"]),
        (202, before["message_id"]),
    }
    [after] = await daemon.until(known)
    assert after["message_id"] == before["message_id"]
    assert at_the_server(world, "killed") == [after["message_id"]]


@pytest.mark.long
async def test_not_even_where_the_worker_dies_too(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    worker = (await daemon.status("s1"))["worker_pid"]
    world.standin.policy.never_answer = "recorded"
    sending = asyncio.ensure_future(daemon.call("POST", SEND, a_message("both killed")))

    async def arrived() -> bool:
        return bool(at_the_server(world, "both killed"))

    await daemon.until(arrived)
    await daemon.stop(signal.SIGKILL)
    os.killpg(worker, signal.SIGKILL)
    await asyncio.gather(sending, return_exceptions=True)
    world.standin.policy.never_answer = ""
    await daemon.start()
    await daemon.wait_status("s1", "connected")

    async def found_message() -> Any:
        return [m for m in await messages(world) if m["status"] in {"sent", "uncertain"}]

    [after] = await daemon.until(found_message)
    code, reported = await daemon.call("POST", SEND, a_message("both killed"))
    assert (code, reported["message_id"]) in {
        (200, after["message_id"]),
        (202, after["message_id"]),
    }
    assert at_the_server(world, "both killed") == [after["message_id"]]


@pytest.mark.long
async def test_a_queued_message_is_sent_once_when_its_session_is_back(world: World) -> None:
    daemon = world.daemon
    quick = {"WAGUARD_SEND__WAIT": "0.5", "WAGUARD_SEND__REPLY_GRACE": "1"}
    daemon.settings = {**daemon.settings, **quick}
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    world.standin.policy.refuse_sockets = True
    world.standin.phone.drop(PHONE)

    refused: list[str] = []

    async def offline() -> bool:
        """The first of them may still find a page that says connected, and keeps it for later."""
        text = f"now or never, {len(refused)}"
        code, _ = await daemon.call("POST", SEND, a_message(text))
        refused.append(text)
        return code == 503

    await daemon.until(offline)
    code, reported = await daemon.call("POST", SEND, a_message("queued", queue=True))
    assert (code, reported["success"], reported["status"]) == (202, True, "accepted")
    await daemon.stop(signal.SIGKILL)  # it survives that too
    world.standin.policy.refuse_sockets = False
    await daemon.start()
    data = await world.receiver.wait_for(
        "message_sent", where=lambda it: it["message_id"] == reported["message_id"]
    )
    assert data["to"] == f"{FRIEND}@c.us"

    async def sent() -> Any:
        code, found = await daemon.call("GET", f"/api/messages/{reported['id']}")
        return code == 200 and found["status"] == "sent"

    await daemon.until(sent)
    assert at_the_server(world, "queued") == [reported["message_id"]]
    assert at_the_server(world, refused[-1]) == []


@pytest.mark.long
async def test_the_same_key_over_a_restart_is_the_same_message(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    keyed = a_message("keyed", idempotency_key="order-17")
    code, first = await daemon.call("POST", SEND, keyed)
    assert code == 200
    await daemon.stop()
    await daemon.start()
    await daemon.wait_status("s1", "connected")
    code, again = await daemon.call("POST", SEND, keyed)
    assert (code, again) == (200, first)
    code, other = await daemon.call("POST", SEND, keyed | {"message": "another"})
    assert (code, other["field"]) == (422, "idempotency_key")
    assert at_the_server(world, "keyed") == [first["message_id"]]
    assert "keyed" not in daemon.log()
