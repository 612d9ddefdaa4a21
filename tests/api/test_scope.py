"""Who has a key for one session learns nothing of another one, whatever is asked."""

import asyncio
import hashlib
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from tests.api.conftest import KEY, Answer, Api
from tests.api.fake_sessions import BLOCKED, HEALTHY, SESSION, WORKSPACE, a_view
from tests.api.test_events import streaming
from tests.api.test_rights import received
from tests.store.memory import Account
from waguard.api import rights
from waguard.api.deps import CALLER
from waguard.api.rights import Narrowing
from waguard.api.timings import Timings
from waguard.core.keys import Caller, Right
from waguard.core.messages.inbox import EventPayload
from waguard.core.replace import replace
from waguard.core.replace import replace as replaced
from waguard.core.webhooks.delivery import Cause
from waguard.errors import NotFoundError, NumberLinkedError, UnavailableError
from waguard.ports.store import AuditEntry
from waguard.ports.webhooks import GLOBAL
from waguard.wire.calls import Value

OTHER, OTHER_WORKSPACE = "another_session", 2
PICTURE = b"a picture"
NAME = hashlib.sha256(PICTURE).hexdigest()
TEXT = {"recipient_phone": "6281234567890", "message": "hello"}
BULK = {"recipients": ["6281234567890"], "message": "hello"}


def a_caller(right: Right = Right.ADMIN, **narrowed: Any) -> Caller:
    return Caller(name="k", right=right, **narrowed)


BY_SESSION: dict[str, Any] = {"sessions": frozenset({SESSION})}
BY_WORKSPACE: dict[str, Any] = {"workspaces": frozenset({WORKSPACE})}
both_ways = pytest.mark.parametrize("narrowed", [BY_SESSION, BY_WORKSPACE])


@pytest.fixture
def world(api: Api) -> Api:
    """Two sessions in two workspaces; the caller's key is for the first."""
    api.sessions.known[OTHER] = a_view(session_id=OTHER, workspace_id=OTHER_WORKSPACE)
    api.store.accounts[OTHER] = Account(OTHER, OTHER_WORKSPACE)
    api.caller = a_caller(**BY_SESSION)
    return api


async def as_admin(api: Api, method: str, path: str, body: Any = None) -> Answer:
    """What the application would be answered."""
    caller, api.caller = api.caller, None
    try:
        return await api.call(method, path, body)
    finally:
        api.caller = caller


# ---- rights ----


async def test_the_right_comes_before_the_input(world: Api) -> None:
    world.caller = a_caller(Right.READ)
    for path in ("/api/sessions", "/api/messages/send", "/api/messages/bulk-send"):
        answer = await world.call("POST", path, {"nonsense": 1})
        assert answer.status == 403
        assert "the key has read" in answer.json()["error"]
        assert answer.json()["remedy"]
    assert not world.sessions.begun


async def test_a_lesser_key_gets_no_code(world: Api) -> None:
    code = EventPayload("qr_code_generated", {"raw": "2@secret"})
    await world.database.messages.write([replaced(received("k"), events=(code,))])
    messages = world.database.messages
    await messages.dead_letter_pending("gone", Cause.REMOVED, endpoint=GLOBAL, limit=9)
    [letter] = await messages.dead()
    for right, status in ((Right.READ, 403), (Right.SEND, 403), (Right.OPERATE, 200)):
        world.caller = a_caller(right)
        answer = await world.call("GET", f"/api/webhooks/dead/{letter.id}")
        assert answer.status == status
        assert (b"secret" in answer.content) is (status == 200)


@pytest.mark.parametrize("right", list(Right))
async def test_the_codes_of_the_stream_need_operate(world: Api, right: Right) -> None:
    world.caller = a_caller(right)
    world.bus.publish("qr_code_generated", SESSION, WORKSPACE, {"raw": "2@secret"})
    async with streaming(world, **{"Last-Event-ID": "0"}) as stream:
        world.bus.publish("session_ready", SESSION, WORKSPACE, {})
        names = [(await stream.event())["event"]]
        if right.includes(Right.OPERATE):
            names.append((await stream.event())["event"])
    assert names[-1] == "session_ready"
    assert names[:-1] == ["qr_code_generated"] * right.includes(Right.OPERATE)


# ---- one session ----


@both_ways
async def test_the_first_found_wins_nothing(world: Api, narrowed: dict[str, Any]) -> None:
    """A body that names another session than the path changes the one of the path."""
    world.caller = a_caller(**narrowed)
    await as_admin(world, "PUT", f"/api/sessions/{OTHER}/metadata", {"metadata": {"a": 1}})
    body = {"session_id": OTHER, "metadata": {"b": 2}}
    assert (await world.call("PUT", f"/api/sessions/{SESSION}/metadata", body)).status == 200
    assert (await world.call("GET", f"/api/sessions/{OTHER}/metadata")).status == 404
    assert await world.store.metadata(SESSION) == {"b": 2}
    assert await world.store.metadata(OTHER) != {"b": 2}


