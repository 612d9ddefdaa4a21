"""The double takes webhooks as badly as the application does."""

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from tests.lab.application.conftest import QUICK, Pair
from tests.lab.application.instance import post
from tests.waiting import wait_until
from waguard.lab.application.manners import Window

TEXT: dict[str, Any] = {
    "message": {"id": "false_62@c.us_A", "from": "62@c.us", "chat_type": "private", "body": "hi"}
}
SENT: dict[str, Any] = {
    "message": {"id": "true_62@c.us_B", "to": "62@c.us", "chat_type": "private", "body": "ho"}
}


async def status(pair: Pair) -> str:
    return str((await pair.app.row("s1"))["status"])


async def test_a_message_is_stored_after_both_call_backs(pair: Pair) -> None:
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert pair.app.records.bodies("s1") == ["hi"]
    assert pair.instance.paths() == [
        "GET /health",
        "GET /api/sessions/s1/status?api_key=application-sessions-key",
    ]
    assert not pair.app.records.dropped


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"health": 503}, "GET /health answered 503"),
        ({"connected": 0}, "no session is connected"),
        ({"status": "disconnected"}, "the session is disconnected"),
        ({"status_code": 503}, "GET status failed with 503"),
    ],
)
async def test_it_drops_with_a_200(pair: Pair, answers: dict[str, Any], why: str) -> None:
    for name, value in answers.items():
        setattr(pair.instance, name, value)
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert pair.app.records.bodies("s1") == []
    (dropped,) = pair.app.records.dropped
    assert (dropped.event_id, dropped.about, dropped.why) == ("e1", "false_62@c.us_A", why)
    assert await status(pair) == "qr_scanning"  # this look changes no row


async def test_it_drops_where_nobody_answers(pair: Pair) -> None:
    pair.app.hooks.urls["s1"] = "http://127.0.0.1:9"
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert [one.why for one in pair.app.records.dropped] == ["GET /health failed"]


async def test_it_does_not_dedupe(pair: Pair) -> None:
    for _ in range(2):
        assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert [row.event_id for row in pair.app.records.of("s1", "in")] == ["e1", "e1"]


async def test_a_lid_is_nobody_to_it(pair: Pair) -> None:
    message = {**TEXT["message"], "from": "777@lid"}
    assert await post(pair.app.url, "message_received", message=message) == 200
    assert [one.why for one in pair.app.records.dropped] == ["its sender is a lid"]


async def test_the_signature_and_its_time_are_checked(pair: Pair) -> None:
    assert await post(pair.app.url, "message_received", secret=b"another", **TEXT) == 401
    assert await post(pair.app.url, "message_received", skew=-301.0, **TEXT) == 401
    assert not pair.app.records.rows
    assert not pair.app.received


class TimedWindow(Window):
    """Its time goes on by a test's word only."""

    now = 0.0

    def admit(self, now: float) -> bool:
        return super().admit(self.now)


async def test_only_quiet_ends_a_429(pair: Pair) -> None:
    window = pair.app.hooks.window = TimedWindow(limit=2, seconds=1.0)

    async def answer() -> int | None:
        return await post(pair.app.url, "message_status_updated", message_id="x", status="sent")

    assert [await answer() for _ in range(3)] == [200, 200, 429]
    for _ in range(4):  # longer than the window, but never quiet
        window.now += 0.75
        assert await answer() == 429
    window.now += 1.0
    assert await answer() == 200
    assert pair.app.hooks.refused == 5


async def test_ready_at_once_the_others_later_and_so_overtaken(pair: Pair) -> None:
    chance = pair.app.hooks.chance
    pair.app.hooks.manners = replace(QUICK, queue=5.0)
    chance.seed(3)  # the first of its draws is 0.24 of 1
    assert await post(pair.app.url, "session_disconnected", reason="timeout") == 200
    assert await post(pair.app.url, "session_ready", phone_number="62") == 200
    assert await status(pair) == "connected"
    await pair.app.hooks.queue_is_empty()
    assert await status(pair) == "disconnected"  # for good, if nobody tells it again


async def test_a_code_is_in_its_row(pair: Pair) -> None:
    await pair.app.accounts.disconnected("s1")
    assert await post(pair.app.url, "qr_code_generated", qr_code="data:image/png") == 200
    await pair.app.hooks.queue_is_empty()
    row = await pair.app.row("s1")
    assert (row["status"], row["qr_code"]) == ("qr_scanning", "data:image/png")
    assert await post(pair.app.url, "session_authenticated") == 200
    await pair.app.hooks.queue_is_empty()
    assert await status(pair) == "authenticated"


