"""People with LIDs, on the whole: the application keeps seeing numbers, and nothing twice."""

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import acknowledge
from tests.e2e.test_outbox import SEND, messages

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"
LID, NEWER = "700000000000001", "700000000000002"
NUMBER = f"{FRIEND}@c.us"
GROUP = "120363000000000001@g.us"


async def paired(world: World) -> None:
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)


async def restarted(world: World, *, meanwhile: Any = None) -> None:
    """The daemon, its worker and the browser die, and come back."""
    await world.daemon.until_delivered()
    worker = (await world.daemon.status("s1"))["worker_pid"]
    await world.daemon.stop(signal.SIGKILL)
    os.killpg(worker, signal.SIGKILL)
    if meanwhile:
        meanwhile()
    await world.daemon.start()
    await world.daemon.wait_status("s1", "connected")


def at_the_server(world: World, stem: str) -> list[tuple[str, int]]:
    """Under which ids its server has the message, and how often it was transmitted."""
    known = world.standin.phone.messages(PHONE)
    return [(m["id"], m["times_transmitted"]) for m in known if stem in m["id"].split("_")]


async def hears(world: World, body: str) -> dict[str, Any]:
    """The message with this text, as the application gets it."""
    data = await world.receiver.wait_for(
        "message_received", where=lambda data: data["message"]["body"] == body
    )
    return dict(data["message"])


def bodies(world: World) -> list[str]:
    """Of all messages that the application got."""
    got = [one for one in world.receiver.received if one["event"] == "message_received"]
    return [one["data"]["message"]["body"] for one in got]


@pytest.mark.long  # what `make test` sees of it: tests/worker/test_lids.py, and the one below
async def test_sends_to_a_number_whose_chat_is_a_lid_and_to_a_group_with_it(world: World) -> None:
    await paired(world)
    await send_to_a_lid(world)
    await send_to_its_group(world)


async def send_to_a_lid(world: World) -> None:
    phone = world.standin.phone
    phone.incoming(from_=FRIEND, body="before")
    await hears(world, "before")
    phone.migrate(FRIEND, LID)
    code, reported = await world.daemon.send("s1", FRIEND, "to the number")
    assert code == 200
    prefix, _, stem = reported["message_id"].rpartition("_")
    assert prefix == f"true_{NUMBER}"
    assert at_the_server(world, stem) == [(f"true_{LID}@lid_{stem}", 1)]
    phone.receipt(stem, 2)
    phone.receipt(stem, 3)
    for event, level in (("message_delivered", 3), ("message_read", 4)):
        data = await world.receiver.wait_for(event)
        assert (data["message_id"], data["ack_level"]) == (reported["message_id"], level)

    async def is_read() -> bool:
        return bool((await messages(world))[0]["status"] == "read")

    await world.daemon.until(is_read)


async def send_to_its_group(world: World) -> None:
    """Each level is reported once, and a reply finds its message."""
    phone = world.standin.phone
    code, reported = await world.daemon.send("s1", GROUP, "to all")
    assert code == 200
    stem = reported["message_id"].rpartition("_")[2]
    for reader in (f"{LID}@lid", f"{NEWER}@lid"):
        for ack in (2, 3):
            phone.receipt(stem, ack, reader=reader)

    async def readers() -> Any:
        _, found = await world.daemon.call("GET", f"/api/messages/{reported['message_id']}")
        return len(found["readers"]) == 4 and found

    found = await world.daemon.until(readers)
    assert found["status"] == "read"
    levels = ("message_delivered", "message_read")

    def is_of_it(data: dict[str, Any]) -> bool:
        return bool(data["message_id"] == reported["message_id"])

    for event in levels:
        await world.receiver.wait_for(event, where=is_of_it)
    await world.daemon.until_delivered()
    events = [
        one["event"]
        for one in world.receiver.received
        if one["event"] in levels and is_of_it(one["data"])
    ]
    assert sorted(events) == sorted(levels)
    phone.incoming(from_=GROUP, author=FRIEND, body="how much?")
    asked = await hears(world, "how much?")
    assert (asked["id"].split("_")[-1], asked["sender_phone"]) == (NUMBER, FRIEND)
    body = {"session_id": "s1", "recipient_phone": GROUP, "message": "ten"}
    quoting = body | {"quoted_message_id": asked["id"]}
    code, answer = await world.daemon.call("POST", SEND, quoting)
    assert code == 200, answer
    [sent] = [m for m in phone.messages(PHONE) if m.get("body") == "ten"]
    assert sent["quotedStanzaID"] == asked["id"].split("_")[2]


@pytest.mark.long
async def test_a_migration_doubles_nothing_connected_or_not(world: World) -> None:
    await paired(world)
    phone = world.standin.phone
    for body in ("one", "two", "three"):
        phone.incoming(from_=FRIEND, body=body)
        await hears(world, body)
    phone.migrate(FRIEND, LID)
    phone.incoming(from_=FRIEND, body="four")
    four = await hears(world, "four")
    assert (four["from"], four["chat_id"], four["sender_phone"]) == (NUMBER, NUMBER, FRIEND)
    assert four["id"].startswith(f"false_{NUMBER}_")
    await restarted(world)
    phone.incoming(from_=FRIEND, body="five")
    await hears(world, "five")

    def while_it_is_off() -> None:
        phone.migrate(FRIEND, NEWER)
        phone.incoming(from_=FRIEND, body="six")

    await restarted(world, meanwhile=while_it_is_off)
    await hears(world, "six")
    phone.incoming(from_=FRIEND, body="seven")
    await hears(world, "seven")
    assert bodies(world) == ["one", "two", "three", "four", "five", "six", "seven"]


