"""The double takes webhooks as badly as the application does."""

import asyncio
from typing import Any

import pytest

from tests.lab.application.conftest import QUICK, Pair
from tests.lab.application.instance import post
from tests.waiting import wait_until
from waguard.core.replace import replace
from waguard.lab.application.manners import Window, body_of

TEXT: dict[str, Any] = {
    "message": {"id": "false_62@c.us_A", "from": "62@c.us", "chat_type": "private", "body": "hi"}
}
SENT: dict[str, Any] = {
    "message": {
        "id": "true_62@c.us_B",
        "from": "62@c.us",
        "to": "61@c.us",
        "chat_type": "private",
        "body": "ho",
    }
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
    (seen,) = await pair.app.chats.seen()
    assert (seen.session, seen.phone, seen.type) == ("s1", "62", "inbound")
    assert seen.message_id == "false_62@c.us_A"
    assert body_of(seen.metadata) == "hi"


async def test_a_status_that_cannot_be_had_is_believed(pair: Pair) -> None:
    pair.instance.status_code = 503
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert pair.app.records.bodies("s1") == ["hi"]


async def test_without_a_connected_account_it_makes_no_call_back(pair: Pair) -> None:
    await pair.app.accounts.update("s1", status="authenticated")
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert pair.instance.paths() == []
    assert [one.why for one in pair.app.records.dropped] == ["no account is connected"]
    row = await pair.app.send("s1", "62", "and nothing can be sent")
    assert (row.status, row.id, pair.instance.paths()) == ("failed", None, [])


async def test_any_connected_account_of_the_workspace_will_do(pair: Pair) -> None:
    await pair.app.connect("s2")
    await pair.app.accounts.connected("s2", "63")
    await pair.app.accounts.update("s1", status="disconnected")
    pair.instance.asked.clear()
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert pair.app.records.bodies("s1") == ["hi"]
    assert pair.instance.paths()[1].startswith("GET /api/sessions/s2/status")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"health": 503}, "GET /health answered 503"),
        ({"connected": 0}, "no session is connected"),
        ({"status": "disconnected"}, "the session is disconnected"),
    ],
)
async def test_the_application_drops_with_a_200(
    pair: Pair, answers: dict[str, Any], why: str
) -> None:
    for name, value in answers.items():
        setattr(pair.instance, name, value)
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert pair.app.records.bodies("s1") == []
    (dropped,) = pair.app.records.dropped
    assert (dropped.event_id, dropped.about, dropped.why) == ("e1", "false_62@c.us_A", why)
    assert await status(pair) == "connected"  # this look changes no row
    assert await pair.app.chats.seen() == []


async def test_the_application_drops_where_nobody_answers(pair: Pair) -> None:
    pair.app.controller.urls["s1"] = "http://127.0.0.1:9"
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert [one.why for one in pair.app.records.dropped] == ["GET /health failed"]


async def test_the_application_does_not_dedupe(pair: Pair) -> None:
    for _ in range(2):
        assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert [row.event_id for row in pair.app.records.of("s1", "in")] == ["e1", "e1"]


async def test_a_lid_is_nobody_to_it(pair: Pair) -> None:
    message = {**TEXT["message"], "from": "777@lid"}
    assert await post(pair.app.url, "message_received", message=message) == 200
    assert [one.why for one in pair.app.records.dropped] == ["lid is no phone number"]


async def test_the_signature_and_its_time_are_checked(pair: Pair) -> None:
    assert await post(pair.app.url, "message_received", secret=b"another", **TEXT) == 401
    assert await post(pair.app.url, "message_received", skew=-301.0, **TEXT) == 401
    assert not pair.app.records.rows
    assert not pair.app.received


