"""Answers of a passkey that come to nothing, on the stand-in: each with its stage, text and HTTP status. And nothing of a
request or an answer is written down or published."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import World
from waguard.lab.standin.phone import PHONE

pytestmark = [pytest.mark.chromium, pytest.mark.e2e, pytest.mark.long]
PASSKEY = "/api/sessions/s1/passkey"


async def at_stage(world: World, stage: str | None) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        code, now = await world.daemon.call("GET", PASSKEY)
        return now if code == 200 and now["stage"] == stage else None

    found: dict[str, Any] = await world.daemon.until(check)
    return found


async def scanned(world: World) -> None:
    """The code on the screen, and WhatsApp wants the passkey."""
    world.standin.policy.passkey = True
    world.standin.phone.scan(await world.daemon.qr("s1"), phone=PHONE)
    await at_stage(world, "offered")


async def started(world: World) -> dict[str, Any]:
    code, reply = await world.daemon.call("POST", f"{PASSKEY}/start", {})
    assert code == 200, reply
    assert isinstance(reply, dict)
    return reply


async def answered(world: World, reply: dict[str, Any], **how: Any) -> tuple[int, str]:
    """Status, and the error or the stage."""
    signed = world.standin.phone.passkey(reply["options"], PHONE, **how)
    given = {"request": reply["request"], "assertion": signed}
    code, said = await world.daemon.call("POST", f"{PASSKEY}/answer", given)
    return code, str(said.get("error") or said["stage"])


async def test_what_does_not_link_has_a_stage_and_can_be_started_again(world: World) -> None:
    daemon, policy = world.daemon, world.standin.policy
    await daemon.start()
    await daemon.create("s1")
    await scanned(world)

    # wrong answers do not reach the page: it waits on
    reply = await started(world)
    code, error = await answered(world, reply, origin="https://evil.test")
    assert (code, error.split(":")[0]) == (422, "origin")
    code, error = await answered(world, reply, verified=False)
    assert (code, error.split(":")[0]) == (422, "user_verified")
    assert (await at_stage(world, "asked"))["unattended_until"]

    # another account's: only WhatsApp knows
    policy.passkey_way = "wrong_account"
    assert (await answered(world, reply))[0] == 202
    await at_stage(world, "failed")
    code, error = await answered(world, reply)
    assert (code, error.split(":")[0]) == (409, "answered")
    assert "it can be started again until" in error

    # refused here
    again = await started(world)
    assert again["options"]["challenge"] != reply["options"]["challenge"]
    code, now = await daemon.call("DELETE", PASSKEY)
    assert (code, now["stage"], now["error"]) == (200, "failed", "cancelled")
    code, error = await answered(world, again)
    assert (code, error.split(":")[0]) == (409, "unknown")

    # accepted, and then nothing comes of it
    policy.passkey_way, policy.passkey_wait = "silent", 2.0
    world.standin.phone.scan(await new_code(world), phone=PHONE)
    await at_stage(world, "offered")
    assert (await answered(world, await started(world)))[0] == 202
    assert (await at_stage(world, "failed"))["error"] == "timeout"

    policy.passkey_way, policy.passkey_wait = "compare", 120.0
    assert (await answered(world, await started(world)))[0] == 202
    code = (await at_stage(world, "confirm"))["code"]
    status, refused = await daemon.call("POST", f"{PASSKEY}/confirm", {"code": "ABCD-1234"})
    assert (status, refused["field"]) == (422, "code")
    status, _ = await daemon.call("POST", f"{PASSKEY}/confirm", {"code": code})
    assert status == 202
    await daemon.wait_status("s1", "connected", phone_number=PHONE)
    status, refused = await daemon.call("POST", f"{PASSKEY}/start", {})
    assert (status, "needs a passkey now" in refused["error"]) == (409, True)


async def test_what_is_lost_is_409_and_the_page_still_waits_where_only_the_daemon_died(
    world: World,
) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.create("s1")
    await scanned(world)

    # the page loads itself again
    reply = await started(world)
    (waiting,) = world.standin.whatsapp.linking.passkeys._waiting
    waiting.page.send({"type": "reload"})
    await at_stage(world, None)
    code, error = await answered(world, reply)
    assert (code, error.split(":")[0]) == (409, "not_held")

    # the worker is killed
    await scanned(world)
    reply = await started(world)
    killed = (await daemon.status("s1"))["worker_pid"]
    os.kill(killed, signal.SIGKILL)

    async def replaced() -> bool:
        return (await daemon.status("s1"))["worker_pid"] not in {None, killed}

    await daemon.until(replaced)
    code, error = await answered(world, reply)
    assert (code, error.split(":")[0]) == (409, "page_gone")

    # the daemon is killed: the page still waits, and the next daemon gets its request by a start
    await scanned(world)
    reply = await started(world)
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    await at_stage(world, "asked")
    code, error = await answered(world, reply)
    assert (code, error.split(":")[0]) == (409, "unknown")
    again = await started(world)
    assert (again["request"], again["options"]) == (reply["request"], reply["options"])
    assert (await answered(world, again))[0] == 202
    await daemon.wait_status("s1", "connected", phone_number=PHONE)


async def new_code(world: World) -> str:
    code, reported = await world.daemon.call("POST", "/api/sessions/s1/regenerate-qr")
    assert code == 200, reported
    return str(reported["raw"])


def contents(folder: Path) -> dict[str, str]:
    """Of all files of a run but those of Chromium: state, database, logs."""
    files = [it for it in folder.rglob("*") if it.is_file() and "sessions" not in it.parts]
    return {str(it.relative_to(folder)): it.read_text(errors="replace") for it in files}


async def test_nothing_of_a_request_or_an_answer_is_written_down_or_published(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    published = bytearray()

    async def listen() -> None:
        headers = {"X-Api-Key": daemon.key}
        async with daemon.http.get(f"{daemon.base}/api/events", headers=headers) as response:
            async for piece in response.content.iter_any():
                published.extend(piece)

    listening = asyncio.create_task(listen())
    await daemon.create("s1")
    await scanned(world)
    reply = await started(world)
    wrong = await answered(world, reply, origin="https://evil.test")
    assert wrong[0] == 422
    signed = world.standin.phone.passkey(reply["options"], PHONE)
    given = {"request": reply["request"], "assertion": signed}
    code, _ = await daemon.call("POST", f"{PASSKEY}/answer", given)
    assert code == 202
    shown = [str(await daemon.call("GET", path)) for path in (PASSKEY, "/api/sessions/s1/status")]
    await daemon.wait_status("s1", "connected", phone_number=PHONE)
    code, _ = await daemon.call("POST", f"{PASSKEY}/answer", given)
    assert code == 409
    await world.receiver.wait_for("session_ready")

    async def connection_is_published() -> bool:
        return b'"connected"' in published

    await daemon.until(connection_is_published)
    paths = ("/api/sessions/s1/incidents", "/health/detailed", "/metrics")
    shown += [str(await daemon.call("GET", path)) for path in paths]
    await daemon.until_delivered()
    await daemon.stop()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    files = contents(daemon.folder)
    assert {"waguard.log", "state/waguard.db"} <= files.keys()
    assert "the answer was signed on another origin" in files["waguard.log"]
    everything = {
        **files,
        "events": published.decode(),
        "webhooks": str(world.receiver.received),
        "shown": str(shown),
    }
    secrets = [reply["request"], reply["options"]["challenge"], signed["id"]]
    secrets += [it for it in signed["response"].values() if it]
    found = [name for name, text in everything.items() for it in secrets if it[:16] in text]
    assert found == []