@both_ways
async def test_what_exists_elsewhere_is_not_there(world: Api, narrowed: dict[str, Any]) -> None:
    world.caller = a_caller(**narrowed)
    for path in ("/api/messages", "/api/webhooks/dead"):
        answers = [await world.call("GET", f"{path}?session_id={it}") for it in (OTHER, "none")]
        assert {it.status for it in answers} == {404}
        assert answers[0].content == answers[1].content
    head = await world.call("HEAD", f"/api/sessions/{OTHER}/status")
    assert head.status == 404
    body = TEXT | {"session_id": OTHER, "workspace_id": WORKSPACE}
    assert (await world.call("POST", "/api/messages/send", body)).status == 404
    assert not world.sessions.sends()


@both_ways
async def test_messages_of_another_session(world: Api, narrowed: dict[str, Any]) -> None:
    world.caller = a_caller(**narrowed)
    sent = await as_admin(world, "POST", "/api/messages/send?async=1", TEXT | {"session_id": OTHER})
    mine = await world.call("POST", "/api/messages/send?async=1", TEXT | {"session_id": SESSION})
    for name in (sent.json()["id"], sent.json()["message_id"]):
        for method, path in (("GET", ""), ("POST", "/cancel")):
            answer = await world.call(method, f"/api/messages/{name}{path}")
            missing = await world.call(method, f"/api/messages/987654321{path}")
            assert (answer.status, answer.content) == (404, missing.content)
    listed = (await world.call("GET", "/api/messages")).json()["messages"]
    assert [it["id"] for it in listed] == [mine.json()["id"]]


@both_ways
async def test_a_bulk_of_another_session(world: Api, narrowed: dict[str, Any]) -> None:
    world.caller = a_caller(**narrowed)
    world.configure("send", bulk_gap=3600.0)
    body = {"session_id": OTHER, "recipients": [TEXT["recipient_phone"], "6281234567891"]}
    accepted = await as_admin(world, "POST", "/api/messages/bulk-send", body | {"message": "x"})
    bulk = accepted.json()["bulk_id"]
    path = f"/api/messages/bulk/{bulk}"
    assert (await world.call("GET", f"/api/messages?bulk_id={bulk}")).json()["messages"] == []
    for method, more in (("GET", ""), ("POST", "/cancel")):
        assert (await world.call(method, f"{path}{more}")).status == 404
    assert (await as_admin(world, "GET", path)).json()["counts"]["cancelled"] == 0
    world.caller = a_caller(sessions=frozenset({OTHER}))
    assert (await world.call("POST", f"{path}/cancel")).json()["counts"]["cancelled"] > 0


@both_ways
async def test_a_dead_letter_of_another_session(world: Api, narrowed: dict[str, Any]) -> None:
    world.caller = a_caller(**narrowed)
    world.configure("webhook", url="http://127.0.0.1:9/hook")
    messages = world.database.messages
    await messages.write([received("k", session=OTHER)])
    await messages.dead_letter_pending("gone", Cause.REMOVED, endpoint=GLOBAL, limit=9)
    [letter] = await messages.dead()
    path = f"/api/webhooks/dead/{letter.id}"
    for method, more in (("GET", ""), ("POST", "/replay"), ("DELETE", "")):
        assert (await world.call(method, f"{path}{more}")).status == 404
    assert (await world.call("GET", "/api/webhooks/dead")).json()["dead"] == []
    assert await messages.dead() == [letter]
    assert (await world.call("POST", "/api/webhooks/dead/replay")).status == 403
    assert await messages.dead() == [letter]


async def test_an_id_that_is_taken_elsewhere_is_refused_as_to_everybody(world: Api) -> None:
    world.caller = a_caller(**BY_WORKSPACE)
    body = {"session_id": OTHER, "workspace_id": WORKSPACE}
    assert (await world.call("POST", "/api/sessions", body)).status == 409
    there = body | {"workspace_id": str(OTHER_WORKSPACE)}
    answer = await world.call("POST", "/api/sessions", there)
    assert (answer.status, answer.json()["field"]) == (403, "workspace_id")
    assert (await world.call("POST", "/api/sessions", body | {"session_id": "new"})).status == 201
    world.caller = a_caller(**BY_SESSION)
    again = {"session_id": SESSION, "workspace_id": WORKSPACE}
    assert (await world.call("POST", "/api/sessions", again)).status == 403


