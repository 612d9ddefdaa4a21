"""A session's own receiver, and the dead letters."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION, WORKSPACE
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind, event_id
from waguard.core.webhooks.delivery import OLD_SERVICE, Cause
from waguard.core.webhooks.pending import DeliveryResult
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.webhooks.endpoints import Endpoints
from waguard.ports.store import SessionRow
from waguard.ports.webhooks import GLOBAL
from waguard.supervision.session import application_events as translate
from waguard.wire.events import InboundMessage

HOOK = f"/api/sessions/{SESSION}/webhook"
DEAD = "/api/webhooks/dead"
HELD = "/api/webhooks/held"
SECRET = "a secret of the session"


async def letters(
    api: Api,
    count: int,
    why: str = "the receiver answered 404",
    *,
    cause: Cause = Cause.REMOVED,
) -> list[int]:
    """Dead letters of a receiver that is set; their numbers, oldest first."""
    api.configure("webhook", url="http://127.0.0.1:9/hook")
    entries = []
    for number in range(count):
        message = {"id": f"false_c_{number}", "n": number}
        received = InboxRecord(
            session_id=SESSION,
            workspace_id=WORKSPACE,
            key=f"k{number}",
            kind=Kind.MESSAGE,
            at=1.0,
            events=(EventPayload("message_received", {"message": message}),),
        )
        entries.append(received)
    await api.database.messages.write(entries)
    await api.database.messages.dead_letter_pending(why, cause, endpoint=GLOBAL, limit=1_000)
    return sorted(letter.id for letter in await api.database.messages.dead(limit=1_000))


async def test_a_webhook_is_set_shown_and_removed_and_its_secret_never_shown(api: Api) -> None:
    assert (await api.call("GET", HOOK)).status == 404
    body = {"url": "https://app.example/hook", "secret": SECRET}
    shown = {"success": True, "session_id": SESSION, "url": body["url"], "signed": True}
    shown |= {"hold": True, "events": list(OLD_SERVICE), "fields": "application"}
    answer = await api.call("PUT", HOOK, body)
    assert (answer.status, answer.json()) == (200, shown)
    assert (await api.call("GET", HOOK)).json() == shown
    for query, listed in (
        ("", [shown]),
        (f"?session_id={SESSION}", [shown]),
        ("?session_id=b", []),
    ):
        found = (await api.call("GET", f"/api/webhooks/receivers{query}")).json()
        assert [{"success": True, **it} for it in found["receivers"]] == listed, query
    kept = await api.webhooks.endpoints.find(SESSION)
    assert kept is not None
    assert kept.secret == SECRET
    answer = await api.call("PUT", HOOK, {"url": "https://b.example/"})
    assert (answer.json()["url"], answer.json()["signed"]) == ("https://b.example/", False)
    assert (await api.call("DELETE", HOOK)).status == 200
    assert (await api.call("DELETE", HOOK)).status == 404
    assert (await api.call("GET", HOOK)).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "ftp://app.example/"}, "url"),
        ({"url": "http://localhost:8000/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "https://me:sesame@app.example/"}, "url"),
        ({"url": "https://app.example/", "secret": "short"}, "secret"),
        ({"url": "https://app.example/", "hold": "no"}, "hold"),
        ({"url": "https://app.example/", "fields": "some"}, "fields"),
        ({"url": "https://app.example/", "fields": {}}, "fields"),
        ({"url": "https://app.example/", "events": "message_sent"}, "events"),
        ({"url": "https://app.example/", "events": ["message_seen"]}, "events"),
        ({"url": "https://app.example/", "secret": "x" * 2_000}, "secret"),
        ({"url": "https://app.example/", "secret": "with\na line end, long"}, "secret"),
    ],
)
async def test_what_is_no_webhook(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.call("PUT", HOOK, body)
    assert (answer.status, answer.json()["field"]) == (400, field)
    assert b"sesame" not in answer.content
    assert (await api.call("GET", HOOK)).status == 404


async def test_a_private_address_needs_the_configurations_leave(api: Api) -> None:
    refused = (await api.call("PUT", HOOK, {"url": "http://127.0.0.1:8000/"})).json()
    assert refused["error"].endswith("it is a private address (allow_private)"), "no (got None)"
    assert "webhook.allow_private = true" in refused["remedy"]
    api.configure("webhook", allow_private=True)
    assert (await api.call("PUT", HOOK, {"url": "http://127.0.0.1:8000/"})).status == 200
    answer = await api.call("PUT", HOOK, {"url": "http://169.254.169.254/"})
    assert (answer.status, answer.json()["remedy"]) == (400, "use another address")


async def test_an_unknown_session_has_none(api: Api) -> None:
    path = "/api/sessions/unknown/webhook"
    for method, body in (("GET", None), ("PUT", {"url": "https://a.example/"}), ("DELETE", None)):
        assert (await api.call(method, path, body)).status == 404


async def test_a_deleted_session_keeps_its_webhook_until_it_is_purged(api: Api) -> None:
    await api.call("PUT", HOOK, {"url": "https://app.example/hook"})
    assert (await api.call("DELETE", f"/api/sessions/{SESSION}")).status == 200
    assert (await api.call("GET", HOOK)).json()["url"] == "https://app.example/hook"
    assert (await api.call("DELETE", f"/api/sessions/{SESSION}?purge=1")).status == 200
    assert await api.webhooks.endpoints.find(SESSION) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", HOOK),
        ("PUT", HOOK),
        ("DELETE", HOOK),
        ("GET", DEAD),
        ("GET", f"{DEAD}/1"),
        ("DELETE", f"{DEAD}/1"),
        ("POST", f"{DEAD}/1/replay"),
        ("POST", f"{DEAD}/replay"),
        ("GET", HELD),
        ("POST", f"{HELD}/discard"),
    ],
)
async def test_a_key_is_needed(api: Api, method: str, path: str) -> None:
    assert (await api.call(method, path, key=None)).status == 401


async def test_dead_letters_are_listed_without_their_bodies(api: Api) -> None:
    numbers = await letters(api, 120)
    reported = (await api.call("GET", DEAD)).json()
    assert [one["id"] for one in reported["dead"]] == numbers[:19:-1]
    first = reported["dead"][0]
    assert (first["event"], first["endpoint"], first["session_id"]) == (
        "message_received",
        "global",
        SESSION,
    )
    assert first["error"] == "the receiver answered 404"
    assert first["died_at"].endswith("Z")
    assert "body" not in first
    reported = (await api.call("GET", f"{DEAD}?before={reported['before']}")).json()
    assert [one["id"] for one in reported["dead"]] == numbers[19::-1]
    assert reported["before"] is None
    assert (await api.call("GET", f"{DEAD}?session_id=other")).json()["dead"] == []
    assert len((await api.call("GET", f"{DEAD}?session_id={SESSION}")).json()["dead"]) == 100


async def test_one_is_shown_replayed_and_discarded(api: Api) -> None:
    first, second, third = await letters(api, 3)
    reported = (await api.call("GET", f"{DEAD}/{second}")).json()
    assert reported["body"]["event"] == "message_received"
    assert reported["body"]["data"]["message"]["n"] == 1
    assert (await api.call("DELETE", f"{DEAD}/{first}")).status == 200
    assert (await api.call("POST", f"{DEAD}/{second}/replay")).json()["replayed"] == 1
    [waiting], _ = await api.database.messages.pending(GLOBAL, after=0, limit=10)
    assert waiting.event_id == event_id(SESSION, "k1", "message_received")
    for method, path in (
        ("GET", f"{DEAD}/{first}"),
        ("DELETE", f"{DEAD}/{first}"),
        ("POST", f"{DEAD}/{second}/replay"),
        ("GET", f"{DEAD}/{waiting.id}"),
    ):
        assert (await api.call(method, path)).status == 404
    assert [one["id"] for one in (await api.call("GET", DEAD)).json()["dead"]] == [third]


async def test_all_are_replayed_also_more_than_are_taken_at_once(api: Api) -> None:
    await letters(api, 500)
    assert (await api.call("POST", f"{DEAD}/replay")).json()["replayed"] == 500
    assert (await api.call("POST", f"{DEAD}/replay")).json()["replayed"] == 0
    waiting, _ = await api.database.messages.pending(GLOBAL, after=0, limit=1_000)
    assert [item.event_id for item in waiting] == [
        event_id(SESSION, f"k{number}", "message_received") for number in range(500)
    ]


@pytest.mark.parametrize("number", ["x", "-1", "1" * 30, "1.5", "%00"])
async def test_what_is_no_number(api: Api, number: str) -> None:
    wanted = 404 if number in {"x", "%00"} else 400  # what has no digit may be another route
    assert (await api.call("GET", f"{DEAD}/{number}")).status == wanted
    assert (await api.call("GET", f"{DEAD}?before={number}")).status == 400


async def test_the_database_is_away(api: Api) -> None:
    await api.database.close()
    for method, path in (("GET", DEAD), ("POST", f"{DEAD}/replay"), ("GET", HOOK)):
        answer = await api.call(method, path)
        assert answer.status == DatabaseUnavailableError.status
        assert "Retry-After" in answer.headers


async def test_one_without_a_receiver_is_not_replayed_and_it_is_said(api: Api) -> None:
    first, _ = await letters(api, 2)
    api.configure("webhook", url=None)
    answer = await api.call("POST", f"{DEAD}/{first}/replay")
    assert (answer.status, answer.json()["field"]) == (409, "number")
    assert "webhook.url" in answer.json()["error"]
    assert (await api.call("POST", f"{DEAD}/replay")).json()["replayed"] == 0
    assert len((await api.call("GET", DEAD)).json()["dead"]) == 2


async def test_dead_letters_can_be_asked_for_by_state(api: Api) -> None:
    first, second = await letters(api, 2)
    assert await api.database.messages.replay(first, first, [GLOBAL])
    [item], _ = await api.database.messages.pending(GLOBAL, after=0, limit=9)
    unsure = DeliveryResult(
        id=item.id, event_id=item.event_id, attempts=1, error="unsure", cause=Cause.UNCERTAIN
    )
    await api.database.messages.write([], [unsure])
    reported = (await api.call("GET", f"{DEAD}?state=uncertain")).json()["dead"]
    assert [(one["id"], one["state"], one["cause"]) for one in reported] == [
        (item.id, "uncertain", "uncertain")
    ]
    reported = (await api.call("GET", f"{DEAD}?state=dead")).json()["dead"]
    assert [one["id"] for one in reported] == [second]
    answer = await api.call("GET", f"{DEAD}?state=lost")
    assert (answer.status, answer.json()["field"]) == (400, "state")


async def test_what_waits_can_be_discarded_by_a_person(api: Api) -> None:
    await letters(api, 1)
    assert (await api.call("POST", f"{DEAD}/replay")).json()["replayed"] == 1
    assert (await api.call("GET", HELD)).json() == {"success": True, "held": []}
    answer = await api.call("POST", f"{HELD}/discard", {"session_id": SESSION})
    assert answer.json() == {"success": True, "discarded": 1}
    [letter] = (await api.call("GET", DEAD)).json()["dead"]
    assert "discarded" in letter["error"]
    assert (await api.call("POST", f"{HELD}/discard", {"session_id": "../x"})).status == 400


async def test_what_waits_is_unknown_until_it_was_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Endpoints, "is_loaded", False)
    answer = await api.call("GET", HELD)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


LID, OTHER = "7000001@lid", "7000002@lid"
UNIDENTIFIED = "/api/webhooks/unidentified"


async def of_nobody(api: Api, chat: str, stem: str) -> None:
    """A message whose sender's number nobody knows waits, and has been waiting for long."""
    row = SessionRow(
        session_id=SESSION,
        workspace_id=WORKSPACE,
        status="connected",
        desired_up=True,
        generation=1,
    )
    reported = InboundMessage(
        id=f"false_{chat}_{stem}",
        chat=chat,
        sender=chat,
        to="6281180001@c.us",
        body=stem,
        timestamp=1,
        from_me=False,
        kind="chat",
    )
    [received] = translate.received(row, reported, 1.0)
    await api.database.messages.write([received])


