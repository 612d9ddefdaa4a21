"""The row of each change by the API, and GET /api/audit."""

import asyncio
import os
from typing import Any, Final

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from tests.api.conftest import KEY, Api
from tests.api.fake_cluster import Pair, one_host
from tests.api.fake_sessions import SESSION
from tests.api.fake_versions import ADDED
from tests.api.test_local_socket import Local, local_api  # noqa: F401 - a fixture
from tests.api.test_webhooks import LID, OTHER, UNIDENTIFIED, letters, of_nobody
from tests.waiting import wait_until
from waguard.api.audit import KEYLESS, LISTED, NOT_AUDITED, who
from waguard.api.deps import CALLER
from waguard.api.timings import Timings
from waguard.core.incidents.changes import CHANGE, OF_FLEET, OF_SESSION
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.errors import UnavailableError
from waguard.ports.store import AuditEntry

ONE: Final = f"/api/sessions/{SESSION}"
ME: Final = {"session_id": SESSION}
SEND: Final = {**ME, "recipient_phone": "6281234567890", "message": "a secret text"}
CHAT: Final = {**ME, "chat_id": LID}
OTHER_CHAT: Final = {**ME, "chat_id": OTHER}
PASSKEY: Final = "/api/sessions/{session_id}/passkey"
GROUPS: Final = "/api/sessions/{session_id}/groups"
GROUP, OURS = f"{GROUPS}/{{group_id}}", f"{ONE}/groups/120363000000000001@g.us"
# route → its path, its body, the session of its row; in this order, for the last ones end the session
EACH: Final[dict[str, tuple[str, Any, str | None]]] = {
    "PUT /api/log-level": ("/api/log-level", {"level": "DEBUG"}, None),
    "POST /api/database/accept": ("/api/database/accept", {}, None),
    "POST /api/restored/groups/release": ("/api/restored/groups/release", {}, None),
    "POST /api/restored/webhooks/release": ("/api/restored/webhooks/release", {}, None),
    "POST /api/reconcile": ("/api/reconcile", {}, None),
    "POST /api/versions/pin": ("/api/versions/pin", {"revision": 1022}, None),
    "POST /api/versions/unpin": ("/api/versions/unpin", {}, None),
    "POST /api/versions/try": ("/api/versions/try", {"revision": 1023, **ME}, SESSION),
    "POST /api/wajs/try": ("/api/wajs/try", {"sha256": ADDED, **ME}, SESSION),
    "POST /api/wajs/use": ("/api/wajs/use", {"sha256": ADDED}, None),
    "POST /api/keys": ("/api/keys", {"name": "ani", "right": "read"}, None),
    "POST /api/keys/ticket": ("/api/keys/ticket", {}, None),
    "DELETE /api/keys/{key_id}": ("/api/keys/{key}", {}, None),
    "POST /api/sessions": ("/api/sessions", {"session_id": "new", "workspace_id": 1}, "new"),
    "POST /api/sessions/{session_id}/regenerate-qr": (f"{ONE}/regenerate-qr", {}, SESSION),
    "POST /api/sessions/{session_id}/pairing-code": (
        f"{ONE}/pairing-code",
        {"phone_number": "6281180009"},
        SESSION,
    ),
    "DELETE /api/hosts/{host}": ("/api/hosts/h1", {}, None),
    "POST /api/hosts/{host}/drain": ("/api/hosts/h1/drain", {}, None),
    "DELETE /api/hosts/{host}/drain": ("/api/hosts/h1/drain", {}, None),
    "POST /api/sessions/{session_id}/move": (f"{ONE}/move", {"to": "h1"}, SESSION),
    f"POST {PASSKEY}/start": (f"{ONE}/passkey/start", {}, SESSION),
    f"POST {PASSKEY}/answer": (
        f"{ONE}/passkey/answer",
        {"request": "r", "assertion": {"signed": "a secret"}},
        SESSION,
    ),
    f"POST {PASSKEY}/confirm": (f"{ONE}/passkey/confirm", {"code": "SECRETCO"}, SESSION),
    f"DELETE {PASSKEY}": (f"{ONE}/passkey", {}, SESSION),
    "POST /api/sessions/{session_id}/restore": (f"{ONE}/restore", {}, SESSION),
    "POST /api/sessions/{session_id}/start": (f"{ONE}/start", {}, SESSION),
    "POST /api/sessions/{session_id}/stop": (f"{ONE}/stop", {}, SESSION),
    "POST /api/sessions/{session_id}/reconnect": (f"{ONE}/reconnect", {}, SESSION),
    "PUT /api/sessions/{session_id}/metadata": (f"{ONE}/metadata", {"it": "a secret"}, SESSION),
    "PUT /api/sessions/{session_id}/webhook": (
        f"{ONE}/webhook",
        {"url": "https://app.example/", "secret": "a secret of 16 letters"},
        SESSION,
    ),
    "PUT /api/sessions/{session_id}/proxy": (
        f"{ONE}/proxy",
        {"server": "http://10.0.0.1:3128", "username": "me", "password": "a secret"},
        SESSION,
    ),
    "DELETE /api/sessions/{session_id}/proxy": (f"{ONE}/proxy", {}, SESSION),
    "DELETE /api/sessions/{session_id}/webhook": (f"{ONE}/webhook", {}, SESSION),
    f"POST {GROUPS}": (f"{ONE}/groups", {"name": "a secret", "participants": ["62812"]}, SESSION),
    f"POST {GROUP}/participants": (f"{OURS}/participants", {"participants": ["62812"]}, SESSION),
    f"DELETE {GROUP}/participants": (f"{OURS}/participants", {"participants": ["62812"]}, SESSION),
    "POST /api/sessions/{session_id}/wajs/{function}": (
        f"{ONE}/wajs/conn.isOnline",
        {"arguments": ["a secret"]},
        SESSION,
    ),
    "POST /api/messages/bulk/{bulk_id}/cancel": ("/api/messages/bulk/{bulk}/cancel", {}, SESSION),
    "POST /api/messages/{id}/cancel": ("/api/messages/{message}/cancel", {}, SESSION),
    "POST /api/webhooks/unidentified/replay": (f"{UNIDENTIFIED}/replay", CHAT, SESSION),
    "POST /api/webhooks/unidentified/discard": (f"{UNIDENTIFIED}/discard", OTHER_CHAT, SESSION),
    "POST /api/webhooks/held/discard": ("/api/webhooks/held/discard", ME, SESSION),
    "POST /api/webhooks/dead/{number}/replay": ("/api/webhooks/dead/{dead}/replay", {}, SESSION),
    "DELETE /api/webhooks/dead/{number}": ("/api/webhooks/dead/{last}", {}, SESSION),
    "POST /api/webhooks/dead/replay": ("/api/webhooks/dead/replay", {}, None),
    "POST /api/sessions/{session_id}/logout": (f"{ONE}/logout", {}, SESSION),
    "POST /sessions/{session_id}/logout": (f"/sessions/{SESSION}/logout", {}, SESSION),
    "DELETE /api/sessions/{session_id}": (f"{ONE}?purge=1", {}, SESSION),
}
# their rows name a page's key, or who had its ticket made: see test_page_tickets.py
OF_PAGES: Final = {"DELETE /api/keys/current", "POST /api/keys/exchange"}