class TimedWindow(Window):
    """Its time goes on by a test's word only."""

    now: float = 0.0

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
    go_on = asyncio.Event()

    async def earlier() -> None:
        await go_on.wait()

    for _ in range(QUICK.workers):
        pair.app.workers.put("messaging", "an earlier job", earlier)
    pair.app.hooks.misbehave(backlog=3)
    assert await post(pair.app.url, "session_disconnected", reason="timeout") == 200
    assert await post(pair.app.url, "session_ready", phone_number="62") == 200
    assert await status(pair) == "connected"
    go_on.set()
    await pair.app.workers.is_idle()
    assert await status(pair) == "disconnected"  # forever, if nobody tells it again
    assert [one.status for one in pair.app.records.written] == ["disconnected"]


async def test_a_code_is_in_its_row(pair: Pair) -> None:
    await pair.app.accounts.disconnected("s1")
    assert await post(pair.app.url, "qr_code_generated", qr_code="data:image/png") == 200
    await pair.app.workers.is_idle()
    row = await pair.app.row("s1")
    assert (row["status"], row["qr_code"]) == ("qr_scanning", "data:image/png")
    assert await post(pair.app.url, "session_authenticated") == 200
    await pair.app.workers.is_idle()
    assert await status(pair) == "authenticated"


async def test_ready_deletes_whoever_else_has_the_number(pair: Pair) -> None:
    await pair.app.connect("s2")
    await pair.app.connect("s3", workspace=2)
    await pair.app.accounts.connected("s3", "62")
    assert await post(pair.app.url, "session_ready", session_id="s2", phone_number="62") == 200
    assert await pair.app.accounts.read("s1") is None
    assert (await pair.app.row("s2"))["phone_number"] == "62"
    assert (await pair.app.row("s3"))["status"] == "connected"  # another workspace's


async def test_ready_without_a_number_is_nothing(pair: Pair) -> None:
    await pair.app.accounts.disconnected("s1")
    assert await post(pair.app.url, "session_ready") == 200
    assert await status(pair) == "disconnected"


async def test_session_error_makes_its_job_fail_twice(pair: Pair) -> None:
    assert await post(pair.app.url, "session_error", error="x", message="y") == 200
    await pair.app.workers.is_idle()
    assert pair.app.records.failures == ["session_error: NotStoredError"]


async def test_a_database_that_is_away_is_answered_200(pair: Pair, tmp_path: Any) -> None:
    (tmp_path / "waguard.db").rename(tmp_path / "aside")
    assert await post(pair.app.url, "session_ready", phone_number="62") == 200
    assert await post(pair.app.url, "message_received", **TEXT) == 200
    assert not (tmp_path / "waguard.db").exists(), "an empty one was made in its place"
    (tmp_path / "aside").rename(tmp_path / "waguard.db")
    assert [one.why for one in pair.app.records.dropped] == ["OperationalError"] * 2
    assert await pair.app.chats.seen() == []


async def test_a_read_only_database_is_answered_200_after_all_call_backs(pair: Pair) -> None:
    with pair.app.hooks.in_mood("read-only"):
        assert await post(pair.app.url, "message_received", **TEXT) == 200
        pair.instance.answers = [(200, {"message_id": "true_62@c.us_B"})]
        row = await pair.app.send("s1", "62", "it left")
    assert len(pair.instance.asked) == 3
    assert (row.status, row.answers) == ("failed", [200])
    assert await pair.app.chats.seen() == []
    (dropped,) = pair.app.records.dropped
    assert dropped.about == "false_62@c.us_A"


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ("\u0639" * 9_300, True),
        ("\u0639" * 9_500, False),
        ("\U0001f600" * 4_500, True),
        ("\U0001f600" * 4_700, False),
        ("a" * 65_000, True),
        ("a" * 66_000, False),
    ],
)
async def test_a_text_that_its_column_cannot_hold(
    pair: Pair,
    body: str,
    stored: bool,  # noqa: FBT001 - a case of the table
) -> None:
    message = {**TEXT["message"], "body": body}
    assert await post(pair.app.url, "message_received", message=message) == 200
    assert len(await pair.app.chats.seen()) == stored
    assert len(pair.app.records.dropped) == (not stored)


async def test_a_body_that_php_cannot_take(pair: Pair) -> None:
    media = {"data": "A" * (8 << 20)}
    message = {**TEXT["message"], "media": media}
    assert await post(pair.app.url, "message_received", message=message) == 413
    assert not pair.instance.asked


