"""Each cell of the table in docs/rights.md, tried: every route, with every right, with each kind of scope that counts."""

import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.api.conftest import KEY, Answer, Api
from tests.api.fake_cluster import one_host
from tests.api.fake_sessions import BLOCKED, HEALTHY, SESSION, WORKSPACE, a_view
from tests.api.fake_versions import ADDED
from tests.api.rights import LEFT_OUT, NO, NOTHING, NOTHING_OF_THEM, TARGET, YES, Rule, rules, table
from tests.api.test_webhooks import LID, of_nobody
from waguard.api.auth import APPLICATION
from waguard.api.deps import ASK_HOSTS, KEY_SHARING
from waguard.api.rights import Narrowing
from waguard.core.issued_keys import IssuedKey, Wanted
from waguard.core.keys import Caller, Right
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.core.replace import replace
from waguard.core.replace import replace as replaced
from waguard.core.webhooks.delivery import Cause
from waguard.messaging.webhooks.endpoint_queues import Held
from waguard.ports.store import AuditEntry
from waguard.ports.webhooks import GLOBAL, Endpoint

OTHER, OTHER_WORKSPACE = "another_session", 2
MISSING = "no_such_session"
PICTURE = b"a picture"
CHAT = "6281234567890"
GROUPS = "/api/sessions/{session_id}/groups"
NAMES = {
    "group_id": "120363000000000001@g.us",
    "chat_id": CHAT,
    "numbers": CHAT,
    "function": "conn.isOnline",
    "host": "h1",
}
SCOPES: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "its session": {"sessions": frozenset({SESSION})},
    "its workspace": {"workspaces": frozenset({WORKSPACE})},
    "both": {"workspaces": frozenset({OTHER_WORKSPACE}), "sessions": frozenset({SESSION})},
    "another session": {"sessions": frozenset({OTHER})},
    "another workspace": {"workspaces": frozenset({OTHER_WORKSPACE})},
    "nothing": {"workspaces": frozenset(), "sessions": frozenset()},
}
OUTSIDE: Final = frozenset({"another session", "another workspace", "nothing"})
TEXT = {"session_id": SESSION, "recipient_phone": CHAT, "message": "hello"}
UNIDENTIFIED = {"session_id": SESSION, "chat_id": LID}


@dataclass(frozen=True)
class Asked:
    """One request about the session, and what makes it one about something that is not there."""

    path: str
    body: Any = None
    missing: tuple[str, str] = (SESSION, MISSING)


async def create_letter(api: Api, number: int) -> int:
    """A dead letter of the session; its number."""
    message = {"id": f"false_c_{number}"}
    await api.database.messages.write([received(f"k{number}", {"message": message})])
    await api.database.messages.dead_letter_pending("gone", Cause.REMOVED, endpoint=GLOBAL, limit=9)
    return (await api.database.messages.dead(limit=1))[0].id


def received(key: str, data: dict[str, Any] | None = None, session: str = SESSION) -> InboxRecord:
    return InboxRecord(
        session_id=session,
        workspace_id=WORKSPACE,
        key=key,
        kind=Kind.MESSAGE,
        at=1.0,
        events=(EventPayload("message_received", data or {}),),
    )


async def create_message(api: Api) -> int:
    """A message of the session that goes in an hour; its number."""
    api.caller = None
    body = TEXT | {"send_at": time.time() + 3600}
    answer = await api.call("POST", "/api/messages/send", body)
    return int(answer.json()["id"])


async def create_bulk(api: Api, number: int) -> str:
    body = {"session_id": SESSION, "recipients": [CHAT], "message": f"bulk {number}"}
    return str((await api.call("POST", "/api/messages/bulk-send", body)).json()["bulk_id"])


async def of_letter(api: Api, rule: Rule, number: int) -> Asked:
    letter = str(await create_letter(api, number))
    return Asked(rule.path.format(number=letter), missing=(letter, f"9{letter}"))


async def of_message(api: Api, rule: Rule, _: int) -> Asked:
    message = str(await create_message(api))
    return Asked(rule.path.format(id=message), missing=(message, f"9{message}"))