@pytest.mark.parametrize("seen", [frozenset({SESSION}), frozenset({SESSION, OTHER}), None])
async def test_whose_number_it_is_is_said_to_who_sees_it(
    world: Api, seen: frozenset[str] | None
) -> None:
    world.caller = a_caller(Right.OPERATE, sessions=seen)
    world.sessions.values.append(NumberLinkedError("6281234567890", OTHER))
    path = f"/api/sessions/{SESSION}/pairing-code"
    answer = await world.call("POST", path, {"phone_number": "6281234567890"})
    assert (answer.status, answer.json()["field"]) == (409, "phone_number")
    assert (OTHER in answer.content.decode()) is (seen is None or OTHER in seen)
    assert "is linked to this number" in answer.json()["error"]
    world.sessions.values.append(Value(text="ABCD-1234"))
    assert (await world.call("POST", path, {"phone_number": "6281234567890"})).status == 200


async def test_a_request_that_names_no_session_finds_none() -> None:
    """A handler whose session may be missing is not open by that."""
    request = make_mocked_request("GET", "/")
    request[CALLER] = a_caller(**BY_SESSION)
    with pytest.raises(NotFoundError, match="Session not found"):
        await rights.require_named(request, Narrowing.SESSION, {"session_id": None})
    await rights.require_named(request, Narrowing.LIST, {"session_id": None})


# ---- files ----


async def has_come(api: Api, *sessions: str) -> None:
    name = api.media.keep(PICTURE, "image/png")
    for session in sessions:
        it = received(f"{session}-file", {"message": {"media": {"sha256": name}}}, session)
        await api.database.messages.write([it])


@both_ways
async def test_the_file_of_another_session(world: Api, narrowed: dict[str, Any]) -> None:
    world.caller = a_caller(**narrowed)
    await has_come(world, OTHER)
    answer = await world.call("GET", f"/api/media/{NAME}")
    missing = await world.call("GET", f"/api/media/{'0' * 64}")
    assert (answer.status, answer.content) == (404, missing.content)
    assert (await as_admin(world, "GET", f"/api/media/{NAME}")).content == PICTURE
    await has_come(world, SESSION)
    assert (await world.call("GET", f"/api/media/{NAME}")).content == PICTURE
    for wild in ("%25", "_" * 64, NAME.upper()):
        assert (await world.call("GET", f"/api/media/{wild}")).status == 404


async def test_whether_a_file_is_here_costs_nobody_else_less_time(world: Api) -> None:
    """The database is asked first, and for each: without it nothing is said of either."""
    await has_come(world, OTHER)
    await world.database.close()
    for name in (NAME, "0" * 64):
        assert (await world.call("GET", f"/api/media/{name}")).status == 503


# ---- lists ----


@both_ways
async def test_lists_are_about_its_sessions(world: Api, narrowed: dict[str, Any]) -> None:
    world.caller = a_caller(**narrowed)
    conditions = tuple(replaced(BLOCKED, session=it) for it in (SESSION, OTHER, None))
    world.sessions.status = replace(HEALTHY, conditions=conditions, total=2)
    for at, session in enumerate((SESSION, OTHER, None)):
        entry = AuditEntry(session_id=session, kind="parked", reason="x", at=float(at))
        await world.store.record(entry)
    paths = ("/health/detailed?removed=1", "/metrics", "/api/sessions", "/api/incidents/all")
    for path in paths:
        answer = await world.call("GET", path)
        assert answer.status == 200
        assert SESSION in answer.content.decode()
        assert OTHER not in answer.content.decode(), path
        assert OTHER in (await as_admin(world, "GET", path)).content.decode()
    health = (await world.call("GET", "/health/detailed")).json()
    assert [it["session_id"] for it in health["conditions"]] == [SESSION]
    assert len(health["problems"]) == 1
    [incident] = (await world.call("GET", "/api/incidents/all")).json()["incidents"]
    assert incident["session_id"] == SESSION
    assert (await world.call("GET", "/api/sessions")).json()["total"] == 1
    metrics = (await world.call("GET", "/metrics")).content.decode()
    assert 'session=""' not in metrics
    assert 'waguard_sessions{status="connected"} 1.0' in metrics
    for name in ("waguard_webhooks_dead", "process_resident", "waguard_degraded"):
        assert name not in metrics
        assert name in (await as_admin(world, "GET", "/metrics")).content.decode()


async def test_sessions_that_are_unknown_are_none_of_a_workspace_yet(world: Api) -> None:
    """Unknown is not empty."""
    world.sessions.fail = UnavailableError("the sessions are not read yet", retry_after=1)
    world.caller = a_caller(**BY_WORKSPACE)
    for path in ("/api/sessions", "/api/messages", "/metrics", f"/api/media/{NAME}"):
        assert (await world.call("GET", path)).status == 503
    world.caller = a_caller(**BY_SESSION)
    assert (await world.call("GET", "/api/messages")).status == 200
    assert (await world.call("GET", f"/api/sessions/{OTHER}/status")).status == 404