def rows(api: Api) -> list[AuditEntry]:
    """Of changes, without those before."""
    found = [entry for entry in api.store.entries if entry.kind == CHANGE]
    api.store.entries.clear()
    return found


def changing(api: Api) -> set[tuple[str, str]]:
    """Method and resource of each route that changes something, as the router has them."""
    served = {(it.method, it.resource.canonical) for it in api.app.router.routes() if it.resource}
    return {it for it in served if it[0] not in {"GET", "HEAD"}}


async def test_each_change_is_a_row_and_no_other_route(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every route there is: one that is new needs a line above, or is no change."""
    audited = {f"{method} {path}" for method, path in changing(api) if path not in NOT_AUDITED}
    assert audited == EACH.keys() | OF_PAGES
    assert {path for _, path in changing(api)} >= NOT_AUDITED
    assert {*OF_SESSION, *OF_FLEET} <= audited, "incidents speak of routes that are there"

    object.__setattr__(api.deps, "cluster", one_host(api.base))
    dead, *_, last = await letters(api, 3)
    api.sessions.not_ready = UnavailableError("it is not ready")
    queued = (await api.call("POST", "/api/messages/send?queue=1", SEND)).json()
    bulk = {**ME, "message": "a secret text", "recipients": ["6281234567890", "6281234567891"]}
    sent = (await api.call("POST", "/api/messages/bulk-send", bulk)).json()
    api.sessions.not_ready = None
    api.control.unknown = True
    api.configure("whatsapp", call_through=("conn.isOnline",))
    made = (await api.call("POST", "/api/keys", {"name": "nadia", "right": "send"})).json()
    assert [row.before for row in rows(api)] == ["POST /api/keys"], "sends have rows of their own"
    for chat in (LID, OTHER):
        await of_nobody(api, chat, "A")
    wall = api.database._database.wall
    monkeypatch.setattr(api.database._database, "wall", lambda: wall() + 901.0)
    for route, (path, body, session) in EACH.items():
        method = route.partition(" ")[0]
        named = {"bulk": sent["bulk_id"], "message": queued["id"], "dead": dead, "last": last}
        named["key"] = made["about"]["id"]
        answer = await api.call(method, path.format_map(named), body)
        assert 200 <= answer.status < 300, (route, answer.content)
        (row,) = rows(api)
        assert (row.session_id, row.reason, row.after) == (session, "the application", "done")
        assert row.before == route
        assert row.evidence == {
            "path": path.format_map(named).partition("?")[0],
            "status": answer.status,
            "request": answer.headers["X-Request-Id"],
            "seconds": row.evidence["seconds"],
            "address": "127.0.0.1",
        }
        assert "secret" not in str(row).lower()
    await api.call("GET", "/api/sessions")
    await api.call("POST", f"{ONE}/qr")
    assert rows(api) == []


async def test_the_row_says_who_asked(api: Api, local_api: Local) -> None:  # noqa: F811 - the fixture
    await api.call("POST", f"{ONE}/stop")
    api.configure("api", keyless_loopback=True)
    await api.call("POST", f"/sessions/{SESSION}/logout", key=None)
    async with local_api.http.post(f"http://localhost{ONE}/start") as response:
        assert response.status == 200
    await api.call("DELETE", ONE)
    shown, keyless, local, _ = rows(api)
    assert api.sessions.left == [KEYLESS, "the application"], "the quarantine names them"
    assert shown.reason == "the application"
    assert (keyless.reason, keyless.evidence["address"]) == (KEYLESS, "127.0.0.1")
    assert local.reason in {"root by the socket", f"user {os.geteuid()} by the socket"}
    assert "address" not in local.evidence


async def test_the_name_of_a_key_is_quoted_and_its_id_is_kept() -> None:
    """No key can have the name of who needs none: the quotes say that it is a key's."""
    request = make_mocked_request("POST", "/")
    request[CALLER] = Caller(name="the application\n", right=Right.ADMIN, key="k1")
    assert who(request) == 'key "the application\\n"'


async def test_what_came_of_it_is_said_and_what_changed_nothing_is_no_row(api: Api) -> None:
    async def outcome(path: str, body: Any = None) -> tuple[int, list[tuple[Any, Any]]]:
        answer = await api.call("POST", path, body)
        return answer.status, [(row.after, row.evidence["status"]) for row in rows(api)]

    assert await outcome("/api/sessions", {**ME, "workspace_id": 9}) == (409, [("refused", 409)])
    api.sessions.fail = UnavailableError("the database is away")
    assert await outcome(f"{ONE}/stop") == (503, [("failed", 503)])
    api.sessions.fail = RuntimeError("a bug")
    assert await outcome(f"{ONE}/stop") == (500, [("failed", 500)])
    api.sessions.fail = None
    assert await outcome("/api/sessions/nobody/stop") == (404, [])
    assert await outcome("/api/sessions", {"session_id": "../x"}) == (400, [])
    assert await outcome("/api/sessions/a/nothing") == (404, [])
    assert (await api.call("POST", f"{ONE}/stop", key="wrong")).status == 401
    made = await api.call("POST", "/api/keys", {"name": "ani", "right": "read"})
    rows(api)
    for path in (f"{ONE}/stop", "/api/sessions/made_up%0A/stop", f"/api/keys/{KEY}"):
        assert (await api.call("POST", path, key=made.json()["key"])).status in {403, 404, 405}
    assert rows(api) == [], "who may not do it writes none"


async def test_neither_the_key_nor_another_query_is_in_the_row(api: Api) -> None:
    assert (await api.call("POST", f"{ONE}/stop?api_key={KEY}", key=None)).status == 200
    body = {"session_id": "new", "workspace_id": 1, "api_key": KEY}
    assert (await api.call("POST", "/api/sessions", body, key=None)).status == 201
    found = rows(api)
    assert [row.session_id for row in found] == [SESSION, "new"]
    assert KEY not in str(found)


@pytest.mark.parametrize("timings", [Timings(request=0.05)])
async def test_a_change_that_goes_on_behind_its_request_has_its_row_at_its_end(api: Api) -> None:
    api.sessions.free.clear()
    assert (await api.call("POST", f"{ONE}/stop")).status == 503
    assert rows(api) == []
    api.sessions.free.set()
    await wait_until(lambda: bool(api.store.entries), "it is recorded")
    (row,) = rows(api)
    assert (row.after, row.evidence["status"]) == ("done", 200)


async def test_a_change_that_is_cut_off_has_an_unknown_outcome(api: Api) -> None:
    api.sessions.free.clear()
    asking = asyncio.create_task(api.call("POST", f"{ONE}/stop"))
    await wait_until(lambda: api.sessions.begun == ["stop"], "it has begun")
    (change,) = [it for it in asyncio.all_tasks() if "bounded" in str(it.get_coro())]
    change.cancel()
    with pytest.raises(aiohttp.ClientError):
        await asking
    (row,) = rows(api)
    assert (row.after, row.evidence.get("status")) == ("unknown", None)


# ---- GET /api/audit ----


async def test_changes_are_listed_the_newest_first(api: Api) -> None:
    await api.call("POST", f"{ONE}/stop", headers={"X-Request-Id": "it-is-me"})
    await api.store.record(AuditEntry(session_id=SESSION, kind="status"))
    await api.call("PUT", "/api/log-level", {"level": "DEBUG"})
    last, first = (await api.call("GET", "/api/audit")).json()["changes"]
    assert (last["route"], last["session_id"]) == ("PUT /api/log-level", None)
    assert first == {
        "at": first["at"],
        "by": "the application",
        "key": None,
        "address": "127.0.0.1",
        "session_id": SESSION,
        "route": "POST /api/sessions/{session_id}/stop",
        "path": f"{ONE}/stop",
        "status": 200,
        "outcome": "done",
        "request_id": "it-is-me",
        "seconds": first["seconds"],
    }


async def test_in_a_cluster_a_change_names_its_host(hosts: Pair) -> None:
    await hosts.one.store.record(AuditEntry(session_id=None, kind=CHANGE, at=2.0, host="h2"))
    await hosts.one.store.record(AuditEntry(session_id=None, kind=CHANGE, at=1.0))  # of before
    found = (await hosts.one.call("GET", "/api/audit")).json()["changes"]
    assert [it["host"] for it in found] == [None, "h2"]


async def test_pages_and_a_beginning_leave_out_the_rest(api: Api) -> None:
    for number in range(LISTED + 2):
        await api.store.record(AuditEntry(session_id=None, kind=CHANGE, at=float(number)))

    async def times(query: str) -> tuple[list[str], int | None]:
        answer = (await api.call("GET", f"/api/audit{query}")).json()
        return [it["at"] for it in answer["changes"]], answer["before"]

    found, before = await times("")
    assert len(found) == LISTED
    oldest, end = await times(f"?before={before}")
    assert oldest == ["1970-01-01T00:00:01Z", "1970-01-01T00:00:00Z"]
    assert end is None
    assert await times("?since=1970-01-01T00:08:20") == (
        ["1970-01-01T00:08:21Z", "1970-01-01T00:08:20Z"],
        None,
    )
    for wrong in ("since=x", "before=x", "before=-1"):
        assert (await api.call("GET", f"/api/audit?{wrong}")).status == 400


async def test_without_the_database_changes_are_unknown_and_need_a_key(api: Api) -> None:
    assert (await api.call("GET", "/api/audit", key=None)).status == 401
    api.store.down = True
    assert (await api.call("GET", "/api/audit")).status == 503


# ---- incidents ----


async def test_incidents_name_who_asked(api: Api) -> None:
    await api.call("POST", f"{ONE}/stop")
    asked_at = api.store.entries[-1].at or 0.0
    down = AuditEntry(session_id=SESSION, kind="status", before="connected", after="disconnected")
    await api.store.record(replace(down, at=asked_at + 1))
    said = (await api.call("GET", f"{ONE}/incidents")).json()["incidents"][0]["sentences"]
    assert said[1:] == [
        "Done: it was stopped by the application.",
        "Result: stopped on purpose after 0.0 s.",
    ]
    (listed,) = (await api.call("GET", "/api/incidents/all")).json()["incidents"]
    assert listed["sentences"] == said