async def of_bulk(api: Api, rule: Rule, number: int) -> Asked:
    bulk = await create_bulk(api, number)
    return Asked(rule.path.format(bulk_id=bulk), missing=(bulk, bulk[::-1].replace("-", "0")))


async def of_file(api: Api, rule: Rule, number: int) -> Asked:
    name = api.media.keep(PICTURE, "image/png")
    record = received(f"file{number}", {"message": {"media": {"sha256": name}}})
    await api.database.messages.write([record])
    return Asked(rule.path.format(sha256=name), missing=(name, hashlib.sha256(b"").hexdigest()))


async def of_upload(api: Api, rule: Rule, _: int) -> Asked:
    kept = await api.call("POST", "/api/media", data=PICTURE)
    return Asked(rule.path.format(sha256=kept.json()["sha256"]))


async def of_deferred(api: Api, rule: Rule, number: int) -> Asked:
    name = f"false_6281@c.us_3EB0{number}"
    media = {"mimetype": "image/png", "size": 5, "sha256": None}
    record = received(name, {"message": {"media": media}})
    await api.database.messages.write([record])
    return Asked(rule.path.format(id=name), missing=(name, f"{name}9"))


async def of_unidentified(api: Api, rule: Rule, number: int) -> Asked:
    await of_nobody(api, LID, f"S{number}")
    return Asked(rule.path, UNIDENTIFIED)


async def of_receiver(api: Api, rule: Rule, _: int) -> Asked:
    endpoint = Endpoint(session_id=SESSION, url="https://app.example/hook", secret=None)
    await api.webhooks.endpoints.put(endpoint)
    body = {"url": endpoint.url} if rule.method == "PUT" else None
    return Asked(rule.path.format(session_id=SESSION), body)


async def of_unknown_database(api: Api, rule: Rule, _: int) -> Asked:
    api.control.unknown = True
    return Asked(rule.path)


async def of_list(api: Api, rule: Rule, number: int) -> Asked:
    """With something in it, long ago."""
    if not number:
        await create_letter(api, number)
        await create_message(api)
        await of_nobody(api, LID, "S")
        wall = api.database._database.wall
        api.database._database.wall = lambda: wall() + 901.0
    return Asked(rule.path)


async def create_key(api: Api, name: str) -> str:
    """A key for the session; its id."""
    body = {"name": name, "right": "read", "sessions": [SESSION]}
    return str((await api.call("POST", "/api/keys", body)).json()["about"]["id"])


async def issued(api: Api, like: Caller) -> Caller:
    """As this caller, by an issued key."""
    wanted = Wanted(
        name=f"own{api.clock.monotonic()}",
        right=like.right,
        workspaces=None if like.workspaces is None else tuple(like.workspaces),
        sessions=None if like.sessions is None else tuple(like.sessions),
    )
    api.clock.live(1.0)
    return (await api.deps.issued_keys.create(APPLICATION, wanted, {}))[1].caller


async def of_key(api: Api, rule: Rule, number: int) -> Asked:
    key = await create_key(api, f"k{number}")
    return Asked(rule.path.format(key_id=key), missing=(key, key[::-1]))


async def of_keys(api: Api, rule: Rule, number: int) -> Asked:
    if not number:
        await create_key(api, "k")
    return Asked(rule.path)


async def of_new_key(_: Api, rule: Rule, number: int) -> Asked:
    return Asked(rule.path, {"name": f"k{number}", "right": "read", "sessions": [SESSION]})