async def test_session_error_makes_it_fail(pair: Pair) -> None:
    assert await post(pair.app.url, "session_error", error="x", message="y") == 500
    assert pair.app.records.failures == ["session_error: _HandlingError"]


async def test_a_database_that_is_locked_makes_it_fail(pair: Pair, tmp_path: Any) -> None:
    (tmp_path / "waguard.db").rename(tmp_path / "aside")
    assert await post(pair.app.url, "session_ready", phone_number="62") == 500
    assert not (tmp_path / "waguard.db").exists(), "an empty one was made in its place"
    (tmp_path / "aside").rename(tmp_path / "waguard.db")
    assert await post(pair.app.url, "session_ready", phone_number="62") == 200
    with sqlite3.connect(tmp_path / "waguard.db") as database:
        found = database.execute("SELECT status, phone_number FROM whatsapp_accounts").fetchall()
    database.close()
    assert found == [("connected", "62")]


async def test_an_account_that_is_not_there(pair: Pair) -> None:
    assert await pair.app.accounts.delete("s1")
    assert await post(pair.app.url, "session_ready", phone_number="62") == 200
    assert [one.why for one in pair.app.records.dropped] == ["there is no such account"]


async def test_a_flat_message_sent_is_lost(pair: Pair) -> None:
    assert await post(pair.app.url, "message_sent", message_id="true_62@c.us_B", to="62") == 200
    assert [one.why for one in pair.app.records.dropped] == ["it is flat"]
    assert not pair.app.records.rows


async def test_written_on_the_phone(pair: Pair) -> None:
    assert await post(pair.app.url, "message_sent", **SENT) == 200
    (row,) = pair.app.records.of("s1", "out")
    assert (row.body, row.source, row.status) == ("ho", "webhook", "sent")


async def test_a_status_that_comes_too_early_is_lost_for_good(pair: Pair) -> None:
    ack: dict[str, Any] = {"message_id": "true_62@c.us_B", "status": "delivered"}
    assert await post(pair.app.url, "message_status_updated", **ack) == 200
    assert await post(pair.app.url, "message_sent", **SENT) == 200
    (row,) = pair.app.records.of("s1", "out")
    assert row.status == "sent"
    assert [one.why for one in pair.app.records.dropped] == ["there is no such message yet"]


async def test_its_statuses_end_at_read_and_go_backwards(pair: Pair) -> None:
    await post(pair.app.url, "message_sent", **SENT)
    (row,) = pair.app.records.of("s1", "out")
    about: dict[str, Any] = {"message_id": row.message_id}
    await post(pair.app.url, "message_read", **about)
    assert row.status == "read"
    await post(pair.app.url, "message_status_updated", status="played", **about)
    assert row.status == "read"
    assert [one.why for one in pair.app.records.dropped] == ["the status played is unknown"]
    await post(pair.app.url, "message_delivered", **about)
    assert row.status == "delivered"


async def test_events_that_it_does_not_know(pair: Pair) -> None:
    assert await post(pair.app.url, "message_edited", message_id="x") == 200
    (dropped,) = pair.app.records.dropped
    assert (dropped.event, dropped.why) == ("message_edited", "an event that it does not know")


# ---- moods ----


async def test_failing_and_torn_have_done_nothing(pair: Pair) -> None:
    with pair.app.hooks.in_mood("failing"):
        assert await post(pair.app.url, "message_received", **TEXT) == 500
    with pair.app.hooks.in_mood("torn"):
        assert await post(pair.app.url, "message_received", **TEXT) is None
    assert not pair.app.records.rows
    assert not pair.app.records.unheard


async def test_a_lost_reply_is_an_excuse(pair: Pair) -> None:
    with pair.app.hooks.in_mood("lost"):
        assert await post(pair.app.url, "message_received", **TEXT) is None
    assert pair.app.records.bodies("s1") == ["hi"]
    assert [(one.event_id, one.why) for one in pair.app.records.unheard] == [("e1", "lost")]


async def test_a_reply_that_nobody_waits_for_is_late(pair: Pair) -> None:
    pair.app.hooks.manners = replace(QUICK, slow=1.0)
    with pair.app.hooks.in_mood("slow"):
        impatient = asyncio.create_task(post(pair.app.url, "message_received", **TEXT))
        await wait_until(lambda: pair.app.hooks.window.count, "it has begun")
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        await wait_until(lambda: pair.app.records.unheard, "it has noticed")
    assert pair.app.records.bodies("s1") == ["hi"]
    assert [(one.event_id, one.why) for one in pair.app.records.unheard] == [("e1", "late")]


async def test_away_and_back(pair: Pair) -> None:
    async with pair.app.hooks.away():
        assert await post(pair.app.url, "message_received", **TEXT) is None
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert pair.app.records.bodies("s1") == ["hi"]
