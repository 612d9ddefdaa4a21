"""Locations, contacts, polls; reactions, edits, revocations; what is shown in a chat: how each is asked for."""

import asyncio
import functools
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from tests.waiting import wait_until
from waguard.api.route import SENDS
from waguard.api.timings import Timings
from waguard.errors import RefusedError, UnavailableError
from waguard.ports.outcomes import Refused
from waguard.wire.calls import MarkSeen, SendContent, SendMedia, SendViewOnce, ShowTyping

CHAT = "6281234567890@c.us"
TO = {"session_id": SESSION, "recipient_phone": "6281234567890"}
ME = {"session_id": SESSION}
ANI = {"name": "Ani\n", "phone": "+62 811-8000-3"}
POLL = {"question": "When?", "options": ["Mon", "Tue"]}
SENT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "location",
        {"latitude": "-6.2", "longitude": 106.8, "name": "Office", "url": ""},
        {"latitude": -6.2, "longitude": 106.8, "name": "Office"},
    ),
    ("contact", {"contacts": [ANI]}, {"contacts": [{"name": "Ani", "phone": "6281180003"}]}),
    ("poll", POLL, POLL | {"selectable": 1}),
    ("poll", POLL | {"selectable": "0"}, POLL | {"selectable": 0}),
]
DEGREES: list[Any] = [91, "nan", 1e300, True, None, [], "x", 10**400]
LISTS: list[Any] = [[], {}, "x", [ANI] * 21]
WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(("location", {"latitude": bad, "longitude": 1}, "latitude") for bad in DEGREES),
    ("location", {"latitude": 1, "longitude": -180.1}, "longitude"),
    *(("contact", {"contacts": bad}, "contacts") for bad in LISTS),
    ("contact", {"contacts": [ANI, 1]}, "contacts[1]"),
    ("contact", {"contacts": [{"phone": "6281180003"}]}, "contacts[0].name"),
    ("contact", {"contacts": [{"name": "Ani", "phone": "x"}]}, "contacts[0].phone"),
    ("poll", POLL | {"question": " "}, "question"),
    *(
        ("poll", POLL | {"options": bad}, "options")
        for bad in (["a"], ["a", "a"], "ab", ["a"] * 13)
    ),
    ("poll", POLL | {"options": ["a", "b" * 101]}, "options[1]"),
    ("poll", POLL | {"selectable": 3}, "selectable"),
]


async def test_what_is_neither_text_nor_file(api: Api) -> None:
    for kind, fields, content in SENT:
        answer = await api.call("POST", f"/api/messages/send-{kind}", TO | fields)
        assert answer.status == 200, answer.content
        call = api.sessions.sends()[-1]
        assert isinstance(call, SendContent)
        assert (call.kind, call.content, call.chat, call.target) == (kind, content, CHAT, None)


async def test_what_is_wrong_is_named(api: Api) -> None:
    for kind, fields, name in WRONG:
        answer = await api.call("POST", f"/api/messages/send-{kind}", TO | fields)
        assert (answer.status, answer.json()["field"]) == (400, name), (kind, fields)
    assert api.sessions.sends() == []


async def test_an_action_by_either_id(api: Api) -> None:
    sent = await api.call("POST", "/api/messages/send", TO | {"message": "hi"})
    ours = sent.json()["message_id"]
    number = (await api.call("GET", f"/api/messages/{ours}")).json()["id"]
    theirs = "false_628118-77@g.us_3EB0A1_123456789012345@lid"
    cases: list[tuple[Any, str, dict[str, Any], str, str | None]] = [
        (number, "edit", {"message": "new"}, ours, "new"),
        (ours, "revoke", {}, ours, None),
        (theirs, "reaction", {"reaction": "👍"}, theirs, "👍"),
        (theirs, "reaction", {"reaction": ""}, theirs, ""),
    ]
    for given, kind, fields, target, text in cases:
        answer = await api.call("POST", f"/api/messages/{given}/{kind}", ME | fields)
        assert answer.status == 200, answer.content
        call = api.sessions.sends()[-1]
        assert isinstance(call, SendContent)
        assert (call.kind, call.target, call.content.get("text")) == (kind, target, text)
        assert (call.chat, call.first_contact_check) == (target.split("_")[1], False)
    listed = (await api.call("GET", "/api/messages")).json()["messages"]
    assert [it["type"] for it in listed] == ["reaction", "reaction", "revoke", "edit", "text"]
    api.sessions.outcomes.append(Refused(RefusedError("only its author …", field="id")))
    answer = await api.call("POST", f"/api/messages/{theirs}/revoke", ME)
    assert (answer.status, answer.json()["field"]) == (422, "id")
    for given, status in ((listed[0]["id"], 404), (99, 404), ("true_1", 400)):
        answer = await api.call("POST", f"/api/messages/{given}/revoke", ME)
        assert answer.status == status, given
    wrong: list[dict[str, Any]] = [{}, {"reaction": "x" * 65}, {"reaction": 1}]
    for fields in wrong:
        answer = await api.call("POST", f"/api/messages/{number}/reaction", ME | fields)
        assert (answer.status, answer.json()["field"]) == (400, "reaction")


