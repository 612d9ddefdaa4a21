"""The double calls as the application does."""

import json
import re

from tests.lab.application.conftest import Pair
from tests.lab.application.instance import post

SENT = {"id": "true_62@c.us_B", "from": "62@c.us", "chat_type": "private", "body": "hi"}


def bodies(pair: Pair) -> list[bytes]:
    return [body for _, _, body in pair.instance.asked]


async def test_connect_makes_a_row_and_asks_for_the_session(pair: Pair) -> None:
    session, reply = await pair.app.connect()
    assert re.fullmatch(r"webjs_1_\d{10}_[a-z0-9]{8}", session)
    assert reply.good
    row = await pair.app.row(session)
    assert (row["status"], row["provider_type"]) == ("qr_scanning", "webjs")
    assert pair.instance.paths() == ["POST /api/sessions"]
    sent = json.loads(bodies(pair)[0])
    assert list(sent)[-1] == "api_key"
    assert sent["account_id"] == row["id"]
    assert sent["api_key"] == pair.app.keys.sessions


async def test_a_send_has_the_key_for_messages_and_keeps_the_id(pair: Pair) -> None:
    pair.instance.answers = [(202, {"success": False, "message_id": "true_62@c.us_B"})]
    row = await pair.app.send("s1", "62", "a/ö")
    assert (row.status, row.message_id) == ("sent", "true_62@c.us_B")  # every 2xx is
    assert bodies(pair)[0].endswith(b'"api_key":"application-messages-key"}')
    assert b"a\\/\\u00f6" in bodies(pair)[0]


async def test_three_identical_tries(pair: Pair) -> None:
    pair.instance.answers = [(503, {}), None, (500, {"error": "x"}), (200, {"message_id": "no"})]
    row = await pair.app.send("s1", "62", "hi")
    assert (row.status, row.answers) == ("failed", [503, None, 500])
    first, second, third = bodies(pair)
    assert first == second == third


async def test_a_4xx_is_final(pair: Pair) -> None:
    pair.instance.answers = [(429, {"error": "too many"})]
    row = await pair.app.send("s1", "62", "hi")
    assert (row.status, row.answers, row.error) == ("failed", [429], "too many")


async def test_an_empty_reply_is_none(pair: Pair) -> None:
    pair.instance.answers = [(200, ""), (200, {"message_id": "true_62@c.us_B"})]
    row = await pair.app.send("s1", "62", "hi")
    assert (row.status, row.answers) == ("sent", [None, 200])


async def test_a_reply_that_was_overtaken_leaves_two_rows(pair: Pair) -> None:
    await post(pair.app.url, "message_sent", message=SENT)
    pair.instance.answers = [(200, {"message_id": "true_62@c.us_B"})]
    await pair.app.send("s1", "62", "hi")
    assert [row.source for row in pair.app.records.of("s1", "out")] == ["webhook", "send"]


async def test_one_that_comes_after_it_makes_none(pair: Pair) -> None:
    pair.instance.answers = [(200, {"message_id": "true_62@c.us_B"})]
    await pair.app.send("s1", "62", "hi")
    await post(pair.app.url, "message_sent", message=SENT)
    assert len(list(pair.app.records.of("s1", "out"))) == 1


async def test_any_other_status_writes_disconnected(pair: Pair) -> None:
    assert (await pair.app.status("s1")).good
    assert (await pair.app.row("s1"))["status"] == "connected"
    pair.instance.status_code = 503
    await pair.app.status("s1", with_key=False)
    assert (await pair.app.row("s1"))["status"] == "disconnected"
    assert pair.instance.paths()[-1] == "GET /sessions/s1/status"


async def test_logout_is_an_empty_array_without_a_key(pair: Pair) -> None:
    await pair.app.logout("s1")
    assert pair.instance.asked == [("POST", "/sessions/s1/logout", b"[]")]


async def test_disconnect_and_reconnect(pair: Pair) -> None:
    await pair.app.reconnect("s1")
    assert pair.instance.paths() == [
        "DELETE /api/sessions/s1",
        "POST /api/sessions/s1/reconnect",
    ]
    pair.instance.asked.clear()
    await pair.app.disconnect("s1")
    assert (await pair.app.row("s1"))["status"] == "disconnected"
    await pair.app.reconnect("s1")
    assert pair.instance.paths() == [
        "DELETE /api/sessions/s1",
        "POST /api/sessions/s1/reconnect",
    ]
    await pair.app.remove("s1")
    assert await pair.app.accounts.read("s1") is None


async def test_metadata_is_updated_in_part(pair: Pair) -> None:
    await pair.app.put_metadata("s1", {"a": {}})
    assert bodies(pair) == [b'{"updates":{"a":[]},"api_key":"application-sessions-key"}']
    await pair.app.put_metadata("s1", {})
    assert bodies(pair)[1] == b'{"updates":[],"api_key":"application-sessions-key"}'


async def test_the_application_calls_the_instance_that_called_it(pair: Pair) -> None:
    pair.app.controller.urls["s1"] = f"{pair.instance.base}/other"
    await pair.app.send("s1", "62", "hi")
    await pair.app.connect("s2")
    assert pair.instance.paths() == ["POST /other/api/messages/send", "POST /api/sessions"]
