"""What WhatsApp grants no more of: first contacts (463), pairing codes (429); and modules that come late."""

import re
import signal
from typing import Any

import pytest

from tests.e2e.conftest import World
from waguard.core.fleet.ack_watch import ALONE
from waguard.core.messages.pairing_codes import AT_MOST

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, KNOWN, FRIEND = "6281180001", "6281180002", "6281180003"
LATE = 4.0  # s
FIRST_WAITED = re.compile(
    r"first contacts wait for WhatsApp's ack .* the first for (?P<seconds>\d+) s"
)


def new(number: int) -> str:
    return f"62811900{number:04}"


async def paired(world: World) -> dict[str, Any]:
    """With two people who have written."""
    await world.daemon.start()
    reported = await world.daemon.pair(world.standin, "s1", PHONE)
    for sender in (KNOWN, FRIEND):
        before = len(world.receiver.received)
        world.standin.phone.incoming(phone=PHONE, from_=sender, body="hello")
        await world.receiver.wait_for("message_received", after=before)
    return reported


async def post(world: World, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], int]:
    """Status, body and Retry-After (0: none)."""
    daemon = world.daemon
    headers = {"X-Api-Key": daemon.key}
    async with daemon.http.post(daemon.base + path, json=body, headers=headers) as response:
        return response.status, await response.json(), int(response.headers.get("Retry-After", 0))


async def send(world: World, to: str, **more: Any) -> tuple[int, dict[str, Any], int]:
    body = {"session_id": "s1", "recipient_phone": to, "message": "hi", "type": "text", **more}
    return await post(world, "/api/messages/send", body)


def arrived(world: World) -> list[str]:
    """Whom the server took messages for."""
    reported = world.standin.phone.messages(PHONE)
    return [m["to"].split("@")[0] for m in reported if m["direction"] == "out" and m["ack"] > 0]


async def states(world: World) -> dict[str, int]:
    """How many messages are in which state."""
    _, reported = await world.daemon.call("GET", "/api/messages?session_id=s1")
    found = [message["status"] for message in reported["messages"]]
    return {state: found.count(state) for state in set(found)}


async def condition(world: World) -> dict[str, Any] | None:
    reported = (await world.daemon.status("s1"))["conditions"]
    return reported[0] if reported else None


@pytest.mark.long  # what `make test` sees of it: test_whatsapp_quotas.py, worker/test_send_options.py
async def test_refused_first_contacts_pause_and_all_else_goes_on_also_over_a_restart(
    world: World,
) -> None:
    daemon, standin = world.daemon, world.standin
    before = await paired(world)
    standin.phone.timelock(PHONE)
    for number in range(3):
        code, reported, _ = await send(world, new(number))
        assert (code, reported["outcome"]) == (422, "refused")
        assert (await send(world, KNOWN))[0] == 200
    code, reported, wait = await send(world, new(3))
    assert (code, reported["field"]) == (503, "recipient_phone")
    assert 3_500 < wait <= 3_600
    assert "they pause until" in reported["error"]
    assert "somebody has answered go on" in reported["remedy"]
    found = await daemon.until(lambda: condition(world))
    assert found["type"] == "first_contacts_paused"
    assert 3_500 < found["expires_in"] <= 3_600
    assert found["until"] > found["since"]

    async def explained() -> bool:
        """It is written a moment after it was so."""
        _, reported = await daemon.call("GET", "/api/sessions/s1/incidents")
        return any("names no date" in one["sentences"][0] for one in reported["incidents"])

    await daemon.until(explained)

    recipients = [new(5), KNOWN, new(6), FRIEND]
    code, reported, _ = await post(
        world,
        "/api/messages/bulk-send",
        {"session_id": "s1", "recipients": recipients, "message": "to many"},
    )
    assert code == 202, reported
    counts = await daemon.until(lambda: _bulk(world, reported["bulk_id"]))
    assert counts["accepted"] == 2
    code, queued, _ = await send(world, new(7), queue=True)
    assert (code, queued["status"]) == (202, "accepted")
    assert sorted(arrived(world)) == sorted([KNOWN] * 4 + [FRIEND])

    assert await daemon.stop() == 0
    await daemon.start()
    await daemon.wait_status("s1", "connected")
    found = await daemon.until(lambda: condition(world))
    assert found["type"] == "first_contacts_paused"
    code, _, wait = await send(world, new(8))
    assert (code, 0 < wait <= 3_600) == (503, True)
    assert (await send(world, FRIEND))[0] == 200

    async def wait_all() -> bool:
        """One is "sending" for the moment in which the page says that it would be a first contact."""
        return (await states(world)).get("accepted") == 3

    await daemon.until(wait_all)
    assert arrived(world).count(FRIEND) == 2
    after = await daemon.status("s1")
    assert (after["status"], after["restarts"]) == ("connected", 0)
    assert before["phone_number"] == PHONE


