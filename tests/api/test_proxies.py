"""A session's own proxy, over HTTP: what is taken, what is refused, and that no password comes back."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION, WORKSPACE
from waguard.core.proxy import parse, same

ONE = f"/api/sessions/{SESSION}/proxy"
SERVER = "socks5://proxy.example:1080"
WITH_LOGIN = {"server": SERVER, "username": "me", "password": "hunter2"}
PROXY = parse(SERVER, "me", "hunter2", mark="m")


async def test_it_is_set_shown_without_its_password_and_removed(api: Api) -> None:
    none = {"success": True, "session_id": SESSION, "proxy": None}
    assert (await api.call("GET", ONE)).json() == none
    for method, body in (("PUT", WITH_LOGIN), ("GET", None)):
        answer = await api.call(method, ONE, body)
        assert answer.status == 200
        assert answer.json()["proxy"] == {"server": SERVER, "username": "me"}
    stored = api.sessions.proxies[SESSION]
    assert same(stored, PROXY)
    await api.call("PUT", ONE, WITH_LOGIN)
    again = api.sessions.proxies[SESSION]
    assert stored
    assert again
    assert stored.mark != again.mark, "who has the file sees that it was set again"
    assert (await api.call("DELETE", ONE)).json() == none
    assert (await api.call("GET", "/api/sessions/nobody/proxy")).status == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"server": "http://me:hunter2@proxy:3128"}, "server"),
        ({"server": "hunter2"}, "server"),
        ({"server": "http://proxy..hunter2:3128"}, "server"),
        ({"server": None}, "server"),
        ({"server": 1e300}, "server"),
        ({"username": "hunter2\n"}, "server"),
        ({"username": ["hunter2"]}, "username"),
        ({"password": {"hunter2": 1}}, "password"),
        ({"password": "hunter2\ud800"}, "body"),
        ({"username": ""}, "server"),
    ],
)
async def test_what_cannot_be_used_is_refused_and_not_quoted(
    api: Api, changes: dict[str, Any], field: str
) -> None:
    body = {"session_id": "new", "workspace_id": WORKSPACE, "proxy": WITH_LOGIN | changes}
    for answer in (
        await api.call("PUT", ONE, WITH_LOGIN | changes),
        await api.call("POST", "/api/sessions", body),
    ):
        assert answer.status == 400
        assert answer.json()["field"].removeprefix("proxy.") == field
        assert "hunter2" not in answer.content.decode()
        assert answer.json()["remedy"]
    assert api.sessions.proxies == {}
    assert "new" not in api.sessions.known


async def test_a_session_is_created_with_one(api: Api) -> None:
    body = {"session_id": "new", "workspace_id": WORKSPACE, "proxy": WITH_LOGIN}
    answer = await api.call("POST", "/api/sessions", body)
    assert answer.status == 201
    assert "ignored" not in answer.json()
    assert "hunter2" not in answer.content.decode()
    assert same(api.sessions.proxies["new"], PROXY)
    for proxy, status in ((None, 200), (SERVER, 400), ([], 400)):
        answer = await api.call("POST", "/api/sessions", body | {"proxy": proxy})
        assert answer.status == status


async def test_a_key_for_some_sessions_reads_it_and_sets_none(api: Api) -> None:
    """A proxy may lead to anything that this host reaches."""
    narrow = {"name": "shop", "right": "operate", "workspaces": [WORKSPACE]}
    key = (await api.call("POST", "/api/keys", narrow)).json()["key"]
    body = {"session_id": "new", "workspace_id": WORKSPACE, "proxy": WITH_LOGIN}
    for method, path, said in (
        ("PUT", ONE, WITH_LOGIN),
        ("DELETE", ONE, None),
        ("POST", "/api/sessions", body),
    ):
        assert (await api.call(method, path, said, key=key)).status == 403
    assert (await api.call("GET", ONE, key=key)).status == 200
    assert api.sessions.proxies == {}
    assert "new" not in api.sessions.known
