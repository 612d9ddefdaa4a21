"""The description of the API: whole, true, and the same as its page for people."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import openapi_spec_validator
import pytest
from loguru import logger
from msgspec import Meta, Struct

from tests.api import routes
from tests.api.conftest import KEY, Api
from tests.api.described import differs
from tests.api.fake_sessions import SESSION
from waguard.api import create_app, fields, openapi
from waguard.api.fields import Kind, SessionId, WorkspaceId
from waguard.api.route import BELIEVED, read, route_of
from waguard.core.keys import Right
from waguard.core.webhooks.delivery import EVENTS
from waguard.errors import InvalidInputError

ROOT = Path(__file__).parents[2]
NEW = {"session_id": "new_one", "workspace_id": 1}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    deps: Any = None  # nothing is asked
    return json.loads(json.dumps(openapi.document(create_app(deps))))  # type: ignore[no-any-return]


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): it
        for path, methods in document["paths"].items()
        for method, it in methods.items()
    }


# ---- the document ----


async def test_the_document_is_served_without_a_key_and_made_once(api: Api) -> None:
    first = await api.call("GET", "/api/openapi.json", key=None)
    assert first.status == 200
    assert first.json()["openapi"] == "3.1.0"
    assert (await api.call("GET", "/api/openapi.json", key=None)).content == first.content


def test_it_is_openapi(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)


def test_every_route_is_described_under_a_name_of_its_own(document: dict[str, Any]) -> None:
    deps: Any = None
    routes = create_app(deps).router.routes()
    served = {(it.method, it.resource.canonical) for it in routes if it.resource}
    described = operations(document)
    assert described.keys() == {it for it in served if it[0] != "HEAD"}
    names = [it["operationId"] for it in described.values()]
    assert len(set(names)) == len(names)
    for key, it in described.items():
        assert it["summary"], key
        assert "200" in it["responses"] or "201" in it["responses"] or "202" in it["responses"], key
        assert ("x-right" in it) != (it.get("security") == []), key
        inside = set(re.findall(r"\{(\w+)\}", key[1]))
        assert inside == {one["name"] for one in it["parameters"] if one["in"] == "path"}, key


def test_all_that_is_named_is_there(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named == document["components"]["schemas"].keys()
    for name, it in document["components"]["schemas"].items():
        assert it.get("description") or "enum" in it, name


def test_every_event_is_a_webhook_with_who_it_is_of(document: dict[str, Any]) -> None:
    assert document["webhooks"].keys() == EVENTS
    schemas = document["components"]["schemas"]
    assert schemas["Event"]["properties"]["event"]["enum"] == sorted(EVENTS)
    assert schemas["Of"]["required"] == ["workspace_id", "session_id"]


def test_a_schema_says_what_its_reader_takes(document: dict[str, Any]) -> None:
    found = document["components"]["schemas"]["CreateSession"]
    assert found["required"] == ["session_id", "workspace_id"]
    workspace = found["properties"]["workspace_id"]
    assert workspace["type"] == ["integer", "string"]
    assert re.fullmatch(workspace["pattern"], "12")
    assert not re.fullmatch(workspace["pattern"], "0")


def test_without_docstrings_it_is_the_same(document: dict[str, Any]) -> None:
    """The service's unit sets PYTHONOPTIMIZE=2, which removes them."""
    made = subprocess.run(
        [sys.executable, "-OO", "-P", "-c", MADE],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert json.loads(made) == document
    assert (Struct.__doc__ or "").partition("\n")[0] not in made.decode()


MADE = """
import json
from waguard.api import create_app, openapi
print(json.dumps(openapi.document(create_app(None))))
"""


# ---- the page for people ----


def rows() -> list[tuple[list[tuple[str, str]], str]]:
    """Routes of each row of docs/api.md, and what the row says of them."""
    text = (ROOT / "docs/api.md").read_text()
    found = re.findall(r"(?m)^\| ((?:`[A-Z]+ /[^`]*`(?:, )?)+) \| (.*) \|$", text)
    return [
        ([tuple(it.split(" ")) for it in re.findall(r"`([^`]+)`", named)], rest)
        for named, rest in found
    ]


def test_docs_have_no_other_status(document: dict[str, Any]) -> None:
    """Statuses that a row names are those of its routes."""
    described = operations(document)
    for named, words in rows():
        for key in named:
            stated = set(
                re.findall(r"(?<![\d,.])([2-5]\d\d)(?= |;|:|,|$|\.|\))", words.split("|")[-1])
            )
            assert stated <= described[key]["responses"].keys(), (key, stated)


def test_the_list_of_routes_is_up_to_date() -> None:
    assert routes.TARGET.read_text() == routes.text(), "run: python -m tests.api.routes"


# ---- what readers do ----


def _upper(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value.upper()
    raise fields.bad(field, value, "no text", "a text")


class Given(Struct, kw_only=True):
    """Fields of each sort."""

    session_id: SessionId
    workspace_id: WorkspaceId | None = None
    word: Annotated[str, Kind(_upper, blank=True), Meta(max_length=9)] | None = None
    other: Annotated[str, Kind(_upper)] | None = msgspec.field(default=None, name="as-it-is")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (None, None, None)),
        ({"workspace_id": "7", "word": "a", "as-it-is": "b"}, (7, "A", "B")),
        ({"workspace_id": None, "word": None, "as-it-is": None}, (None, None, None)),
        ({"word": "", "as-it-is": "", "unknown": [1]}, (None, None, "")),
    ],
)
def test_what_is_read(more: dict[str, Any], expected: tuple[Any, ...]) -> None:
    it = read({"session_id": "a"} | more, Given)
    assert (it.workspace_id, it.word, it.other) == expected