async def test_a_file_that_fails_leaves_a_row_at_each_attempt(pair: Pair) -> None:
    message = {**TEXT["message"], "media": {"data": "QUJD", "mimetype": "image/png"}}
    with pair.app.hooks.in_mood("no files"):
        for _ in range(2):
            assert await post(pair.app.url, "message_received", message=message) == 500
        assert await post(pair.app.url, "message_received", **TEXT) == 200  # without one
    assert len(await pair.app.chats.seen()) == 3


async def test_the_applications_installer_redirects_everything(pair: Pair) -> None:
    with pair.app.hooks.in_mood("installing"):
        assert await post(pair.app.url, "message_received", secret=b"another", **TEXT) == 302
    assert not pair.app.records.rows


async def test_an_account_that_is_not_there(pair: Pair) -> None:
    assert await pair.app.accounts.delete("s1")
    assert await post(pair.app.url, "session_ready", phone_number="62") == 200
    assert [one.why for one in pair.app.records.dropped] == [
        "there is no such account, or no number"
    ]


async def test_a_flat_message_sent_is_lost(pair: Pair) -> None:
    assert await post(pair.app.url, "message_sent", message_id="true_62@c.us_B", to="62") == 200
    assert [one.why for one in pair.app.records.dropped] == ["it is flat"]
    assert not pair.app.records.rows


async def test_written_on_the_phone(pair: Pair) -> None:
    assert await post(pair.app.url, "message_sent", **SENT) == 200
    (row,) = pair.app.records.of("s1", "out")
    assert (row.body, row.source, row.status) == ("ho", "webhook", "sent")
    assert row.chat == "62"  # `from` is the chat, whatever `to` is
    assert (await pair.app.chats.seen())[0].phone == "62"


async def test_from_alone_says_whose_chat_it_is(pair: Pair) -> None:
    ours = {**SENT["message"], "from": "61@c.us", "to": "62@c.us"}
    assert await post(pair.app.url, "message_sent", message=ours) == 200
    assert (await pair.app.chats.seen())[0].phone == "61"


async def test_a_message_sent_before_the_commit_is_a_second_row(pair: Pair) -> None:
    pair.app.hooks.misbehave(commit=5.0)
    pair.instance.answers = [(200, {"message_id": "true_62@c.us_B"})]
    sending = asyncio.create_task(pair.app.send("s1", "62", "ho"))
    await wait_until(lambda: pair.instance.asked, "it is sent")
    assert await post(pair.app.url, "message_sent", **SENT) == 200
    await sending
    seen = await pair.app.chats.seen()
    assert [(one.type, one.message_id) for one in seen] == [("outbound", "true_62@c.us_B")] * 2


async def test_a_status_that_comes_too_early_is_lost_for_good(pair: Pair) -> None:
    ack: dict[str, Any] = {"message_id": "true_62@c.us_B", "status": "delivered"}
    assert await post(pair.app.url, "message_status_updated", **ack) == 200
    await pair.app.workers.is_idle()
    assert await post(pair.app.url, "message_sent", **SENT) == 200
    (row,) = pair.app.records.of("s1", "out")
    assert row.status == "sent"
    assert [one.why for one in pair.app.records.dropped] == ["there is no such message yet"]


async def test_the_applications_statuses_end_at_read_and_go_backwards(pair: Pair) -> None:
    await post(pair.app.url, "message_sent", **SENT)
    (row,) = pair.app.records.of("s1", "out")
    about: dict[str, Any] = {"message_id": row.message_id}
    await post(pair.app.url, "message_read", **about)
    await pair.app.workers.is_idle()
    assert row.status == "read"
    await post(pair.app.url, "message_status_updated", status="played", **about)
    await pair.app.workers.is_idle()
    assert row.status == "read"
    assert [one.why for one in pair.app.records.dropped] == ["the status played is unknown"]
    await post(pair.app.url, "message_delivered", **about)
    await pair.app.workers.is_idle()
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
