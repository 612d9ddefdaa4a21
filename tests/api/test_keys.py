"""Issued keys over HTTP: who gets one, where it opens what, and when it ends."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from loguru import logger

from tests.api.conftest import KEY, SECOND_KEY, Api, with_key
from tests.api.fake_sessions import SESSION
from tests.waiting import wait_until
from waguard.api.auth import Keys
from waguard.api.limits import KEY_WITHIN
from waguard.core.keys import Caller, Right
from waguard.core.text import json_text, raw_http

PATH = "/api/keys"
LISTING = "/api/sessions"
DEADLINE = 60.0


async def made(api: Api, *, by: str = KEY, **wanted: Any) -> tuple[str, dict[str, Any]]:
    """The key, and what is known of it."""
    answer = await api.call("POST", PATH, {"name": "shop", "right": "admin"} | wanted, key=by)
    assert answer.status == 201, answer.content
    body = answer.json()
    return body["key"], body["about"]


async def listed(api: Api, key: str = KEY) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.call("GET", PATH, key=key)).json()["keys"]
    return found


async def test_a_key_is_made_listed_and_revoked(api: Api) -> None:
    key, about = await made(api, right="send", workspaces=[7, "8"], sessions=["a"], expires_in="60")
    assert key.startswith(f"wg_{about['id']}_")
    assert about == {
        "id": about["id"],
        "name": "shop",
        "right": "send",
        "workspaces": [7, 8],
        "sessions": ["a"],
        "expires_at": "2026-09-21T14:14:20Z",
        "created_at": "2026-09-21T14:13:20Z",
        "created_by": "the application",
        "used_at": None,
        "ended_at": None,
        "ended_by": None,
    }
    assert await listed(api) == [about]
    answer = await api.call("DELETE", f"{PATH}/{about['id']}")
    assert answer.json()["made"] == []
    (ended,) = await listed(api)
    assert (ended["ended_at"], ended["ended_by"]) == ("2026-09-21T14:13:20Z", "the application")
    assert (await api.call("DELETE", f"{PATH}/{about['id']}")).status == 200, "again"
    assert key not in json.dumps(await listed(api))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "the application"),
        ("name", ""),
        ("name", 5),
        ("right", "owner"),
        ("right", ["admin"]),
        ("right", None),
        ("workspaces", []),
        ("workspaces", [0]),
        ("workspaces", 7),
        ("workspaces", [1] * 101),
        ("sessions", ["../a"]),
        ("sessions", "a"),
        ("sessions", {}),
        ("expires_in", 0),
        ("expires_in", 1e9),
        ("expires_in", "soon"),
        ("expires_in", 10**9),
    ],
)
async def test_what_is_no_key_is_not_made(api: Api, field: str, value: object) -> None:
    wanted = {"name": "shop", "right": "read", field: value}
    answer = await api.call("POST", PATH, wanted)
    assert answer.status == 400
    assert answer.json()["remedy"]
    assert await listed(api) == []


async def test_a_key_in_the_wrong_field_is_not_shown(api: Api) -> None:
    key, _ = await made(api)
    lines: list[str] = []
    sink = logger.add(lines.append, level="INFO", format="{message} {extra}\n{exception}")
    try:
        answers = [
            await api.call("POST", PATH, {"name": key, "right": "read"}),
            await api.call("DELETE", f"{PATH}/{key}"),
        ]
    finally:
        logger.remove(sink)
    assert [it.status for it in answers] == [400, 404]
    assert not any(key.encode() in it.content for it in answers)
    assert key not in "".join(lines)


# ---- where it opens what ----


@pytest.mark.parametrize("place", ["body", "query", "X-Api-Key", "Bearer", "bearer"])
async def test_a_key_is_taken_in_each_place(api: Api, place: str) -> None:
    key, about = await made(api)
    path, body, headers = with_key(place, key, LISTING)
    api.clock.live(5.0)
    assert (await api.call("GET", path, body, key=None, headers=headers)).status == 200
    await api.call("DELETE", f"{PATH}/{about['id']}")
    answer = await api.call("GET", path, body, key=None, headers=headers)
    assert (answer.status, answer.json()["error"]) == (401, "Invalid API key")
    assert (await listed(api))[0]["used_at"] == "2026-09-21T14:13:25Z"


@pytest.mark.parametrize(
    ("header", "query", "body", "status"),
    [
        ("A", "A", "A", 200),
        ("A", "B", None, 401),
        ("A", None, "B", 401),
        (None, "A", "B", 401),
        ("A", None, "nonsense", 401),
        ("A", "nonsense", None, 401),
        ("nonsense", None, "A", 401),
        (KEY, "A", "B", 200),
        ("A", KEY, None, 200),
        ("A", "B", SECOND_KEY, 200),
        ("A", None, KEY, 200),
        ("nonsense", None, KEY, 200),
        ("A", None, "", 200),
        ("A", None, 5, 200),
    ],
)
async def test_of_several_keys_one_of_the_key_file_counts_else_none(
    api: Api, header: str | None, query: str | None, body: Any, status: int
) -> None:
    given = {name: (await made(api, name=name, right="read"))[0] for name in ("A", "B")}

    def shown(it: Any) -> Any:
        return given.get(it, it) if isinstance(it, str) else it

    answer = await api.call(
        "GET",
        LISTING + (f"?api_key={shown(query)}" if query else ""),
        None if body is None else {"api_key": shown(body)},
        key=None,
        headers={"X-Api-Key": shown(header)} if header else {},
    )
    assert answer.status == status
    by_the_application = KEY in (header, query, body) or body == SECOND_KEY
    uses = [it["used_at"] for it in await listed(api)]
    assert any(uses) == (status == 200 and not by_the_application)


async def test_an_object_within_the_body_shows_no_key(api: Api) -> None:
    key, _ = await made(api)
    nested = {"metadata": {"api_key": key}}
    assert (await api.call("GET", LISTING, nested, key=None)).status == 401


def test_what_searches_for_keys_finds_one() -> None:
    """Before a request is parsed, and before its body is."""
    key = f"wg_0a1b2c3d_{'-_aZ9' * 8}abc"
    caller = Caller(name="shop", right=Right.READ, key="0a1b2c3d")
    accept = Keys(frozenset({KEY.encode()}), {key: caller}.get).accept_any
    for head in (f"X-Api-Key: {key}", f"authorization: BEARER {key}"):
        assert accept(raw_http.shown_keys(f"GET / HTTP/1.1\r\n{head}\r\n\r\n".encode()))
    assert accept(raw_http.shown_keys(f"GET /?api_key={key}&x=1 HTTP/1.1\r\n\r\n".encode()))
    assert accept(json_text.keys(json.dumps({"a": [{"api_key": key}]}).encode()))
    assert not accept([key[:-1], None, 5, ""])


# ---- who makes which ----


async def test_a_key_makes_none_that_exceeds_it(api: Api) -> None:
    key, about = await made(api, workspaces=[7], expires_in=60)
    for more in (
        {"workspaces": [7, 8]},
        {"sessions": [SESSION]},
        {"sessions": ["nobody"]},
        {"expires_in": 61},
    ):
        answer = await api.call("POST", PATH, {"name": "x", "right": "read"} | more, key=key)
        assert answer.status == 403
        assert "may not exceed your own" in answer.json()["error"]
    _, child = await made(api, by=key, name="child", right="read")
    assert child["workspaces"] == [7]
    assert child["expires_at"] == about["expires_at"]
    assert child["created_by"] == "shop"
    gone = (await api.call("DELETE", f"{PATH}/{about['id']}")).json()
    assert [it["name"] for it in gone["made"]] == ["child"]


async def test_a_session_of_its_workspace_is_in_its_scope(api: Api) -> None:
    workspace = api.sessions.known[SESSION].workspace_id
    key, _ = await made(api, workspaces=[workspace])
    _, child = await made(api, by=key, name="child", sessions=[SESSION])
    assert (child["workspaces"], child["sessions"]) == (None, [SESSION])


async def test_who_has_a_scope_lists_and_revokes_within_it(api: Api) -> None:
    _, all_of_them = await made(api, name="all")
    key, mine = await made(api, workspaces=[7])
    assert [it["name"] for it in await listed(api, key)] == ["shop"]
    for key_id, status in ((all_of_them["id"], 404), ("ffffffff", 404), (mine["id"], 200)):
        assert (await api.call("DELETE", f"{PATH}/{key_id}", key=key)).status == status
    assert (await api.call("GET", PATH, key=key)).status == 401, "it has revoked itself"


async def test_a_file_that_cannot_be_read_is_a_409_and_keys_of_the_key_file_go_on(
    api: Api,
) -> None:
    key, _ = await made(api)
    api.deps.issued_keys.unreadable = "keys.json: it is not a file of keys"
    for method, body in (("GET", None), ("POST", {"name": "x", "right": "read"})):
        answer = await api.call(method, PATH, body)
        assert answer.status == 409
        assert "reload" in answer.json()["remedy"]
    assert (await api.call("GET", LISTING)).status == 200
    assert (await api.call("GET", LISTING, key=key)).status == 200, "it was read before"


async def test_while_the_file_cannot_be_read_a_key_that_may_be_valid_is_a_503(api: Api) -> None:
    key, _ = await made(api)
    api.deps.issued_keys._keys.clear()
    api.deps.issued_keys._valid.clear()
    assert (await api.call("GET", LISTING, key=key)).status == 401, "the file says so"
    api.deps.issued_keys.unreadable = "keys.json: it is not a file of keys"
    answer = await api.call("GET", LISTING, key=key)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "60"
    assert answer.json()["error"] == "issued keys cannot be checked", "a stranger reads no path"
    assert (await api.call("GET", LISTING, key="another")).status == 401, "no issued key looks so"
    for inside in ({"api_key": key}, {"message": "x" * KEY_WITHIN, "api_key": key}):
        answer = await api.call("POST", "/api/messages/send", inside, key=None)
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    answer = await api.call("POST", "/api/messages/send", {"api_key": "another"}, key=None)
    assert answer.status == 401


# ---- its end ----


async def read_to_the_end(response: aiohttp.ClientResponse) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await response.read()


@pytest.mark.parametrize("way", ["revoked", "expired"])
async def test_a_stream_ends_with_its_key_and_others_go_on(api: Api, way: str) -> None:
    key, about = await made(api, right="read", expires_in=3_600)
    url, headers = f"{api.base}/api/events", {"X-Api-Key": key}
    async with (
        api.http.get(url, headers=headers) as response,
        api.http.get(url, headers={"X-Api-Key": KEY}) as other,
    ):
        assert (response.status, other.status) == (200, 200)
        api.bus.publish("message_received", "a", 1, {"text": "before"})
        while b"before" not in await response.content.readline():
            pass
        if way == "revoked":
            await api.call("DELETE", f"{PATH}/{about['id']}")
        else:
            api.clock.live(3_600.0)
            assert (await api.call("GET", LISTING, key=key)).status == 401
        api.bus.publish("message_received", "a", 1, {"text": "after"})
        assert b"after" not in await read_to_the_end(response)
        async with asyncio.timeout(DEADLINE):
            while b"after" not in await other.content.readline():
                pass
    async with api.http.get(url, headers=headers) as response:
        assert response.status == 401


@pytest.mark.parametrize(("method", "of"), [("GET", "screenshot"), ("POST", "pairing-code")])
async def test_who_waits_for_an_answer_gets_none_when_its_key_has_ended(
    api: Api, method: str, of: str
) -> None:
    key, about = await made(api, right="operate")
    path, body = f"/api/sessions/{SESSION}/{of}", {"phone_number": "6281180009"}
    api.sessions.free.clear()
    asked = [asyncio.create_task(api.call(method, path, body, key=it)) for it in (key, KEY)]
    await wait_until(lambda: len(api.sessions.calls) == len(asked), "both are under way")
    await api.call("DELETE", f"{PATH}/{about['id']}")
    api.sessions.free.set()
    assert [it.status for it in await asyncio.gather(*asked)] == [401, 200]


async def test_so_does_who_has_one_that_was_taken_out_of_the_key_file(api: Api) -> None:
    path = f"/api/sessions/{SESSION}/screenshot"
    api.sessions.free.clear()
    asked = [asyncio.create_task(api.call("GET", path, key=it)) for it in (SECOND_KEY, KEY)]
    await wait_until(lambda: len(api.sessions.calls) == len(asked), "both are under way")
    api.deps.keys.renew(Keys(frozenset({KEY.encode()})))
    api.sessions.free.set()
    assert [it.status for it in await asyncio.gather(*asked)] == [401, 200]
