"""A session's life: paired, a message out, one in, restarts, an unlink."""

import base64
import json
import os
import signal
import sqlite3
from contextlib import closing, suppress
from typing import Any

import msgspec
import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from waguard.core.webhooks.delivery import SESSION_EVENTS
from waguard.host.process import procfs
from waguard.wire.protocol import PROTOCOL
from waguard.wire.worker import WorkerRecord

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"
SENT, RECEIVED = "a text that is sent", "a text that came in"  # no words of any log


_COUNT = {"probe_seconds": "_count", "start_slot_seconds": "_count"}
READ_AGAIN = "configuration read again"


def transmitted(world: World, body: str) -> list[dict[str, object]]:
    return [m for m in world.standin.phone.messages(PHONE) if m["body"] == body]


async def test_pair_by_qr_send_and_receive(world: World) -> None:
    daemon = world.daemon
    config = daemon.folder / "waguard.toml"
    config.touch()
    daemon.arguments = ("--config", str(config))
    await daemon.start()
    reported = await daemon.pair(world.standin, "s1", PHONE)
    assert reported["phone_number"] == PHONE
    assert (reported["lifecycle"], reported["link"]) == ("running", "connected")
    ready = await world.receiver.wait_for("session_ready")
    assert ready == {
        "workspace_id": 1,
        "session_id": "s1",
        "phone_number": PHONE,
        "status": "connected",
    }

    code, sent = await daemon.send("s1", f"+{FRIEND}", SENT)
    assert code == 200, sent
    assert sent["success"] is True
    assert sent["message_id"].startswith(f"true_{FRIEND}@c.us_")
    assert len(transmitted(world, SENT)) == 1
    out = await world.receiver.wait_for("message_sent")
    assert out["message_id"] == sent["message_id"]

    world.standin.phone.receipt(sent["message_id"], 3)
    read = await world.receiver.wait_for("message_read")
    assert (read["message_id"], read["ack_level"]) == (sent["message_id"], 4)

    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body=RECEIVED, name="Ani")
    message = (await world.receiver.wait_for("message_received"))["message"]
    assert message["body"] == RECEIVED
    assert message["sender_phone"] == FRIEND
    assert message["sender_name"] == "Ani"
    assert message["from_me"] is False
    await refuse_and_leave_unanswered(world)
    for body in (SENT, RECEIVED):
        assert body not in daemon.log(), "a message body in the log"

    async def counted() -> bool:
        names = ("probe_seconds", "start_slot_seconds", "page_loads_total")
        return all([await daemon.metric(f"waguard_{it}{_COUNT.get(it, '')}") for it in names])

    await daemon.until(counted)
    acked = await daemon.metric("waguard_sends_total", kind="text", outcome="acked")
    assert acked
    assert await daemon.metric("waguard_send_seconds_count", outcome="acked") == acked
    assert await daemon.metric("waguard_received_total", kind="message") == 1
    assert (await daemon.metric("waguard_webhook_seconds_count", status="2xx") or 0) >= 4


async def refuse_and_leave_unanswered(world: World) -> None:
    daemon, config = world.daemon, world.daemon.folder / "waguard.toml"
    world.standin.policy.send_error = "ERROR_UNKNOWN"
    code, reported = await daemon.send("s1", FRIEND, "refuse me")
    assert (code, reported["success"], reported["outcome"]) == (422, False, "refused")
    world.standin.policy.send_error = ""

    async def deadline(text: str) -> None:
        """Short for the one that has no answer: others may have to wait for a core."""
        seen = daemon.log().count(READ_AGAIN)
        config.write_text(text)
        assert daemon.process
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logs(READ_AGAIN, seen + 1)

    async def recorded() -> bool:
        return len(transmitted(world, "never answered")) == 1

    await deadline("[send]\ntimeout = 2.0\n")
    world.standin.policy.never_answer = "recorded"
    code, reported = await daemon.send("s1", FRIEND, "never answered")
    assert (code, reported["success"], reported["outcome"]) == (202, False, "uncertain")
    assert reported["message_id"].startswith(f"true_{FRIEND}@c.us_")
    await daemon.until(recorded)
    # unsure is not "send again": the daemon is unharmed and the next send goes out
    world.standin.policy.never_answer = ""
    await deadline("")
    code, reported = await daemon.send("s1", FRIEND, "after that")
    assert code == 200, reported