@pytest.mark.parametrize("timings", [Timings(request=0.05)])
async def test_none_is_cut_off_by_the_end_of_other_requests(api: Api) -> None:
    """Who is answered "try again" sends it again."""
    one = f"/api/messages/true_{CHAT}_3EB0A1"
    cases: list[tuple[str, dict[str, Any]]] = [
        ("/api/messages/send", {"message": "hi"}),
        ("/api/messages/send-media", {"media": "data:image/png;base64,aGk="}),
        *((f"/api/messages/send-{kind}", fields) for kind, fields, _ in SENT[:1]),
        ("/api/messages/send-contact", {"contacts": [{"name": "A", "phone": "628123"}]}),
        ("/api/messages/send-poll", POLL),
        (f"{one}/reaction", {"reaction": "x"}),
        (f"{one}/edit", {"message": "new"}),
        (f"{one}/revoke", {}),
    ]
    assert len(cases) == len(SENDS)

    def began(before: int) -> bool:
        return len(api.sessions.sends()) > before

    for path, fields in cases:
        api.sessions.free.clear()
        before = len(api.sessions.sends())
        sending = asyncio.create_task(api.call("POST", path, TO | fields))
        await wait_until(functools.partial(began, before), f"{path} is on its way")
        other = await api.call("POST", f"/api/sessions/{SESSION}/reconnect")
        assert other.status == 503, "which began later, and is over"
        api.sessions.free.set()
        assert (await sending).status == 200, path


async def test_another_sessions_message_is_not_there(api: Api) -> None:
    sent = await api.call("POST", "/api/messages/send", TO | {"message": "hi"})
    number = (await api.call("GET", f"/api/messages/{sent.json()['message_id']}")).json()["id"]
    await api.call("POST", "/api/sessions", {"session_id": "other", "workspace_id": 1})
    answer = await api.call("POST", f"/api/messages/{number}/revoke", {"session_id": "other"})
    assert answer.status == 404
    assert len(api.sessions.sends()) == 1


async def test_seen_and_typing_are_now_or_never(api: Api) -> None:
    chat = f"/api/sessions/{SESSION}/chats/6281234567890"
    for path, body, call in [
        ("seen", None, MarkSeen(chat=CHAT)),
        ("typing", {}, ShowTyping(chat=CHAT, state="typing")),
        ("typing", {"state": "paused"}, ShowTyping(chat=CHAT, state="paused")),
    ]:
        assert (await api.call("POST", f"{chat}/{path}", body)).status == 200
        assert api.sessions.calls[-1] == (SESSION, call, 0)
    api.sessions.values.append(UnavailableError("Session not ready", retry_after=2))
    assert (await api.call("POST", f"{chat}/seen")).status == 503
    assert (await api.call("POST", f"{chat}/typing", {"state": "x"})).json()["field"] == "state"
    other = f"/api/sessions/{SESSION}/chats/x/seen"
    assert (await api.call("POST", other)).json()["field"] == "chat_id"


OPUS = b"OggS" + bytes(24) + b"OpusHead"


@pytest.mark.parametrize("mimetype", ["audio/ogg; codecs=opus", "audio/ogg;codecs=opus", ""])
async def test_forms_of_a_file(api: Api, mimetype: str) -> None:
    media = {
        "media_url": f"data:{mimetype};base64,T2dnUwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE9wdXNIZWFk"
    }
    for kind, once in (("voice", False), ("voice", True), ("image", True)):
        body = TO | media | {"type": kind, "view_once": once}
        answer = await api.call("POST", "/api/messages/send-media", body)
        assert answer.status == 200, answer.content
        call = api.sessions.sends()[-1]
        assert isinstance(call, SendMedia)
        assert (call.kind, isinstance(call, SendViewOnce), call.content) == (kind, once, OPUS)
        assert kind != "voice" or call.mimetype == "audio/ogg; codecs=opus"
    for more, field in (
        ({"type": "sticker"}, "type"),
        ({"type": "document", "view_once": True}, "view_once"),
        ({"type": "ptv"}, "type"),
    ):
        answer = await api.call("POST", "/api/messages/send-media", TO | media | more)
        assert (answer.status, answer.json()["field"]) == (400, field)
