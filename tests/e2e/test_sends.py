"""What a send can say, from the HTTP API to the server that gets it."""

import signal
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND, UNKNOWN = "6281180001", "6281180002", "6281180009"


def transmitted(world: World, message_id: str) -> dict[str, Any]:
    """What the server has of a message."""
    [found] = [m for m in world.standin.phone.messages(PHONE) if m["id"] == message_id]
    return found


@pytest.mark.long  # what `make test` sees of it: tests/worker/test_send_options.py, tests/api/test_send_content.py, test_application
async def test_a_reply_with_a_file_and_what_is_refused(world: World) -> None:
    async def bill(_: web.Request) -> web.Response:
        return web.Response(body=b"%PDF the bill", content_type="application/pdf")

    app = web.Application()
    app.router.add_get("/bills/no 1.pdf", bill)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        await refused_then_sent(world, address)
    finally:
        await runner.cleanup()


async def refused_then_sent(world: World, address: str) -> None:
    daemon = world.daemon
    daemon.settings = {**daemon.settings, "WAGUARD_SEND__ALLOW_PRIVATE": "true"}
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="how much?")
    asked = (await world.receiver.wait_for("message_received"))["message"]["id"]
    body = {"session_id": "s1", "recipient_phone": FRIEND, "quoted_message_id": asked}

    file = body | {"media_url": f"{address}/bills/no%201.pdf?key=secret", "mentions": [PHONE]}
    code, reported = await daemon.call("POST", "/api/messages/send-media", file)
    assert code == 200, reported
    message = transmitted(world, reported["message_id"])
    assert message["quotedStanzaID"] == asked.split("_")[2]
    assert message["mentionedJidList"] == [f"{PHONE}@c.us"]
    assert (message["type"], message["filename"]) == ("document", "no 1.pdf")
    assert world.standin.whatsapp.media[message["filehash"]] == b"%PDF the bill"

    world.standin.policy.update({"exists": {UNKNOWN: False}})
    refused = [
        (body | {"quoted_message_id": f"{asked}00", "message": "hi"}, "quoted_message_id"),
        ({"session_id": "s1", "recipient_phone": UNKNOWN, "message": "hi"}, "recipient_phone"),
    ]
    before = len(world.standin.phone.messages(PHONE))
    for wrong, field in refused:
        code, reported = await daemon.call("POST", "/api/messages/send", wrong)
        assert (code, reported["outcome"], reported["field"]) == (422, "refused", field), reported
    assert len(world.standin.phone.messages(PHONE)) == before
    assert "secret" not in daemon.log()
    await acted_on(world, asked)


async def acted_on(world: World, asked: str) -> None:
    """A poll, then what makes no message."""
    me, chat = {"session_id": "s1"}, f"/api/sessions/s1/chats/{FRIEND}"
    poll = me | {"recipient_phone": FRIEND, "question": "When?", "options": ["Mon", "Tue"]}
    code, reported = await world.daemon.call("POST", "/api/messages/send-poll", poll)
    assert code == 200, reported
    assert transmitted(world, reported["message_id"])["pollName"] == "When?"
    before = len(world.standin.phone.messages(PHONE))
    calls: list[tuple[str, dict[str, Any], int]] = [
        (f"/api/messages/{asked}/reaction", me | {"reaction": "👍"}, 200),
        (f"/api/messages/{reported['message_id']}/revoke", me, 200),
        (f"/api/messages/{asked}/revoke", me, 422),
        (f"{chat}/typing", {}, 200),
        (f"{chat}/seen", {}, 200),
    ]
    for path, body, status in calls:
        code, reported = await world.daemon.call("POST", path, body)
        assert code == status, (path, reported)
    assert transmitted(world, asked)["acts"] == [["reaction", "👍"]]
    assert world.standin.whatsapp.chatstates == [(PHONE, f"{FRIEND}@c.us", "typing")]
    assert len(world.standin.phone.messages(PHONE)) == before


@pytest.mark.long
async def test_a_bulk_survives_a_killed_daemon_and_nobody_gets_two(world: World) -> None:
    daemon = world.daemon
    daemon.settings = {**daemon.settings, "WAGUARD_SEND__BULK_GAP": "1"}
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    numbers = [f"62811900000{n}" for n in range(6)]
    body = {"session_id": "s1", "recipients": numbers, "message": "hello"}
    code, reported = await daemon.call("POST", "/api/messages/bulk-send", body)
    assert code == 202, reported
    path = f"/api/messages/bulk/{reported['bulk_id']}"

    async def two_went() -> bool:
        return len(world.standin.phone.messages(PHONE)) >= 2

    async def done() -> bool:
        return bool((await daemon.call("GET", path))[1]["done"])

    await daemon.until(two_went)
    await daemon.stop(signal.SIGKILL)
    assert len(world.standin.phone.messages(PHONE)) < len(numbers)
    await daemon.start()
    await daemon.until(done)
    reported = (await daemon.call("GET", path))[1]
    # one may have been on its way when the daemon was killed: it is looked up, not sent again
    assert (
        reported["counts"]["sent"] + reported["counts"]["uncertain"]
        == reported["total"]
        == len(numbers)
    )
    found = world.standin.phone.messages(PHONE)
    assert sorted(m["to"] for m in found) == [f"{number}@c.us" for number in numbers]
    assert {m["times_transmitted"] for m in found} == {1}