@pytest.mark.long
async def test_media_both_ways(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    content = os.urandom(50_000)
    media = {
        "mimetype": "application/pdf",
        "filename": "in.pdf",
        "base64": base64.b64encode(content).decode(),
    }
    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="", type="document", media=media)
    message = (await world.receiver.wait_for("message_received"))["message"]
    assert message["has_media"] is True
    assert message["media"]["filename"] == "in.pdf"
    assert base64.b64decode(message["media"]["data"]) == content

    url = "data:application/pdf;base64," + base64.b64encode(content).decode()
    code, reported = await daemon.call(
        "POST",
        "/api/messages/send-media",
        {
            "session_id": "s1",
            "recipient_phone": FRIEND,
            "media_url": url,
            "caption": "a file",
            "filename": "out.pdf",
        },
    )
    assert code == 200, reported
    assert reported["message_id"].startswith(f"true_{FRIEND}@c.us_")


async def test_a_restart_of_the_daemon_needs_no_new_qr(world: World) -> None:
    daemon, settings = world.daemon, world.daemon.settings
    daemon.settings = {**settings, "WAGUARD_LOG__LEVEL": "WARNING", "WAGUARD_LOG__FORMAT": "json"}
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    assert (await daemon.call("PUT", "/api/log-level", {"level": "INFO"}))[0] == 200
    assert await daemon.stop() == 0
    assert daemon.left_behind() == []
    assert not (daemon.folder / "run/waguard.pid").exists()
    assert not list((daemon.folder / "run/workers").iterdir())
    lines = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
    said = {line["event"]: line for line in lines if "event" in line}
    assert "worker_started" not in said, "at that time INFO was not wanted"
    # the worker's own word, which it follows: its level and its format
    assert (said["snapshot_taken"]["level"], said["snapshot_taken"]["session"]) == ("info", "s1")
    # also where the row says what nobody is any more: it is restored, and sends work
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database, database:
        row = database.execute("SELECT status, disconnect_reason FROM whatsapp_accounts").fetchone()
        assert row == ("disconnected", "instance_restart")
        database.execute("UPDATE whatsapp_accounts SET status='connected', disconnect_reason=NULL")
    daemon.settings = settings
    await daemon.start()
    await daemon.logs("restore finished: restored 1")
    assert (await daemon.status("s1"))["status"] == "connected"
    assert world.receiver.count("qr_code_generated") <= 1
    assert (await daemon.send("s1", FRIEND, "no more"))[0] == 200


async def test_a_killed_or_stopped_browser_is_replaced_and_a_killed_daemon_takes_nothing_along(
    world: World,
) -> None:
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)
    await world.receiver.wait_for("session_ready")
    await kill_browser(world)
    await stop_browser(world)
    await kill_daemon(world)


async def kill_browser(world: World) -> None:
    """It comes back in another one."""
    daemon, before = world.daemon, await world.daemon.status("s1")
    seen = len(world.receiver.received)
    os.kill(before["browser_pid"], signal.SIGKILL)
    await world.receiver.wait_for("session_ready", after=seen)
    after = await daemon.wait_status("s1", "connected")
    assert after["browser_pid"] != before["browser_pid"]
    assert after["restarts"] == 1

    async def reported() -> list[str] | None:
        _, answer = await daemon.call("GET", "/api/sessions/s1/incidents")
        found = [sentence for one in answer["incidents"] for sentence in one["sentences"]]
        return found if found and found[-1].startswith("Result: ") else None

    sentences = await daemon.until(reported)
    assert sentences[:2] == [
        "Cause: Chromium was killed (SIGKILL).",
        "Done: its worker was started again.",
    ]
    assert sentences[-1].startswith("Result: connected again after ")
    for name in ("restarts_total", "detect_seconds_count", "heal_seconds_count"):
        assert (await daemon.metric(f"waguard_{name}", blame="session") or 0) >= 1