@pytest.mark.long
async def test_a_migration_between_the_kill_and_the_lookup(world: World) -> None:
    await paired(world)
    world.standin.policy.never_answer = "recorded"
    body = {"session_id": "s1", "recipient_phone": FRIEND, "message": "in mid-send"}
    sending = asyncio.ensure_future(world.daemon.call("POST", SEND, body))

    async def arrived() -> Any:
        return [m for m in world.standin.phone.messages(PHONE) if m.get("body") == "in mid-send"]

    [sent] = await world.daemon.until(arrived)
    stem = sent["id"].rpartition("_")[2]

    def while_it_is_off() -> None:
        world.standin.phone.migrate(FRIEND, LID)
        world.standin.policy.never_answer = ""

    await restarted(world, meanwhile=while_it_is_off)
    await asyncio.gather(sending, return_exceptions=True)
    code, reported = await world.daemon.call("POST", SEND, body)  # as the application does

    async def is_known() -> Any:
        return [m for m in await messages(world) if m["status"] == "sent"]

    [row] = await world.daemon.until(is_known)
    assert code in {200, 202}
    assert row["message_id"] == reported["message_id"] == f"true_{NUMBER}_{stem}"
    assert [name for name, _ in at_the_server(world, stem)] == [f"true_{LID}@lid_{stem}"]
    data = await world.receiver.wait_for("message_sent")
    assert data["message_id"] == reported["message_id"]


@pytest.mark.long
async def test_a_migration_in_mid_send(world: World) -> None:
    await paired(world)
    world.standin.policy.never_answer = "recorded"
    sending = asyncio.ensure_future(world.daemon.send("s1", FRIEND, "renamed on its way"))

    async def arrived() -> Any:
        known = world.standin.phone.messages(PHONE)
        return [m for m in known if m.get("body") == "renamed on its way"]

    [sent] = await world.daemon.until(arrived)
    world.standin.phone.migrate(FRIEND, LID)
    acknowledge(world.standin, PHONE, sent["id"])
    code, reported = await sending
    assert code == 200
    stem = reported["message_id"].rpartition("_")[2]
    assert at_the_server(world, stem) == [(f"true_{LID}@lid_{stem}", 1)]


async def test_who_has_no_number_yet_waits_and_is_heard_with_it(world: World) -> None:
    await paired(world)
    phone = world.standin.phone
    phone.migrate(FRIEND, LID, known=False)
    phone.incoming(from_=FRIEND, body="who am I?")
    phone.incoming(from_="6281180003", body="somebody else")
    await hears(world, "somebody else")
    await restarted(world)  # what waits survives
    phone.incoming(from_=FRIEND, body="still nobody")
    phone.incoming(from_="6281180003", body="else again")
    await hears(world, "else again")
    assert bodies(world) == ["somebody else", "else again"]
    phone.reveal(FRIEND)
    for body in ("who am I?", "still nobody"):
        assert (await hears(world, body))["sender_phone"] == FRIEND
    assert bodies(world)[2:] == ["who am I?", "still nobody"]


@pytest.mark.long
async def test_a_lid_may_be_the_recipient_alone_and_in_a_bulk(world: World) -> None:
    await paired(world)
    world.standin.phone.migrate(FRIEND, LID)
    code, reported = await world.daemon.send("s1", f"{LID}@lid", "by its LID")
    assert code == 200
    assert reported["message_id"].startswith(f"true_{LID}@lid_")
    bulk = {"session_id": "s1", "recipients": [f"{LID}@lid", FRIEND], "message": "to both"}
    code, reported = await world.daemon.call("POST", "/api/messages/bulk-send", bulk)
    assert code in {200, 202}, reported

    async def sent() -> Any:
        return len([m for m in await messages(world) if m["status"] == "sent"]) == 3

    await world.daemon.until(sent)
    known = world.standin.phone.messages(PHONE)
    assert [m["id"].split("_")[1] for m in known] == [f"{LID}@lid"] * 3


@pytest.mark.long
async def test_mentions_in_a_group_of_lids_are_numbers_to_the_application(world: World) -> None:
    await paired(world)
    phone = world.standin.phone
    phone.migrate(FRIEND, LID)
    phone.group(GROUP, [f"{LID}@lid"])
    phone.incoming(from_=GROUP, author=FRIEND, body="the page knows the group")
    heard = await hears(world, "the page knows the group")
    assert heard["participants"] == [f"{FRIEND}@c.us"]
    assert "group_name" not in heard
    body = {"session_id": "s1", "recipient_phone": GROUP, "message": f"hi @{FRIEND}"}
    request = body | {"mentions": [FRIEND], "idempotency_key": "once"}
    code, reported = await world.daemon.call("POST", SEND, request)
    assert code == 200, reported
    [sent] = [it for it in phone.messages(PHONE) if it["direction"] == "out"]
    assert (sent["body"], sent["mentionedJidList"]) == (f"hi @{LID}", [f"{LID}@lid"])
    assert sent["addressed"] == [f"{LID}@lid"]
    assert await world.daemon.call("POST", SEND, request) == (code, reported)
    mentions = {"mentionedJidList": [f"{LID}@lid"]}
    phone.incoming(from_=GROUP, author=FRIEND, body=f"@{LID}: yes", attributes=mentions)
    await hears(world, f"@{FRIEND}: yes")

    def while_it_is_off() -> None:
        phone.incoming(from_=GROUP, author=FRIEND, body=f"@{LID}: no", attributes=mentions)

    await restarted(world, meanwhile=while_it_is_off)
    await hears(world, f"@{FRIEND}: no")
    _, found = await world.daemon.call("GET", f"/api/messages/{reported['message_id']}")
    assert LID not in json.dumps([found, world.receiver.received], default=str)
    assert len([m for m in phone.messages(PHONE) if m["direction"] == "out"]) == 1