Making = Callable[[Api, Rule, int], Awaitable[Asked]]
MADE: Final[dict[str, Making]] = {
    "{number}": of_letter,
    "{id}": of_message,
    "{bulk_id}": of_bulk,
    "{sha256}": of_file,
    "POST /api/messages/{id}/media": of_deferred,
    "GET /api/media/outgoing/{sha256}": of_upload,
    "{key_id}": of_key,
    "GET /api/keys": of_keys,
    "POST /api/keys": of_new_key,
    "/unidentified/": of_unidentified,
    "/webhook": of_receiver,
    "/database/": of_unknown_database,
    "GET /api/webhooks/dead": of_list,
    "GET /api/webhooks/receivers": of_receiver,
    "GET /api/webhooks/held": of_list,
    "GET /api/webhooks/unidentified": of_list,
    "GET /api/messages": of_list,
}
TO: Final = {key: it for key, it in TEXT.items() if key != "message"}
PATH: Final = NAMES | {"session_id": SESSION, "chat_id": "628999", "id": "false_628999@c.us_A"}
BODIES: Final[dict[str, Any]] = {
    "PUT /api/log-level": {"level": "DEBUG"},
    "POST /api/versions/pin": {"revision": 1022},
    "POST /api/versions/try": {"session_id": SESSION},
    "POST /api/wajs/try": {"sha256": ADDED, "session_id": SESSION},
    "POST /api/wajs/use": {"sha256": ADDED},
    "POST /api/sessions": {"session_id": SESSION, "workspace_id": WORKSPACE},
    "POST /api/sessions/{session_id}/move": {"to": "h1"},
    "POST /api/sessions/{session_id}/pairing-code": {"phone_number": CHAT},
    "POST /api/sessions/{session_id}/passkey/answer": {"request": "r", "assertion": {}},
    "POST /api/sessions/{session_id}/passkey/confirm": {"code": "ABCD"},
    "PUT /api/sessions/{session_id}/metadata": {"a": 1},
    "PUT /api/sessions/{session_id}/proxy": {"server": "http://10.0.0.1:3128"},
    f"POST {GROUPS}": {"name": "A group", "participants": [CHAT]},
    f"POST {GROUPS}/{{group_id}}/participants": {"participants": [CHAT]},
    f"DELETE {GROUPS}/{{group_id}}/participants": {"participants": [CHAT]},
    "POST /api/messages/send": TEXT,
    "POST /api/messages/send-media": {
        **TO,
        "media": base64.b64encode(PICTURE).decode(),
        "mimetype": "image/png",
    },
    "POST /api/media": {"the content": "of a file"},
    "POST /api/messages/send-location": TO | {"latitude": 1, "longitude": 2},
    "POST /api/messages/send-contact": TO | {"contacts": [{"name": "Ani", "phone": "628999"}]},
    "POST /api/messages/send-poll": TO | {"question": "?", "options": ["a", "b"]},
    "POST /api/messages/{id}/reaction": {"session_id": SESSION, "reaction": "x"},
    "POST /api/messages/{id}/edit": {"session_id": SESSION, "message": "x"},
    "POST /api/messages/{id}/revoke": {"session_id": SESSION},
    "POST /api/messages/bulk-send": {
        "session_id": SESSION,
        "recipients": [CHAT],
        "message": "hello",
    },
    "POST /api/webhooks/held/discard": {"session_id": SESSION},
}


async def ask(api: Api, rule: Rule, number: int) -> Asked:
    """A request that this route obeys."""
    name = f"{rule.method} {rule.path}"
    if name in BODIES:
        return Asked(rule.path.format_map(PATH), BODIES[name])
    for part, make in MADE.items():
        if part == name or (part in rule.path and name not in MADE):
            return await make(api, rule, number)
    return Asked(rule.path.format_map(PATH))


async def answered(api: Api, rule: Rule, it: Asked) -> Answer:
    """Of the event stream as much as is there."""
    if rule.path != "/api/events":
        return await api.call(rule.method, it.path, it.body)
    headers = {"X-Api-Key": KEY, "Last-Event-ID": "0"}
    async with api.http.get(api.base + it.path, headers=headers) as response:
        content = b""
        if response.status != 200:
            content = await response.read()
        while response.status == 200 and not content.endswith(b"all so far\n"):
            content += await response.content.readline()
        return Answer(response.status, response.headers, content)


class NobodyElse:
    """The other hosts of a cluster of one."""

    async def answers(self, _: str) -> dict[str, Any]:
        """To a request of this one."""
        return {}

    async def read(self) -> None:
        """See ``KeySharing``."""

    async def announce(self) -> None:
        """See ``KeySharing``."""

    async def spread(self, _: IssuedKey) -> list[str]:
        """See ``KeySharing``."""
        return []