async def _bulk(world: World, bulk_id: str) -> dict[str, int] | None:
    """Its counts, once what can go has gone."""
    _, reported = await world.daemon.call("GET", f"/api/messages/bulk/{bulk_id}")
    counts: dict[str, int] = reported["counts"]
    return counts if sum(counts.get(it, 0) for it in ("sent", "delivered", "read")) == 2 else None


@pytest.mark.long
async def test_until_the_date_that_whatsapp_names_and_not_longer_than_it_says(
    world: World,
) -> None:
    daemon, standin = world.daemon, world.standin
    await paired(world)
    standin.phone.timelock(PHONE, seconds=3 * 86_400)
    found = await daemon.until(lambda: condition(world))
    assert "WhatsApp refuses first contacts of this account until" in found["message"]
    assert found["expires_in"] > 2 * 86_400
    code, reported, wait = await send(world, new(1), queue=True)
    assert (code, reported["status"], wait) == (202, "accepted", 0)
    code, _, wait = await send(world, new(2))
    assert code == 503
    assert wait > 2 * 86_400
    assert arrived(world) == []
    standin.phone.timelock(PHONE, over=True)
    await world.receiver.wait_for("message_sent", where=lambda it: new(1) in str(it))

    async def over() -> bool:
        return await condition(world) is None

    await daemon.until(over)
    assert arrived(world) == [new(1)]