async def test_chats_of_nobody_are_listed_replayed_and_discarded(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.configure("webhook", url="http://127.0.0.1:9/hook")
    await of_nobody(api, LID, "A")
    await of_nobody(api, LID, "B")
    await of_nobody(api, OTHER, "X")
    assert (await api.call("GET", UNIDENTIFIED)).json() == {"success": True, "unidentified": []}
    database = api.database._database
    wall = database.wall
    monkeypatch.setattr(database, "wall", lambda: wall() + 901.0)
    reported = (await api.call("GET", UNIDENTIFIED)).json()["unidentified"]
    assert [(one["session_id"], one["chat_id"], one["count"]) for one in reported] == [
        (SESSION, LID, 2),
        (SESSION, OTHER, 1),
    ]
    assert reported[0]["since"].endswith("Z")
    letters = (await api.call("GET", f"{DEAD}?state=unidentified")).json()["dead"]
    assert [one["chat_id"] for one in letters] == [OTHER, LID, LID]
    chat = {"session_id": SESSION, "chat_id": LID}
    answer = await api.call("POST", f"{UNIDENTIFIED}/replay", chat)
    assert (answer.status, answer.json()) == (200, {"success": True, "replayed": 2})
    assert (await api.call("POST", f"{UNIDENTIFIED}/replay", chat)).status == 404
    answer = await api.call("POST", f"{UNIDENTIFIED}/discard", chat | {"chat_id": OTHER})
    assert (answer.status, answer.json()) == (200, {"success": True, "discarded": 1})
    assert (await api.call("POST", f"{UNIDENTIFIED}/discard", chat)).status == 404
    assert (await api.call("GET", UNIDENTIFIED)).json()["unidentified"] == []


async def test_a_chat_of_nobody_without_a_receiver_is_kept(api: Api) -> None:
    await of_nobody(api, LID, "A")
    answer = await api.call(
        "POST", f"{UNIDENTIFIED}/replay", {"session_id": SESSION, "chat_id": LID}
    )
    assert answer.status == 409


@pytest.mark.parametrize(
    "body", [{}, {"session_id": SESSION}, {"session_id": SESSION, "chat_id": 7}]
)
@pytest.mark.parametrize("verb", ["replay", "discard"])
async def test_a_chat_of_nobody_has_a_session_and_an_id(
    api: Api, body: dict[str, Any], verb: str
) -> None:
    assert (await api.call("POST", f"{UNIDENTIFIED}/{verb}", body)).status == 400