@pytest.fixture
def world(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Two sessions in two workspaces; all that lists have is of the first one."""
    api.configure("webhook", url="http://127.0.0.1:9/hook")
    api.configure("whatsapp", call_through=(NAMES["function"],))
    api.sessions.known[OTHER] = a_view(session_id=OTHER, workspace_id=OTHER_WORKSPACE)
    api.store.entries.append(AuditEntry(session_id=SESSION, kind="parked", reason="x", at=1.0))
    api.bus.publish("message_received", SESSION, WORKSPACE, {"message": {"body": "a"}})
    condition = replaced(BLOCKED, session=SESSION)
    api.sessions.status = replace(HEALTHY, conditions=(condition,))
    object.__setattr__(api.deps, "cluster", one_host(api.base))
    api.app._state |= {KEY_SHARING: NobodyElse(), ASK_HOSTS: NobodyElse().answers}
    held = Held(session_id=SESSION, partition="c", since=1.0, why="it is away")
    monkeypatch.setattr(type(api.webhooks.queues), "held", lambda _: [held])
    return api


RULES = rules()


def test_the_page_is_the_table() -> None:
    text = TARGET.read_text()
    assert text.endswith(table()), "run python -m tests.api.rights"
    assert len(RULES) > 60


@pytest.mark.parametrize("rule", RULES, ids=lambda it: f"{it.method} {it.path}")
async def test_each_cell(world: Api, rule: Rule) -> None:
    for number, (right, scope) in enumerate(tried(rule)):
        it = await ask(world, rule, number)
        world.caller = Caller(name="k", right=right, **SCOPES[scope])
        if rule.narrows is Narrowing.ITSELF:
            world.caller = await issued(world, world.caller)
        before = done(world)
        answer = await answered(world, rule, it)
        found = cell(rule, answer, inside=scope not in OUTSIDE)
        assert found == expected(rule, right, scope), (right, scope, answer)
        if found == NO and not right.includes(rule.right):
            assert (
                f"needs the right {rule.right}, and the key has {right}" in answer.json()["error"]
            )
        if found in {NO, NOTHING}:
            assert done(world) == before
        if found == NOTHING:
            assert SESSION not in answer.content.decode()
            await require_alike(world, rule, it, answer)
        world.caller = None


def tried(rule: Rule) -> Iterator[tuple[Right, str]]:
    """Who may not at all hears so whatever the scope: one that has the session and one that has not show it."""
    for right in Right:
        for scope in SCOPES if right.includes(rule.right) else ("none", "its session", "nothing"):
            yield right, scope


def done(api: Api) -> tuple[Any, ...]:
    """What was changed so far."""
    it = api.sessions
    calls = [*it.begun, *it.done, *api.versions.done, *api.passkeys.calls, *api.log.asked]
    return (calls, dict(it.known), api.control.unknown, str(api.store.accounts))


def expected(rule: Rule, right: Right, scope: str) -> str:
    """What the table says."""
    if not right.includes(rule.right) or rule.narrows is Narrowing.HOSTS:
        return NO
    if scope == "none":
        return YES
    if rule.narrows is Narrowing.WORKSPACE and scope != "its workspace":
        return NO
    return rule.other if scope in OUTSIDE else rule.own


def cell(rule: Rule, answer: Answer, *, inside: bool) -> str:
    """What was answered, in the table's words."""
    if answer.status in {403, 404}:
        return str(answer.status)
    assert answer.status < 300, answer
    if rule.narrows is Narrowing.LIST:
        return YES if SESSION in answer.content.decode() else LEFT_OUT
    if rule.narrows is Narrowing.ITSELF:
        return YES if inside else NOTHING_OF_THEM
    return YES if inside else "answered"


async def require_alike(api: Api, rule: Rule, it: Asked, outside: Answer) -> None:
    """What is outside of a scope answers as what is not there."""
    asked, missing = it.missing
    body = None if it.body is None else json.loads(json.dumps(it.body).replace(asked, missing))
    there_is_none = await api.call(rule.method, it.path.replace(asked, missing), body)
    assert there_is_none.status == 404
    text = there_is_none.content.decode().replace(missing, asked)
    assert text == outside.content.decode()
    assert shown_headers(outside) == shown_headers(there_is_none)


def shown_headers(answer: Answer) -> dict[str, str]:
    """Those that do not differ from request to request; the length does by the names alone."""
    found = {name.lower(): value for name, value in answer.headers.items()}
    return {k: v for k, v in found.items() if k not in {"x-request-id", "date", "content-length"}}