@pytest.mark.long
async def test_what_is_dropped_without_a_word_replaces_no_worker(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    config = daemon.folder / "waguard.toml"
    config.write_text("[send]\nack_limit = 5.0\n")
    daemon.arguments = ("--config", str(config))

    async def timeout(seconds: float) -> None:
        """Short for those that have no answer: others may have to wait for a core."""
        seen = daemon.log().count("configuration read again")
        config.write_text(f"[send]\nack_limit = 5.0\ntimeout = {seconds}\n")
        assert daemon.process
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logs("configuration read again", seen + 1)

    before = await paired(world)
    standin.phone.timelock(PHONE, way="drop")
    for number in range(3):
        await timeout(1.5)
        code, reported, _ = await send(world, new(number))
        assert (code, reported["outcome"]) == (202, "uncertain")
        await timeout(25.0)
        assert (await send(world, KNOWN))[0] == 200
    assert (await send(world, new(4)))[0] == 503
    found = await daemon.until(lambda: condition(world))
    assert found["type"] == "first_contacts_paused"
    after = await daemon.status("s1")
    assert (after["worker_pid"], after["restarts"]) == (before["worker_pid"], 0)
    assert "does not acknowledge sends" not in daemon.log()


@pytest.mark.long
async def test_where_only_first_contacts_are_dropped_a_worker_is_replaced_late_and_once(
    world: World,
) -> None:
    daemon, standin = world.daemon, world.standin
    config = daemon.folder / "waguard.toml"
    limit = 2.0
    config.write_text(f"[send]\nack_limit = {limit}\ntimeout = 1.5\n")
    daemon.arguments = ("--config", str(config))
    await paired(world)
    standin.phone.timelock(PHONE, way="drop")
    for number in range(2):
        code, reported, _ = await send(world, new(number))
        assert (code, reported["outcome"]) == (202, "uncertain")

    async def missing() -> list[float]:
        """Seconds for which the first had waited, of each incident."""
        _, reported = await daemon.call("GET", "/api/sessions/s1/incidents")
        found = [FIRST_WAITED.search(it["cause"]) for it in reported["incidents"]]
        return [float(it["seconds"]) for it in found if it]

    (waited,) = await daemon.until(missing)
    assert waited >= ALONE * limit  # in whole seconds

    async def in_vain() -> bool:
        """The page that is loaded next has sent them again, which were dropped again."""
        found = await condition(world)
        return found is not None and found["type"] == "acks_in_vain"

    await daemon.until(in_vain, deadline=120)
    assert daemon.log().count("worker started") == 2
    after = await daemon.status("s1")
    assert (after["status"], after["restarts"]) == ("connected", 0)
    standin.phone.timelock(PHONE, over=True)
    assert (await send(world, KNOWN))[0] == 200

    async def over() -> bool:
        return await condition(world) is None

    await daemon.until(over)


async def ask_for_code(world: World) -> tuple[int, dict[str, Any], int]:
    return await post(world, "/api/sessions/s1/pairing-code", {"phone_number": f"+{PHONE}"})


@pytest.mark.long
async def test_after_seven_pairing_codes_the_qr_code_is_named(world: World) -> None:
    await world.daemon.start()
    await world.daemon.create("s1")
    for _ in range(AT_MOST):
        assert (await ask_for_code(world))[0] == 200
    code, reported, wait = await ask_for_code(world)
    assert (code, reported["remedy"]) == (503, "scan the QR code instead: `waguard qr s1`")
    assert wait > 3_600
    await world.daemon.stop()
    await world.daemon.start()
    await world.daemon.qr("s1")
    assert (await ask_for_code(world))[0] == 503
    world.standin.phone.scan(await world.daemon.qr("s1"), phone=PHONE)
    await world.daemon.wait_status("s1", "connected")


@pytest.mark.long
async def test_whatsapps_429_for_a_code_is_the_same(world: World) -> None:
    world.standin.policy.codes = 1
    await world.daemon.start()
    await world.daemon.create("s1")
    assert (await ask_for_code(world))[0] == 200
    for _ in range(2):
        code, reported, wait = await ask_for_code(world)
        assert (code, reported["remedy"]) == (503, "scan the QR code instead: `waguard qr s1`")
        assert wait > 3_600


@pytest.mark.long
async def test_modules_whose_factories_run_late_cost_a_moment(world: World) -> None:
    world.standin.policy.factories = {"WAWebStreamModel": LATE, "WAWebSendMsgChatAction": LATE}
    await paired(world)
    assert (await send(world, KNOWN))[0] == 200
    assert "wa-js injected but not usable" in world.daemon.log()
    assert (await world.daemon.status("s1"))["restarts"] == 0


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_what_never_resolves_is_named(world: World) -> None:
    await paired(world)
    world.standin.policy.factories = {"WAWebSendMsgChatAction": -1}
    await world.daemon.call("POST", "/api/sessions/s1/reconnect")

    async def reported() -> bool:
        details = (await world.daemon.status("s1"))["disconnect_details"] or ""
        return "cannot resolve functions.addAndSendMsgToChat" in details

    await world.daemon.until(reported, deadline=120)
    world.standin.policy.factories = {}
    await world.daemon.call("POST", "/api/sessions/s1/reconnect")
    await world.daemon.wait_status("s1", "connected")
    assert (await send(world, KNOWN))[0] == 200