async def test_health_is_never_narrowed(world: Api) -> None:
    world.caller = a_caller(Right.READ, sessions=frozenset())
    world.sessions.status = replace(HEALTHY, total=2, connected=2)
    with_key, without = [await world.call("GET", "/health", key=key) for key in (KEY, None)]
    assert with_key.json()["sessions"] == without.json()["sessions"]
    assert with_key.json()["sessions"]["total"] == 2


# ---- the stream ----


@both_ways
async def test_the_stream_and_what_it_replays(world: Api, narrowed: dict[str, Any]) -> None:
    world.caller = a_caller(**narrowed)

    def publish(word: str) -> None:
        for session, workspace in ((OTHER, OTHER_WORKSPACE), (None, None), (SESSION, WORKSPACE)):
            world.bus.publish("message_received", session, workspace, {"word": word})

    publish("before")
    async with streaming(world, "?last_event_id=0") as stream:
        publish("now")
        found = [await stream.event() for _ in range(2)]
    assert [(it["session_id"], it["data"]["word"]) for it in found] == [
        (SESSION, "before"),
        (SESSION, "now"),
    ]


@pytest.mark.parametrize("timings", [Timings(all_said_after=0.05, comment_every=0.05)])
async def test_events_of_others_hold_up_no_comment(world: Api) -> None:
    """Neither does a proxy close the stream, nor can its client hear that others are busy."""

    async def chatter() -> None:
        while True:
            world.bus.publish("message_received", OTHER, OTHER_WORKSPACE, {})
            await asyncio.sleep(0.001)

    async with streaming(world) as stream:
        others = asyncio.create_task(chatter())
        try:
            comments = [await stream.block() for _ in range(3)]
        finally:
            others.cancel()
    assert all(it.keys() == {""} for it in comments)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/api/sessions/{OTHER}/status", None),
        ("GET", f"/api/webhooks/dead?session_id={OTHER}", None),
        ("PUT", f"/api/sessions/{OTHER}/metadata", {"metadata": {}}),
        ("POST", f"/api/sessions/{OTHER}/stop", {}),
        ("POST", f"/api/sessions/{OTHER}/logout", {}),
        ("DELETE", f"/api/sessions/{OTHER}", {}),
        ("POST", "/api/messages/send", TEXT | {"session_id": OTHER}),
        ("POST", "/api/messages/bulk-send", {**BULK, "session_id": OTHER}),
    ],
)
async def test_a_request_that_names_another_workspace_finds_no_session(
    world: Api, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """As api.md promises to an application that has one key for all of its tenants."""
    world.caller = None
    mark = "&" if "?" in path else "?"

    async def ask(workspace: Any) -> list[int]:
        ways = [(f"{path}{mark}workspace_id={workspace}", body)]
        if body is not None:
            ways.append((path, body | {"workspace_id": workspace}))
        return [(await world.call(method, *way)).status for way in ways]

    assert set(await ask(WORKSPACE)) == {404}
    assert not world.sessions.done
    assert not world.sessions.sends()
    assert max(await ask(OTHER_WORKSPACE)) < 300


async def test_what_is_no_workspace_is_refused_only_where_one_is_asked_for(
    world: Api, subtests: pytest.Subtests
) -> None:
    """It may be a client's way to write none."""
    world.caller = None
    stop, send = f"/api/sessions/{OTHER}/stop", "/api/messages/send"
    text = TEXT | {"session_id": OTHER}
    nones: list[Any] = [0, "0", "abc", False, 1.5, [], {"id": WORKSPACE}]
    for none in nones:
        with subtests.test(none=none):
            for path, body, status in ((stop, {}, 200), (send, text, 400)):
                ways = [(path, body | {"workspace_id": none}), (f"{path}?workspace_id=0", body)]
                answers = [await world.call("POST", *way) for way in ways]
                assert {it.status for it in answers} == {status}
    assert (await world.call("GET", f"/api/sessions/{OTHER}/status?workspace_id=x")).status == 200


async def test_a_session_without_a_row_is_of_no_other_workspace(world: Api) -> None:
    world.caller = None
    path = "/api/webhooks/held/discard"
    for session, status in (("gone", 200), (OTHER, 404)):
        body = {"session_id": session, "workspace_id": WORKSPACE}
        assert (await world.call("POST", path, body)).status == status
    world.caller = a_caller(**BY_WORKSPACE)
    assert (await world.call("POST", path, {"session_id": "gone"})).status == 404
