"""Everything that comes in beside texts, from the phone to the application."""

import base64
import hashlib
import os
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import World
from tests.small_disk import remount, small_disk
from waguard.core.messages.received_media import DEFERRED

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND, HIDDEN = "6281180001", "6281180002", "777000@lid"
EDITED = "something better"  # no word of any log: seconds are, of a daemon that stood still


@pytest.mark.long  # what `make test` sees of it: tests/worker/test_page_happenings.py, test_asking.py, tests/supervision/test_session_messages.py
async def test_edit_reaction_revoke_and_call(world: World) -> None:
    world.standin.policy.lids = {"777000": FRIEND}
    phone, receiver = world.standin.phone, world.receiver
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)
    await receiver.wait_for("session_ready")
    message_id = phone.incoming(phone=PHONE, from_=HIDDEN, body="first")["id"]
    first = (await receiver.wait_for("message_received"))["message"]
    known_as = message_id.replace(HIDDEN, f"{FRIEND}@c.us")
    assert first["id"] == known_as
    phone.edit(message_id, EDITED, phone=PHONE)
    phone.react(message_id, "👍", phone=PHONE)
    phone.revoke(message_id, phone=PHONE)
    call_id = phone.call(HIDDEN, phone=PHONE, video=True)["id"]
    who: dict[str, object] = {
        "workspace_id": 1,
        "session_id": "s1",
        "chat_id": f"{FRIEND}@c.us",
        "from": f"{FRIEND}@c.us",
        "sender_phone": FRIEND,
        "chat_type": "private",
        "group_id": None,
    }
    wanted: dict[str, dict[str, object]] = {
        "message_edited": {"message_id": known_as, "body": EDITED},
        "message_reaction": {"message_id": known_as, "reaction": "👍"},
        "message_revoked": {"message_id": known_as},
        "call_received": {"call_id": call_id, "is_video": True, "is_group_call": False},
    }
    for event, fields in wanted.items():
        reported = await receiver.wait_for(event)
        assert reported.pop("timestamp") > 1_700_000_000
        assert reported == who | fields
    order = [one["event"] for one in receiver.received if one["event"] in wanted]
    assert order[:3] == list(wanted)[:3]  # of one chat
    one = "/api/sessions/s1"
    _, asked = await world.daemon.call("GET", f"{one}/chats")
    assert [(it["id"], it["phone"]) for it in asked["chats"]] == [(HIDDEN, FRIEND)]
    _, asked = await world.daemon.call("GET", f"{one}/chats/{FRIEND}/messages")
    shown = [(it["id"], it["raw_id"], it["sender_phone"]) for it in asked["messages"]]
    assert (known_as, message_id, FRIEND) in shown

    async def is_known() -> bool:
        _, said = await world.daemon.call("GET", f"{one}/numbers/62899900")
        return said["numbers"][0]["exists"] is True and not said["numbers"][0]["asked"]

    await world.daemon.until(is_known)
    assert set(world.standin.whatsapp.asked) == {"62899900"}
    status, made = await world.daemon.call(
        "POST", f"{one}/groups", {"name": "A group", "participants": [FRIEND]}
    )
    assert status == 201
    assert made["id"] in world.standin.whatsapp.groups[PHONE]
    assert EDITED not in world.daemon.log(), "a message body in the log"


@pytest.mark.long
async def test_a_flood_of_status_updates_is_left_out(world: World) -> None:
    phone = world.standin.phone
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)
    picture = {"mimetype": "image/png", "base64": "AAAA"}
    for _ in range(20):
        phone.incoming(phone=PHONE, from_="status@broadcast", author=FRIEND, media=picture)
        phone.incoming(phone=PHONE, from_="12036300001@newsletter", media=picture)
    phone.incoming(phone=PHONE, from_=FRIEND, body="hi")
    reported = await world.receiver.wait_for("message_received")
    assert reported["message"]["body"] == "hi"
    assert world.receiver.count("message_received") == 1


def media(content: bytes) -> dict[str, str]:
    encoded = base64.b64encode(content).decode()
    return {"mimetype": "image/png", "filename": "a.png", "base64": encoded}


async def received(world: World, body: str) -> Any:
    def is_it(data: dict[str, Any]) -> bool:
        return bool(data["message"]["body"] == body)

    return (await world.receiver.wait_for("message_received", where=is_it))["message"]


@pytest.mark.long
async def test_a_picture_is_kept_once_and_can_be_had_again(world: World) -> None:
    daemon, phone, content = world.daemon, world.standin.phone, os.urandom(300_000)
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    for body in ("once", "twice"):
        phone.incoming(phone=PHONE, from_=FRIEND, body=body, media=media(content))
    for body in ("once", "twice"):
        found = (await received(world, body))["media"]
        assert base64.b64decode(found["data"]) == content
        assert found["sha256"] == hashlib.sha256(content).hexdigest()
        port = daemon.base.rpartition(":")[2]
        assert found["url"] == f"http://localhost:{port}/api/media/{found['sha256']}"
        assert found["error"] is None
    assert await daemon.call("GET", f"/api/media/{found['sha256']}") == (200, content)
    assert (await daemon.call("GET", f"/api/media/{found['sha256']}", key=False))[0] == 401
    assert [p.name for p in (daemon.folder / "state/media").rglob("*.json")] == [
        f"{found['sha256']}.json"
    ]


@pytest.mark.long
async def test_a_full_or_read_only_disk_delays_the_file_and_not_the_text(world: World) -> None:
    daemon, phone = world.daemon, world.standin.phone
    no_reserve = {"WAGUARD_LIMITS__DISK_RESERVE": "0"}  # else no file is begun on it
    daemon.settings = {**daemon.settings, **no_reserve}
    with small_disk(daemon.folder / "state/media", 64 << 10) as disk:
        await daemon.start()
        await daemon.pair(world.standin, "s1", PHONE)
        for trouble, end in (("size=64k", "size=4m"), ("ro", "rw")):
            remount(disk, trouble)
            content = os.urandom(300_000)
            phone.incoming(phone=PHONE, from_=FRIEND, body=trouble, media=media(content))
            reported = (await received(world, trouble))["media"]
            assert (reported["data"], reported["error"]) == (None, DEFERRED)
            path = urlsplit(reported["url"]).path
            assert (await daemon.call("GET", path))[0] == 425
            remount(disk, end)

            async def comes(path: str = path, content: bytes = content) -> bool:
                return await daemon.call("GET", path) == (200, content)

            await daemon.until(comes)
        phone.incoming(phone=PHONE, from_=FRIEND, body="small", media=media(b"small"))
        reported = await received(world, "small")
        assert base64.b64decode(reported["media"]["data"]) == b"small"