async def stop_browser(world: World) -> None:
    """It is ended, and another one takes its place."""
    daemon, before = world.daemon, await world.daemon.status("s1")
    seen = len(world.receiver.received)
    os.kill(before["browser_pid"], signal.SIGSTOP)
    await world.receiver.wait_for("session_ready", after=seen)
    after = await daemon.wait_status("s1", "connected", restarts=2)
    assert after["browser_pid"] != before["browser_pid"]
    assert "Chromium was stopped (SIGSTOP)" in daemon.log()

    async def gone() -> bool:
        return procfs.start_time(before["browser_pid"]) is None

    await daemon.until(gone)


async def kill_daemon(world: World) -> None:
    """The session goes on, and the next one adopts it and knows its restarts."""
    daemon, kept = world.daemon, world.daemon.folder / "state/restarts.json"

    async def written() -> dict[str, Any] | None:
        """Row and deliveries: what is not, the next daemon would deliver again."""
        reported = await daemon.status("s1")
        with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
            [(left,)] = database.execute("SELECT count(*) FROM waguard_deliveries")
        remembered = kept.exists() and '"restarts":2' in kept.read_text()
        return reported if reported["connected_at"] and remembered and not left else None

    before = await daemon.until(written)
    await daemon.stop(signal.SIGKILL)
    seen = len(world.receiver.received)
    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="nobody home")
    await daemon.start()
    after = await daemon.wait_status("s1", "connected")
    for same in ("browser_pid", "worker_pid", "connected_at", "lifecycle", "restarts"):
        assert after[same] == before[same], same
    message = await world.receiver.wait_for("message_received")
    assert message["message"]["body"] == "nobody home"
    reported = {delivery["event"] for delivery in world.receiver.received[seen:]}
    assert not reported & {*SESSION_EVENTS, "lifecycle", "link"}


@pytest.mark.long
async def test_a_killed_worker_comes_back(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    await world.receiver.wait_for("session_ready")
    seen = len(world.receiver.received)
    os.kill(before["worker_pid"], signal.SIGKILL)
    await world.receiver.wait_for("session_ready", after=seen)
    after = await daemon.wait_status("s1", "connected")
    assert after["worker_pid"] != before["worker_pid"]


@pytest.mark.long
async def test_after_a_crash_of_both_nobody_is_connected_without_a_worker(world: World) -> None:
    """Its row says connected all the time, for whoever wrote it is dead."""
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)

    async def written() -> bool:
        with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
            [(row,)] = database.execute("SELECT status FROM whatsapp_accounts")
        return bool(row == "connected")

    await daemon.until(written)
    await daemon.stop(signal.SIGKILL)
    os.kill(before["worker_pid"], signal.SIGKILL)
    await daemon.start(ready=False)
    reported: list[dict[str, Any]] = []

    async def connected() -> bool:
        _, health = await daemon.call("GET", "/health")  # first: it may be connected in between
        code, status = await daemon.call("GET", "/api/sessions/s1/status")
        if code == 200:
            reported.append(status | {"counted": health["sessions"]["connected"]})
        return code == 200 and bool(status["status"] == "connected")

    await daemon.until(connected)
    assert reported[-1]["worker_pid"] not in {None, before["worker_pid"]}
    early = reported[:-1]
    assert [one["counted"] for one in early] == [0] * len(early), early


async def test_a_code_an_unlink_a_conflict_a_logout_and_the_end(world: World) -> None:
    """One session meets them one after the other: each begins where it is connected."""
    daemon = world.daemon
    await daemon.start()
    await daemon.create("s1")
    await pair_by_code(world)
    await unlink_and_scan_again(world)
    await park_by_a_conflict(world)
    await log_out_and_delete(world)


