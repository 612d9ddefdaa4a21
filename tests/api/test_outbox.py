"""Sends that nobody waits for, keys, and what became of messages."""

import asyncio
import time
from typing import Any

import pytest

from tests.api.conftest import Answer, Api
from tests.api.fake_sessions import SESSION
from tests.waiting import DEADLINE, wait_until
from waguard.errors import ConflictError, UnavailableError
from waguard.ports.outcomes import Uncertain

SEND = "/api/messages/send"
BODY: dict[str, Any] = {
    "session_id": SESSION,
    "recipient_phone": "6281234567890",
    "message": "hello",
}
CHAT = "6281234567890@c.us"


async def send(api: Api, path: str = SEND, key: str | None = None, **more: Any) -> Answer:
    headers = {"Idempotency-Key": key} if key else {}
    return await api.call("POST", path, BODY | more, headers=headers)


async def in_state(api: Api, number: Any, *wanted: str) -> dict[str, Any]:
    """What GET says of a message, once it is so."""

    async def is_there() -> dict[str, Any]:
        while True:
            answer = await api.call("GET", f"/api/messages/{number}")
            assert answer.status == 200
            found: dict[str, Any] = answer.json()
            if found["status"] in wanted:
                return found
            await asyncio.sleep(0.005)

    return await asyncio.wait_for(is_there(), DEADLINE)


async def test_nobody_waits_for_an_async_one(api: Api) -> None:
    api.sessions.free.clear()
    answer = await send(api, f"{SEND}?async=1")
    accepted = answer.json()
    assert answer.status == 202
    assert (accepted["success"], accepted["status"]) == (True, "accepted")
    assert (await in_state(api, accepted["id"], "sending"))["message_id"] == accepted["message_id"]
    api.sessions.free.set()
    found = await in_state(api, accepted["message_id"], "sent")
    assert (found["id"], found["session_id"], found["to"], found["type"]) == (
        accepted["id"],
        SESSION,
        CHAT,
        "text",
    )
    assert (found["ack"], found["error"], found["attempts"]) == (1, None, 1)
    assert "hello" not in str(found)


async def test_a_queued_one_waits_for_its_session_and_can_be_cancelled(api: Api) -> None:
    api.sessions.connect(ConflictError("Session not connected: it is qr_pending"))
    assert (await send(api)).status == 409
    first, second = [(await send(api, message=m, queue=True)).json() for m in "ab"]
    cancelled = await api.call("POST", f"/api/messages/{first['id']}/cancel")
    assert cancelled.json() == {"success": True, "id": first["id"], "status": "cancelled"}
    api.sessions.connect()
    await in_state(api, second["id"], "sent")
    for number in (first["id"], second["id"]):
        again = await api.call("POST", f"/api/messages/{number}/cancel")
        assert (again.status, again.json()["remedy"]) == (
            409,
            "only what is accepted can be cancelled",
        )
    assert [call.message_id for call in api.sessions.sends()] == [second["message_id"]]
    assert (await send(api, queue=True)).status == 200


@pytest.mark.parametrize("form", ["iso", "unix"])
async def test_one_for_later(api: Api, form: str) -> None:
    when = {"iso": "2026-01-01T00:00:00+07:00", "unix": time.time() + 3600}[form]
    answer = await send(api, send_at=when)
    assert answer.status == 202
    if form == "iso":  # long ago: now
        await in_state(api, answer.json()["id"], "sent")
    else:
        found = await in_state(api, answer.json()["id"], "accepted")
        assert found["send_at"].endswith("Z")
        assert api.sessions.sends() == []


async def test_a_key_makes_one_message_of_many_requests(api: Api) -> None:
    first = await send(api, key="k-1")
    for again in (await send(api, key="k-1"), await send(api, idempotency_key="k-1")):
        assert (again.status, again.json()) == (200, first.json())
    assert len(api.sessions.sends()) == 1
    other = await send(api, key="k-1", message="another")
    assert (other.status, other.json()["field"]) == (422, "idempotency_key")
    assert (await send(api, key="k-2")).json()["message_id"] != first.json()["message_id"]


