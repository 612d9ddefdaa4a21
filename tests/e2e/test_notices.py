"""What WhatsApp tells the page of itself: a newer version, a passkey, a reload, a socket that is none."""

import signal
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import DEADLINE
from tests.waiting import wait_until
from waguard.supervision.timings import Timings

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"


async def wait_incident(world: World, words: str) -> None:
    """Wait until an incident says so: it is written a moment after it was so."""

    async def check() -> bool:
        return any(words in one for one in await incidents(world))

    await world.daemon.until(check)


async def incidents(world: World, session: str = "s1") -> list[str]:
    _, reported = await world.daemon.call("GET", f"/api/sessions/{session}/incidents")
    return [" ".join(incident["sentences"]) for incident in reported["incidents"]]


async def reload(world: World) -> None:
    """The page loads itself anew: what comes now is in it before anybody listens."""
    (device,) = world.standin.whatsapp.devices[PHONE]
    before = device.page
    world.standin.phone.reload(PHONE)
    await wait_until(lambda: device.page is not before, "the old page is gone")


async def linked_by(world: World, way: str) -> None:
    code = await world.daemon.create("s1")
    if way == "scan":
        world.standin.phone.scan(code, phone=PHONE)
        return
    answer, reported = await world.daemon.call(
        "POST", "/api/sessions/s1/pairing-code", {"phone_number": f"+{PHONE}"}
    )
    assert answer == 200, reported
    world.standin.phone.pair(PHONE, reported["code"])


async def condition_of(world: World) -> dict[str, Any]:
    async def read() -> Any:
        return (await world.daemon.status("s1"))["conditions"]

    (found,) = await world.daemon.until(read)
    assert isinstance(found, dict)
    return found


@pytest.mark.long  # what `make test` sees of it: test_passkey, tests/worker/test_passkey_seen.py, tests/supervision/test_passkey.py
@pytest.mark.parametrize("way", ["scan", "code"])
async def test_a_passkey_is_seen_and_said_and_another_code_ends_it(world: World, way: str) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    standin.policy.passkey = True
    await linked_by(world, way)
    reported = await daemon.wait_status("s1", "qr_scanning", link="passkey_required")
    assert reported["disconnect_details"].startswith(
        "passkey_required: WhatsApp asks for the account's"
    )
    found = await condition_of(world)
    assert (found["type"], found["stage"]) == ("passkey_required", "offered")
    assert 0 < found["unattended_expires_in"] <= 300 < found["expires_in"] <= 600
    for method, path, body in (
        ("GET", "qr", None),
        ("POST", "pairing-code", {"phone_number": f"+{PHONE}"}),
    ):
        code, reported = await daemon.call(method, f"/api/sessions/s1/{path}", body)
        assert (code, "passkey_required" in reported["error"]) == (409, True), reported
    await wait_incident(world, "It is still open.")
    standin.policy.passkey = False
    code, reported = await daemon.call("POST", "/api/sessions/s1/regenerate-qr")
    assert code == 200, reported
    standin.phone.scan(await daemon.qr("s1"), phone=PHONE)
    reported = await daemon.wait_status("s1", "connected")
    assert (reported["restarts"], reported["phone_number"]) == (0, PHONE)

    async def over() -> bool:
        return not (await daemon.status("s1"))["conditions"]

    await daemon.until(over)
    await wait_incident(world, "Result: it is over")
    assert len(await incidents(world)) == 1