async def pair_by_code(world: World) -> None:
    code, reported = await world.daemon.call(
        "POST", "/api/sessions/s1/pairing-code", {"phone_number": f"+{PHONE}"}
    )
    assert code == 200, reported
    world.standin.phone.pair(PHONE, reported["code"])
    assert (await world.daemon.wait_status("s1", "connected"))["phone_number"] == PHONE


async def unlink_and_scan_again(world: World) -> None:
    daemon = world.daemon
    world.standin.phone.unlink(PHONE)
    shown = await daemon.wait_status("s1", "qr_scanning", link="qr_pending")
    [unlinked] = shown["conditions"]
    assert (unlinked["type"], unlinked["degrades"]) == ("unlinked", True)
    assert "unknown_companion" in unlinked["message"]
    assert PHONE in unlinked["message"]
    code, refused = await daemon.send("s1", FRIEND, "too late")
    assert code == 409, refused
    world.standin.phone.scan(await daemon.qr("s1"), phone=PHONE)
    await daemon.wait_status("s1", "connected")


async def park_by_a_conflict(world: World) -> None:
    daemon = world.daemon
    world.standin.phone.conflict(PHONE)
    reported = await daemon.wait_status("s1", "failed", lifecycle="parked")
    assert reported["disconnect_reason"] == "error"
    await restarted_as_it_is(daemon, reported)
    code, reported = await daemon.call("POST", "/api/sessions/s1/reconnect", {})
    assert code == 200, reported
    await daemon.wait_status("s1", "connected")


async def restarted_as_it_is(daemon: Daemon, parked: dict[str, Any]) -> None:
    """At once after it was parked: the next daemon starts nothing, and says nothing twice."""
    said = daemon.log().count("event=parked")
    assert await daemon.stop() == 0
    await daemon.start()
    await daemon.logs("restore finished: failed 1; no worker was left, and none was started")
    again = await daemon.status("s1")
    assert {**again, "conditions": []} == {**parked, "conditions": []}
    assert daemon.log().count("event=parked") == said


async def log_out_and_delete(world: World) -> None:
    daemon = world.daemon
    code, reported = await daemon.call("POST", "/api/sessions/s1/logout", {})
    assert code == 200, reported
    reported = await daemon.status("s1")
    assert (reported["status"], reported["disconnect_reason"]) == ("disconnected", "user_initiated")
    assert reported["worker_pid"] is None
    code, reported = await daemon.call("DELETE", "/api/sessions/s1?purge=1")
    assert code == 200, reported
    assert (await daemon.call("GET", "/api/sessions/s1/status"))[0] == 404
    assert list((daemon.folder / "sessions/quarantine").iterdir())


@pytest.mark.long
async def test_a_conflict_is_taken_back_where_configured(world: World) -> None:
    daemon = world.daemon
    daemon.settings = {**daemon.settings, "WAGUARD_WHATSAPP__ON_CONFLICT": "takeover"}
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    world.standin.phone.conflict(PHONE)

    await daemon.logs("taking it back")
    await daemon.logs("after=conflict")  # until then it is connected as before
    after = await daemon.wait_status("s1", "connected", link="connected")
    assert after["worker_pid"] == before["worker_pid"]
    assert (await daemon.send("s1", FRIEND, "still here"))[0] == 200

    for times in range(2, 4):
        world.standin.phone.conflict(PHONE)
        await daemon.logs("after=conflict", times)
        await daemon.wait_status("s1", "connected", link="connected")
    world.standin.phone.conflict(PHONE)
    reported = await daemon.wait_status("s1", "failed", lifecycle="parked")
    assert "taken back 3 times in 10 min" in reported["disconnect_details"]
    assert daemon.log().count("taking it back") == 3

    await restarted_as_it_is(daemon, reported)
    assert daemon.log().count("taking it back") == 3
    assert (await daemon.call("POST", "/api/sessions/s1/reconnect", {}))[0] == 200
    await daemon.wait_status("s1", "connected", link="connected")


