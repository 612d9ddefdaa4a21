"""Chats, contacts, numbers and groups, as the API answers what the page says of them."""

import json
from typing import Any, Final

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import ANSWERS, SESSION
from tests.api.test_audit import rows
from tests.waiting import wait_until
from waguard.api.timings import Timings
from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.people import People
from waguard.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UncertainError,
    WaguardError,
)
from waguard.wire.calls import Ask, Value
from waguard.wire.events import InboundMessage

ONE: Final = f"/api/sessions/{SESSION}"
GROUP: Final = "120363000000000001@g.us"
LID, ANN = "710000000000003@lid", "6281180003"


def says(api: Api, answer: Any) -> None:
    """The page's next answer."""
    api.sessions.values.append(Value(answer=json.dumps(answer)))


async def known(api: Api, **facts: Any) -> None:
    record = InboxRecord(
        session_id=SESSION,
        workspace_id=1,
        key=Kind.PEOPLE,
        kind=Kind.PEOPLE,
        at=facts.pop("at", 9e9),
        events=(),
        **facts,
    )
    await api.database.messages.write([record])


def asked(api: Api) -> list[tuple[str, Any, bool]]:
    """What the page was asked, and whether that was a change."""
    calls = [call for _, call, _ in api.sessions.calls if isinstance(call, Ask)]
    api.sessions.calls.clear()
    return [(it.name, json.loads(it.given), it.changes) for it in calls]


async def test_lists_name_people_by_number(api: Api) -> None:
    await known(api, pairs=((LID, f"{ANN}@c.us"),))
    row: dict[str, Any] = {
        "name": "Ann",
        "push_name": None,
        "is_my_contact": True,
        "is_business": False,
    }
    says(api, {"total": 7, "items": [{"id": LID, "phone": None, **row}]})
    answer = (await api.call("GET", f"{ONE}/contacts?offset=2&limit=1")).json()
    assert (answer["total"], answer["contacts"]) == (7, [{"id": LID, "phone": ANN, **row}])
    assert asked(api) == [("contacts", [{"offset": 2, "limit": 1}], False)]
    row = {
        "name": None,
        "is_group": False,
        "timestamp": 1_732_233_600,
        "unread": 2,
        "archived": False,
    }
    says(api, {"total": 1, "items": [{"id": f"{ANN}@c.us", "phone": ANN, **row}]})
    [chat] = (await api.call("GET", f"{ONE}/chats")).json()["chats"]
    assert chat == {"id": f"{ANN}@c.us", "phone": ANN, **row}
    says(api, {"total": 1, "items": [{"id": GROUP, "name": "G", "timestamp": None, "members": 2}]})
    [group] = (await api.call("GET", f"{ONE}/groups")).json()["groups"]
    assert group == {"id": GROUP, "name": "G", "timestamp": None, "members": 2}
    member = {"id": LID, "phone": None, "is_admin": True, "is_owner": False}
    says(api, json.loads(ANSWERS["group"]) | {"owner": LID, "members": [member]})
    whole = (await api.call("GET", f"{ONE}/groups/{GROUP}")).json()["group"]
    assert (whole["owner"], whole["members"][0]["phone"]) == (f"{ANN}@c.us", ANN)
    invite = (await api.call("GET", f"{ONE}/groups/{GROUP}/invite")).json()
    assert invite["url"] == "https://chat.whatsapp.com/AbCd"
    asked(api)
    assert (await api.call("GET", f"{ONE}/contacts/{ANN}/picture")).json()["url"] is None
    assert asked(api) == [("picture", [[f"{ANN}@c.us", LID]], False)]