@pytest.mark.parametrize(
    ("reader", "given", "expected"),
    [
        (fields.workspace_id, 7.0, 7),
        (fields.integer(-9, 9), -1.0, -1),
        (fields.phone, 6281234567890.0, "6281234567890"),
        (fields.chat_id, 6281234567890.0, "6281234567890@c.us"),
        (fields.chat_id, 120363041234567890, "120363041234567890@g.us"),
        (fields._flag, 1.0, True),
        (fields._flag, 0.0, False),
        (fields.seconds(50), "9735.84183928508", 50),
        (fields.seconds(50), "1e-05", 1e-05),
    ],
)
def test_a_number_is_what_it_is_in_json(reader: Any, given: Any, expected: Any) -> None:
    assert reader(given, "field") == expected


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "session_id"),
        ({"word": 1, "session_id": None}, "session_id"),
        ({"session_id": "a", "workspace_id": ""}, "workspace_id"),
        ({"session_id": "a", "as-it-is": 1}, "as-it-is"),
    ],
)
def test_the_first_that_is_wrong_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as found:
        read(given, Given)
    assert found.value.field == field


async def test_a_field_that_a_client_would_believe_in_is_named(api: Api) -> None:
    believed = dict.fromkeys(BELIEVED, "x")
    application = {"api_key": KEY, "account_id": 3, "priority": "low", "user": 1}
    for body, ignored in ((believed, sorted(BELIEVED)), (application, None)):
        for _ in range(2):  # new, then known
            reply = (await api.call("POST", "/api/sessions", NEW | body)).json()
            assert reply.get("ignored") == ignored
        api.sessions.known.pop("new_one")


def test_a_reply_with_another_field_is_noticed() -> None:
    assert differs({"success": True}, Given)
    assert differs({"session_id": 1}, Given)
    assert not differs({"session_id": "a"}, Given)


# ---- rights ----


def test_each_route_names_its_right() -> None:
    deps: Any = None
    rights = {
        (it.method, it.resource.canonical): found.right
        for it in create_app(deps).router.routes()
        if it.resource and (found := route_of(it.handler))
    }
    assert rights["GET", "/api/sessions"] is Right.READ
    assert rights["POST", "/api/messages/send"] is Right.SEND
    assert rights["GET", "/api/sessions/{session_id}/qr"] is Right.OPERATE
    assert rights["POST", "/api/versions/pin"] is Right.ADMIN
    text = (ROOT / "docs/api.md").read_text()
    keyless = text[text.index("\n## Without a key") : text.index("\n## Sends")]
    named = {tuple(it.split(" ")) for it in re.findall(r"`([A-Z]+ /[^`]*)`", keyless)}
    assert {it for it, right in rights.items() if right is None and it[0] != "HEAD"} == named


# ---- what is matched before the key is ----


def parts(pattern: str) -> list[tuple[str, str]]:
    """Each character or class of a pattern, and how often it is repeated."""
    flat = re.sub(r"\(\?P<\w+>|(?<!\\)\)", "", pattern)
    found = re.findall(r"(\[[^\]]+\]|\\.|[^\\\[\](){}*+?|])([*+?]|\{\d+\})?", flat)
    assert "".join(one + often for one, often in found) == flat, f"{pattern}: a form unknown here"
    return found


def goes_back(pattern: str) -> bool:
    """Whether a repetition may end at more than one place, so that a path is tried at each."""
    for (one, often), (then, again) in itertools.pairwise(parts(pattern)):
        both = [it for it in map(chr, range(1024)) if re.match(one, it) and re.match(then, it)]
        if often in {"*", "+", "?"} and (both or again in {"*", "?"}):
            return True
    return False


def test_no_pattern_of_a_route_goes_back() -> None:
    deps: Any = None
    resources = create_app(deps).router.resources()
    patterns = [it for one in resources if (it := one.get_info().get("pattern"))]
    assert patterns
    for pattern in patterns:
        assert not goes_back(pattern.pattern), pattern
        assert not pattern.fullmatch("/api/messages/" + "1" * 8000 + "/x")
    assert any(it.fullmatch("/api/messages/" + "1" * 8000) for it in patterns)
    assert goes_back("/api/messages/(?P<id>[^{}/]*[0-9][^{}/]*)")


# ---- methods, and the number of a request ----


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/api/messages/send", 405, "POST"),
        ("GET", "/api/messages/bulk-send", 405, "POST"),
        ("DELETE", "/api/messages/1", 405, "GET,HEAD"),
        ("POST", "/api/messages/nonsense", 404, None),
        ("GET", "/api/messages/1", 404, None),
    ],
)
async def test_a_wrong_method_is_no_missing_route(
    api: Api, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await api.call(method, path)
    assert (answer.status, answer.headers.get("Allow")) == (status, allow)
    if path.endswith("nonsense"):
        assert "no such route" in answer.json()["remedy"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [("abc-1.2_X", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), (None, False)],
)
async def test_the_number_of_a_request_is_in_its_reply_and_in_the_log(
    api: Api, given: str | None, *, taken: bool
) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="DEBUG", format="{message}")
    try:
        headers = {"X-Request-Id": given} if given else {}
        answer = await api.call("GET", f"/api/sessions/{SESSION}/status", headers=headers)
    finally:
        logger.remove(sink)
    number = answer.headers["X-Request-Id"]
    assert (number == given) is taken
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", number)
    assert [line for line in lines if f"request {number}" in line]


async def test_a_send_and_an_error_have_one_too(api: Api) -> None:
    send = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "a"}
    for path, body in (("/api/messages/send", send), ("/api/nothing", None)):
        answer = await api.call("POST", path, body, headers={"X-Request-Id": "mine"})
        assert answer.headers["X-Request-Id"] == "mine"
