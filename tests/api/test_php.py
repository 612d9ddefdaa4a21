"""Bodies as PHP sends them: its empty array is ``[]``, whatever it was to be."""

from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from waguard.api import create_app

UUID = "00000000-0000-0000-0000-000000000000"
VALUES = {"session_id": SESSION, "sha256": "0" * 64, "id": "1", "number": "1", "bulk_id": UUID}
VALUES |= {"key_id": "0" * 8, "file": "dom.js", "function": "conn.isOnline"}
VALUES |= {
    "group_id": "120363000000000001@g.us",
    "chat_id": "6281234567890@c.us",
    "numbers": "62812",
    "host": "h1",
}


@pytest.fixture
async def routes(api: Api) -> list[tuple[str, str]]:
    """Every one that waguard has, but for the stream that does not end."""
    resources = create_app(api.deps).router.routes()
    found = {(r.method, r.resource.canonical) for r in resources if r.resource}
    return sorted(
        (method, path.format(**VALUES)) for method, path in found if path != "/api/events"
    )


async def test_an_empty_array_is_an_empty_body_everywhere(
    api: Api, routes: list[tuple[str, str]]
) -> None:
    assert len(routes) > 50
    for method, path in routes:
        empty = await answer_to(api, method, path, b"{}")
        assert empty[1] != "body"
        for raw in (b"[]", b" [ ]\n", b"\xef\xbb\xbf[]"):
            assert await answer_to(api, method, path, raw) == empty, (method, path, raw)


async def answer_to(api: Api, method: str, path: str, raw: bytes) -> tuple[int, Any]:
    """The status, and which field was wrong. Everything is there again for each call."""
    known = dict(api.sessions.known)
    headers = {"Content-Type": "application/json"}
    answer = await api.call(method, path, data=raw, headers=headers)
    api.sessions.known = known
    if method == "HEAD" or not answer.headers["Content-Type"].startswith("application/json"):
        return answer.status, None
    return answer.status, answer.json().get("field")


@pytest.mark.parametrize("raw", [b"[1]", b"[[]]", b"[{}]", b'""', b"0"])
async def test_what_is_no_empty_array_stays_an_error(
    api: Api, routes: list[tuple[str, str]], raw: bytes
) -> None:
    for method, path in routes:
        # what is uploaded is no JSON
        if method != "HEAD" and (method, path) != ("POST", "/api/media"):
            assert await answer_to(api, method, path, raw) == (400, "body"), (method, path)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", ""])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/api/sessions/{SESSION}"),
        ("POST", f"/sessions/{SESSION}/logout"),
        ("POST", f"/api/sessions/{SESSION}/logout"),
    ],
)
async def test_the_calls_that_the_application_makes_so(
    api: Api, method: str, path: str, kind: str
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await api.call(method, path, data=b"[]", headers=headers)
    assert (answer.status, answer.json()["success"]) == (200, True)
    assert len(api.sessions.done) == 1


async def test_the_key_may_be_in_the_query_then(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    path = f"/api/sessions/{SESSION}/reconnect"
    for query, status in ((f"?api_key={KEY}", 200), ("", 401)):
        answer = await api.call("POST", path + query, data=b"[]", key=None, headers=headers)
        assert answer.status == status