async def test_a_key_keeps_what_is_uncertain_uncertain(api: Api) -> None:
    api.sessions.outcomes.append(Uncertain("no answer"))
    first, again = await send(api, key="k"), await send(api, key="k")
    assert (first.status, again.status) == (202, 202)
    assert first.json() == again.json()
    assert again.json()["success"] is False
    await in_state(api, first.json()["message_id"], "uncertain")
    accepted = await api.call("GET", "/api/messages?state=uncertain")
    assert [m["message_id"] for m in accepted.json()["messages"]] == [first.json()["message_id"]]


async def test_without_the_database_nothing_is_sent(api: Api) -> None:
    await api.database.close()
    answer = await send(api)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "5"
    assert api.sessions.sends() == []
    assert (await api.call("GET", "/api/messages")).status == 503


async def test_messages_are_listed_by_page_and_state(api: Api) -> None:
    ids = [(await send(api, f"{SEND}?async=1", message=str(n))).json()["id"] for n in range(3)]
    for number in ids:
        await in_state(api, number, "sent")

    async def listed(query: str) -> Any:
        answer = await api.call("GET", f"/api/messages{query}")
        assert answer.status == 200, answer.content
        return answer.json()

    everything = await listed("")
    assert [m["id"] for m in everything["messages"]] == ids[::-1]
    assert everything["before"] is None
    page = await listed("?limit=2")
    assert [m["id"] for m in page["messages"]] == [ids[2], ids[1]]
    assert [m["id"] for m in (await listed(f"?before={page['before']}"))["messages"]] == [ids[0]]
    assert len((await listed(f"?session_id={SESSION}&state=sent"))["messages"]) == 3
    assert (await listed("?session_id=another"))["messages"] == []
    assert (await listed("?state=uncertain"))["messages"] == []


@pytest.mark.parametrize(
    ("query", "more", "field"),
    [
        ("?async=perhaps", {}, "async"),
        ("", {"queue": "perhaps"}, "queue"),
        ("", {"queue": []}, "queue"),
        ("", {"send_at": "tomorrow"}, "send_at"),
        ("", {"send_at": "2026-11-25T18:00:00"}, "send_at"),
        ("", {"send_at": True}, "send_at"),
        ("", {"send_at": 1e12}, "send_at"),
        ("", {"send_at": -(10**400)}, "send_at"),
        ("", {"send_at": -9e10}, "send_at"),
        ("", {"send_at": "0001-01-01T00:00:00+14:00"}, "send_at"),
        ("", {"idempotency_key": "x" * 201}, "idempotency_key"),
        ("", {"idempotency_key": "a\nb"}, "Idempotency-Key"),
        ("", {"idempotency_key": 5}, "idempotency_key"),
    ],
)
async def test_how_to_send_is_checked(
    api: Api, query: str, more: dict[str, Any], field: str
) -> None:
    answer = await send(api, SEND + query, **more)
    assert (answer.status, answer.json().get("field")) == (400, field)
    assert api.sessions.sends() == []


async def test_two_keys_at_once(api: Api) -> None:
    answer = await send(api, key="a", idempotency_key="b")
    assert (answer.status, answer.json()["field"]) == (400, "idempotency_key")


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/messages/987654", 404, "id"),
        ("/api/messages/true_1@c.us_3EB0", 404, "id"),
        ("/api/messages?state=lost", 400, "state"),
        ("/api/messages?limit=0", 400, "limit"),
        ("/api/messages?limit=many", 400, "limit"),
        ("/api/messages?before=x", 400, "before"),
        ("/api/messages?session_id=a%20b", 400, "session_id"),
    ],
)
async def test_a_question_that_is_wrong_names_its_field(
    api: Api, path: str, status: int, field: str | None
) -> None:
    answer = await api.call("GET", path)
    assert (answer.status, answer.json().get("field")) == (status, field)


async def test_a_request_that_waits_for_its_session(api: Api) -> None:
    api.sessions.connect(UnavailableError("not yet"))
    sending = asyncio.ensure_future(send(api))
    await wait_until(api.outbox.owed, "it is in")
    api.sessions.connect()
    assert (await sending).status == 200