async def test_messages_are_marked_and_under_the_known_ids(api: Api) -> None:
    await known(api, pairs=((LID, f"{ANN}@c.us"),))
    message = InboundMessage(
        id=f"false_{LID}_3A",
        chat=LID,
        sender=LID,
        to="",
        body="hi",
        timestamp=5,
        from_me=False,
        kind="chat",
    )
    api.sessions.values.append(Value(messages=(message,), before=message.id))
    answer = (await api.call("GET", f"{ONE}/chats/{ANN}/messages?limit=1&before=x")).json()
    assert (answer["source"], answer["before"]) == ("page", f"false_{LID}_3A")
    [shown] = answer["messages"]
    assert (shown["id"], shown["raw_id"]) == (f"false_{ANN}@c.us_3A", f"false_{LID}_3A")
    assert (shown["from"], shown["sender_phone"], shown["body"]) == (f"{ANN}@c.us", ANN, "hi")
    ids = [f"{ANN}@c.us", LID]
    assert asked(api) == [("messages", [ids, "x", 1], False)]


async def test_numbers_are_asked_of_whatsapp_once(api: Api) -> None:
    await known(api, asked=(("628100@c.us", False), ("628101@c.us", True)))
    says(api, [["628102@c.us", None]])
    answer = await api.call("GET", f"{ONE}/numbers/628100,+628101,628102")
    assert [(it["number"], it["exists"], it["asked"]) for it in answer.json()["numbers"]] == [
        ("628100", False, False),
        ("628101", True, False),
        ("628102", None, True),
    ]
    assert asked(api) == [("numbers", [["628102@c.us"]], False)]
    says(api, [["628102@c.us", None]])
    assert (await api.call("GET", f"{ONE}/numbers/628102")).status == 503, "an error is no no"
    asked(api)
    assert (await api.call("GET", f"{ONE}/numbers/628100")).status == 200
    assert asked(api) == []
    await known(api, asked=(("628103@c.us", True),), at=1.0)
    says(api, [["628103@c.us", False]])
    [it] = (await api.call("GET", f"{ONE}/numbers/628103")).json()["numbers"]
    assert (it["exists"], it["asked"]) == (False, True), "what was said long ago is asked again"
    for wrong in ("123", "62812,", ",".join(["62812"] * 21), LID):
        assert (await api.call("GET", f"{ONE}/numbers/{wrong}")).status == 400, wrong
    assert (await api.call("GET", "/api/sessions/nobody/numbers/628100")).status == 404


async def test_groups_are_changed_once(api: Api) -> None:
    people = {"participants": [ANN, f"+{ANN}", "62 812 34"]}
    changed = [{"id": LID, "phone": None, "code": 403, "invite_code": "c"}]
    says(api, {"id": GROUP, "participants": changed})
    made = await api.call("POST", f"{ONE}/groups", {"name": "A group", **people})
    assert (made.status, made.json()["id"]) == (201, GROUP)
    shown = {"id": LID, "phone": None, "code": 403, "invite_code": "c"}
    assert made.json()["participants"] == [shown]
    both = [f"{ANN}@c.us", "6281234@c.us"]
    for method, name in (("POST", "add"), ("DELETE", "remove")):
        answer = await api.call(method, f"{ONE}/groups/{GROUP}/participants", people)
        assert answer.status == 200
        assert asked(api)[-1] == (name, [GROUP, both], True)
    rows(api)
    for method, path in (("POST", f"{ONE}/groups"), ("POST", f"{ONE}/groups/{GROUP}/participants")):
        api.sessions.values.append(UncertainError("no answer", remedy="look"))
        answer = await api.call(method, path, {"name": "A", **people})
        assert (answer.status, answer.json()["outcome"], answer.json()["remedy"]) == (
            202,
            "uncertain",
            "look",
        )
        assert len(asked(api)) == 1
        assert [row.after for row in rows(api)] == ["unknown"]
    for odd in ({"invite_code": "x" * 129}, {"phone": "62811:3"}, {"code": 403.5}):
        says(api, {"id": GROUP, "participants": [changed[0] | odd]})
        answer = await api.call("POST", f"{ONE}/groups", {"name": "A", **people})
        assert (answer.status, answer.json()["outcome"]) == (202, "uncertain"), odd
        assert [row.after for row in rows(api)] == ["unknown"]
    asked(api)
    for wrong in ([], ["x"], [GROUP], ["62812"] * 51, "62812", None):
        body = {"name": "A", "participants": wrong}
        assert (await api.call("POST", f"{ONE}/groups", body)).status == 400, wrong
    for name in ("", "x" * 101):
        assert (await api.call("POST", f"{ONE}/groups", {"name": name, **people})).status == 400
    assert (await api.call("GET", f"{ONE}/groups/{ANN}")).json()["field"] == "group_id"
    assert asked(api) == []