@pytest.mark.long  # what `make test` sees of it: tests/worker/test_page_happenings.py, tests/supervision/test_session_backfill.py
async def test_a_page_that_loads_itself_again_is_no_fault_and_loses_nothing(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    before = await daemon.pair(standin, "s1", PHONE)
    await reload(world)
    standin.phone.incoming(phone=PHONE, from_=FRIEND, body="meanwhile")
    message = (await world.receiver.wait_for("message_received"))["message"]
    assert message["body"] == "meanwhile"
    code, reported = await daemon.send("s1", FRIEND, "after it")
    assert code == 200, reported
    after = await daemon.wait_status("s1", "connected")
    assert (after["restarts"], after["worker_pid"]) == (0, before["worker_pid"])
    assert await incidents(world) == []
    assert world.receiver.count("message_received") == 1
    assert world.receiver.count("session_disconnected") == 0


@pytest.mark.long
@pytest.mark.timeout(480)
async def test_after_a_pairing_only_statuses_are_read_back_later(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    config = daemon.folder / "waguard.toml"
    config.write_text("[inbox]\nbroadcasts = true\nbackfill_after_pairing = 3600.0\n")
    daemon.arguments = ("--config", str(config))
    await daemon.start()
    await daemon.pair(standin, "s1", PHONE)
    await reload(world)
    standin.phone.incoming(phone=PHONE, from_="status@broadcast", author=FRIEND, body="status")
    standin.phone.incoming(phone=PHONE, from_=FRIEND, body="missed")

    await daemon.logs("before=unknown after=connected")
    standin.phone.incoming(phone=PHONE, from_=FRIEND, body="live")
    await world.receiver.wait_for(
        "message_received", where=lambda reported: reported["message"]["body"] == "live"
    )
    config.write_text("[inbox]\nbroadcasts = true\nbackfill_after_pairing = 0.0\n")  # it is over
    assert daemon.process
    daemon.process.send_signal(signal.SIGHUP)
    await world.receiver.wait_for(
        "message_received",
        where=lambda reported: reported["message"]["body"] == "status",
        within=Timings().backfill_quiet + DEADLINE,  # a reload of the configuration is seen as late
    )
    messages = [
        one["data"]["message"]
        for one in world.receiver.received
        if one["event"] == "message_received"
    ]
    assert [(one["body"], one["backfilled"]) for one in messages] == [
        ("missed", True),
        ("live", False),
        ("status", True),
    ]


@pytest.mark.long
async def test_the_hard_variant_of_an_update_is_a_block(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    await daemon.pair(standin, "s1", PHONE)
    standin.phone.block(PHONE, kind="DEPRECATED_VERSION")
    reported = await daemon.wait_status("s1", "failed", lifecycle="parked")
    assert "(DEPRECATED_VERSION)" in reported["disconnect_details"]
    await wait_incident(world, "Update waguard, or name a newer wa-js")


@pytest.mark.long
async def test_a_newer_version_changes_nothing_at_once(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    before = await daemon.pair(standin, "s1", PHONE)
    for over in (False, True):
        standin.phone.needs_update(PHONE, over=over)
        code, reported = await daemon.send("s1", FRIEND, f"over: {over}")
        assert code == 200, reported
        after = await daemon.status("s1")
        assert (after["status"], after["worker_pid"]) == ("connected", before["worker_pid"])
    assert await incidents(world) == []


@pytest.mark.long
async def test_a_log_in_that_becomes_a_ghost_is_reported_as_offline(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    await daemon.pair(standin, "s1", PHONE)
    standin.policy.ghosts = 1
    await daemon.call("POST", "/api/sessions/s1/reconnect")
    await daemon.wait_status("s1", "disconnected", link="offline")
    await daemon.call("POST", "/api/sessions/s1/reconnect")
    await daemon.wait_status("s1", "connected")


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_newer_version_is_loaded_when_the_session_is_idle(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    standin.policy.connect_delay = 2.5  # a page is read before it is connected, here twice
    before = await daemon.pair(standin, "s1", PHONE)
    standin.phone.needs_update(PHONE)

    async def loaded() -> bool:
        return "there is a newer version" in daemon.log()

    await daemon.until(loaded, deadline=90)
    standin.phone.incoming(phone=PHONE, from_=FRIEND, body="meanwhile")
    await world.receiver.wait_for("message_received")
    code, reported = await daemon.send("s1", FRIEND, "after it")
    assert code == 200, reported
    after = await daemon.status("s1")
    assert (after["status"], after["worker_pid"]) == ("connected", before["worker_pid"])
    assert after["conditions"] == []
    assert world.receiver.count("session_disconnected") == 0


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_ghost_socket_ends_with_a_reload(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    before = await daemon.pair(standin, "s1", PHONE)
    standin.phone.ghost(PHONE)
    await daemon.wait_status("s1", "disconnected", link="offline")
    standin.phone.incoming(phone=PHONE, from_=FRIEND, body="meanwhile")

    async def back() -> bool:
        reported = await daemon.status("s1")
        return bool(reported["status"] == "connected")

    await daemon.until(back, deadline=240)
    await world.receiver.wait_for("message_received")
    after = await daemon.status("s1")
    assert (after["restarts"], after["worker_pid"]) == (0, before["worker_pid"])
    await wait_incident(world, "its page was loaded again")


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_dialog_that_stays_leaves_a_picture(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    await daemon.pair(standin, "s1", PHONE)
    standin.phone.modal(PHONE)

    async def condition() -> bool:
        found = (await daemon.status("s1"))["conditions"]
        return [it["type"] for it in found] == ["action_required"]

    await daemon.until(condition)
    await wait_incident(world, "a picture of its page is kept: ")
    (picture,) = (daemon.folder / "state/evidence").iterdir()
    await wait_incident(world, f"a picture of its page is kept: {picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_mode & 0o777 == 0o600
