"""POST /api/messages/bulk-send as the old service had it, and what became of it."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from tests.waiting import DEADLINE, wait_until

BULK = "/api/messages/bulk-send"
NUMBERS = ["6281234567890", "+62 812-3456-7891", 6281234567892]
CHATS = [f"628123456789{n}@c.us" for n in range(3)]
UNKNOWN = "00000000-0000-0000-0000-000000000000"


def body(**changes: Any) -> dict[str, Any]:
    return (
        {"session_id": SESSION, "workspace_id": 1, "recipients": NUMBERS}
        | {"message": "hi"}
        | changes
    )


async def test_accepted_sent_and_counted(api: Api) -> None:
    api.configure("send", bulk_gap=0.001)
    answer = await api.call("POST", BULK, body())
    reported = answer.json()
    assert (answer.status, reported["success"], reported["total"]) == (202, True, 3)
    await wait_until(lambda: len(api.sessions.sends()) == 3, "all went")
    assert {call.chat for call in api.sessions.sends()} == set(CHATS)
    path = f"/api/messages/bulk/{reported['bulk_id']}"
    async with asyncio.timeout(DEADLINE):  # its end is kept in a while
        while not (reported := (await api.call("GET", path)).json())["done"]:
            pass
    assert (reported["total"], reported["counts"]["sent"]) == (3, 3)


async def test_each_may_have_a_text_of_its_own(api: Api) -> None:
    api.configure("send", bulk_gap=0.001)
    recipients = [
        {"recipient_phone": NUMBERS[0], "message": "one"},
        {"recipient_phone": NUMBERS[1]},
        NUMBERS[2],
    ]
    assert (await api.call("POST", BULK, body(recipients=recipients))).status == 202
    await wait_until(lambda: len(api.sessions.sends()) == 3, "all went")
    texts = {call.chat: getattr(call, "text", None) for call in api.sessions.sends()}
    assert texts == dict(zip(CHATS, ("one", "hi", "hi"), strict=True))


async def test_groups_without_their_server(api: Api) -> None:
    api.configure("send", bulk_gap=0.001)
    recipients = ["120363041234567890", {"recipient_phone": "6281234567890-1612345678"}]
    assert (await api.call("POST", BULK, body(recipients=recipients))).status == 202
    await wait_until(lambda: len(api.sessions.sends()) == 2, "both went")
    assert {call.chat for call in api.sessions.sends()} == {
        "120363041234567890@g.us",
        "6281234567890-1612345678@g.us",
    }


async def test_nobody_gets_the_same_twice(api: Api) -> None:
    recipients = [*NUMBERS, CHATS[0], {"recipient_phone": CHATS[1], "message": "other"}]
    reported = (await api.call("POST", BULK, body(recipients=recipients))).json()
    assert (reported["total"], reported["duplicates"]) == (4, 1)


async def test_a_cancelled_bulk_sends_no_further_message(api: Api) -> None:
    bulk_id = (await api.call("POST", BULK, body())).json()["bulk_id"]
    await wait_until(api.sessions.sends, "the first went")
    answer = await api.call("POST", f"/api/messages/bulk/{bulk_id}/cancel")
    reported = answer.json()
    assert (answer.status, reported["counts"]["cancelled"], reported["total"]) == (200, 2, 3)
    listed = await api.call("GET", f"/api/messages?bulk_id={bulk_id}&state=cancelled")
    assert len(listed.json()["messages"]) == 2


@pytest.mark.parametrize(
    ("changes", "field", "error"),
    [
        ({"recipients": None}, "recipients", "None"),
        ({"recipients": []}, "recipients", "0"),
        ({"recipients": NUMBERS[0]}, "recipients", NUMBERS[0]),
        ({"recipients": [NUMBERS[0]] * 1_001}, "recipients", "1001"),
        ({"recipients": [*NUMBERS, "Bob"]}, "recipients[3]", "1 of 4"),
        ({"recipients": [NUMBERS[0], {"recipient_phone": 1}]}, "recipients[1].recipient_phone", ""),
        ({"recipients": [NUMBERS[0], {"phone": 1}]}, "recipients[1].recipient_phone", "None"),
        (
            {"recipients": [{"recipient_phone": NUMBERS[0], "message": " "}]},
            "recipients[0].message",
            "",
        ),
        ({"recipients": [[NUMBERS[0]]]}, "recipients[0]", "invalid"),
        ({"message": None}, "message", "missing"),
        ({"type": "image"}, "type", "image"),
        ({"idempotency_key": "a\nb"}, "Idempotency-Key", "invalid key"),
    ],
)
async def test_who_cannot_be_sent_to_is_named_and_nobody_is_sent_anything(
    api: Api, changes: dict[str, Any], field: str, error: str
) -> None:
    answer = await api.call("POST", BULK, body(**changes))
    reported = answer.json()
    assert (answer.status, reported["field"]) == (400, field)
    assert error in reported["error"]
    assert reported["remedy"]
    assert await api.database.outbox.listing() == []


async def test_all_that_are_wrong_are_named(api: Api) -> None:
    recipients = [NUMBERS[0], "Bob", NUMBERS[1], "Eve"]
    reported = (await api.call("POST", BULK, body(recipients=recipients))).json()
    assert [(one["index"], one["field"]) for one in reported["recipients"]] == [
        (1, "recipients[1]"),
        (3, "recipients[3]"),
    ]
    assert "Eve" in reported["recipients"][1]["error"]


async def test_the_id_in_a_listing_is_checked(api: Api) -> None:
    answer = await api.call("GET", "/api/messages?bulk_id=%00")
    assert (answer.status, answer.json()["field"]) == (400, "bulk_id")


async def test_what_is_not_there_is_404(api: Api) -> None:
    assert (await api.call("POST", BULK, body(session_id="nobody"))).status == 404
    assert (await api.call("POST", BULK, body(workspace_id=2))).status == 404
    for method, path in (("GET", ""), ("POST", "/cancel")):
        answer = await api.call(method, f"/api/messages/bulk/{UNKNOWN}{path}")
        assert (answer.status, answer.json()["error"]) == (404, "there is no such bulk")