@pytest.mark.long
async def test_codes_that_nobody_scans_expire_and_a_new_one_can_be_asked_for(world: World) -> None:
    daemon = world.daemon
    world.standin.policy.update({"qr_first_lifetime": 3.0, "qr_lifetime": 0.5, "qr_count": 3})
    await daemon.start()
    # its codes may have expired before anybody could ask for one
    code, reported = await daemon.call(
        "POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1}
    )
    assert code == 201, reported
    reported = await daemon.wait_status("s1", "disconnected", lifecycle="parked")
    assert reported["disconnect_reason"] == "qr_expired"
    assert (await daemon.call("GET", "/api/sessions/s1/qr"))[0] == 409
    world.standin.policy.update({"qr_first_lifetime": 60.0})
    code, fresh = await daemon.call("POST", "/api/sessions/s1/regenerate-qr", {})
    assert code == 200, fresh
    world.standin.phone.scan(fresh["raw"], phone=PHONE)
    await daemon.wait_status("s1", "connected")


@pytest.mark.long
async def test_what_only_a_person_can_cure_is_parked_with_its_cause(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    world.standin.phone.block(PHONE, "TOS_BLOCK")
    reported = await daemon.wait_status("s1", "failed", lifecycle="parked")
    assert "TOS_BLOCK" in reported["disconnect_details"]

    async def advised() -> bool:
        """It is written a moment after it was so."""
        _, answer = await daemon.call("GET", "/api/sessions/s1/incidents")
        return any(
            str(one["advice"]).startswith("The phone shows what WhatsApp wants")
            for one in answer["incidents"]
        )

    await daemon.until(advised)


@pytest.mark.long
async def test_a_worker_of_another_version_is_replaced_in_order(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    for _ in range(3):  # a browser that traps at its end leaves no copy (``TRAPPED``)
        await daemon.stop(signal.SIGKILL)
        [record] = (daemon.folder / "run/workers").glob("*.json")
        written = msgspec.json.decode(record.read_bytes(), type=WorkerRecord)
        other = msgspec.structs.replace(written, protocol=PROTOCOL + 1)
        record.write_bytes(msgspec.json.encode(other))
        await daemon.start()
        after = await daemon.wait_status("s1", "connected")
        assert after["worker_pid"] != before["worker_pid"]
        assert after["restarts"] == 0
        before = after
        if "credentials copied" in daemon.log():
            break
    else:
        pytest.fail("Chromium was not closed in order")


async def test_what_came_while_nobody_listened_is_reported_later_each_once(world: World) -> None:
    """Stored by the page, without an event: the browser dies before it is told. Receipts, too."""
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    _, sent = await daemon.send("s1", "62812", "read while nobody listened")
    world.standin.phone.incoming(from_="62812", body="first")
    await world.receiver.wait_for("message_received")
    os.kill(before["worker_pid"], signal.SIGSTOP)  # the page goes on, and nobody hears it
    for number in range(3):
        world.standin.phone.incoming(from_="62812", body=f"unheard {number}")
    world.standin.phone.receipt(sent["message_id"], 3, PHONE)
    await daemon.until(lambda: _acknowledged(world))
    os.killpg(before["worker_pid"], signal.SIGKILL)
    with suppress(ProcessLookupError):  # it may have died with its worker by now
        os.kill(before["browser_pid"], signal.SIGKILL)
    world.standin.phone.incoming(from_="62812", body="queued")
    await world.receiver.wait_for(
        "message_received", where=lambda data: bool(data["message"]["body"] == "queued")
    )
    reported = [
        (one["data"]["message"]["body"], one["data"]["message"]["backfilled"])
        for one in world.receiver.received
        if one["event"] == "message_received"
    ]
    assert reported[:1] == [("first", False)]
    assert reported[1:4] == [(f"unheard {number}", True) for number in range(3)]
    assert [body for body, _ in reported[4:]] == ["queued"]
    await world.receiver.wait_for(
        "message_read", where=lambda data: data["message_id"] == sent["message_id"]
    )


async def _acknowledged(world: World) -> bool:
    [device] = world.standin.phone.whatsapp.linked(PHONE)
    return not device.queue