@pytest.mark.parametrize("timings", [Timings(request=0.05)])
async def test_a_change_of_a_group_that_outlasts_its_request_is_uncertain(api: Api) -> None:
    """A client repeats a 503, and each repetition would make a group more."""
    api.sessions.free.clear()
    body = {"name": "A", "participants": [ANN]}
    members = f"{ONE}/groups/{GROUP}/participants"
    for method, path in (("POST", f"{ONE}/groups"), ("POST", members), ("DELETE", members)):
        answer = await api.call(method, path, body)
        assert (answer.status, answer.json()["outcome"]) == (202, "uncertain"), (method, path)
        assert "do not repeat it" in answer.json()["remedy"]
        assert "Retry-After" not in answer.headers
    api.sessions.free.set()
    await wait_until(lambda: len(api.store.entries) == 3, "they end")
    assert {row.after for row in rows(api)} == {"done"}


async def test_nothing_is_waited_for_behind_a_change_of_a_group(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def people(*_: object) -> People:
        assert asked(api) == []
        return People()

    monkeypatch.setattr(type(api.database.messages), "people", people)
    answer = await api.call("POST", f"{ONE}/groups", {"name": "A", "participants": [ANN]})
    assert answer.status == 201
    assert len(asked(api)) == 1


async def test_the_pages_failures_are_answers(api: Api) -> None:
    errors: dict[int, WaguardError] = {
        503: UnavailableError("busy", retry_after=2),
        409: ConflictError("old"),
        404: NotFoundError("no chat"),
        422: RefusedError("no admin"),
        500: WaguardError("odd"),
    }
    for status, error in errors.items():
        api.sessions.values.append(error)
        answer = await api.call("GET", f"{ONE}/chats")
        assert (answer.status, answer.json()["error"]) == (status, error.message)
        assert ("Retry-After" in answer.headers) == (status == 503)


async def test_what_a_page_answers_is_read_strictly(api: Api) -> None:
    chat = {
        "id": "x" * 129,
        "phone": None,
        "name": None,
        "is_group": False,
        "timestamp": 1,
        "unread": 0,
        "archived": True,
    }
    lists: list[Any] = [{"total": -1, "items": []}, {"total": 1, "items": [chat]}]
    for odd in (None, [], *lists):
        says(api, odd)
        answer = await api.call("GET", f"{ONE}/chats")
        assert (answer.status, answer.json()["error"]) == (
            500,
            "the page answered what cannot be read",
        )
    for raw in ("[" * 5_000, '{"total": 1e300, "items": []}', '"\\ud83d"'):
        api.sessions.values.append(Value(answer=raw))
        assert (await api.call("GET", f"{ONE}/chats")).status == 500


async def test_only_functions_that_are_named_and_read_are_called(api: Api) -> None:
    path = f"{ONE}/wajs/chat.getMessages"
    assert (await api.call("POST", path, {})).json()["field"] == "function"
    api.configure("whatsapp", call_through=("chat.getMessages", "conn.logout"))
    for name in ("conn.logout", "chat.list", "chat.getMessages.x", "constructor"):
        assert (await api.call("POST", f"{ONE}/wajs/{name}", {})).status == 403, name
    assert asked(api) == []
    answer = (await api.call("POST", path, {"arguments": [ANN, {"count": 2}]})).json()
    assert (answer["function"], answer["result"]) == ("chat.getMessages", [1])
    assert asked(api) == [("call", ["chat.getMessages", [ANN, {"count": 2}]], False)]
    wrongs: list[Any] = ["x", {}, [0] * 11]
    for wrong in wrongs:
        assert (await api.call("POST", path, {"arguments": wrong})).json()["field"] == "arguments"
