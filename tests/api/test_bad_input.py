"""What a client can get wrong: each answer names what was wrong and what to do, and nothing breaks."""

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from waguard.api.timings import Timings

SEND, MEDIA, ONE = "/api/messages/send", "/api/messages/send-media", f"/api/sessions/{SESSION}"
PICTURE = base64.b64encode(b"picture").decode()


def sending(**changes: Any) -> dict[str, Any]:
    good = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi"}
    return good | {"type": "text"} | changes


def file(**changes: Any) -> dict[str, Any]:
    good = {"session_id": SESSION, "recipient_phone": "6281234567890", "media": PICTURE}
    return good | changes


def creating(**changes: Any) -> dict[str, Any]:
    return {"session_id": "new_one", "workspace_id": 1} | changes


@dataclasses.dataclass
class Case:
    """One bad request and what it must be told."""

    name: str
    method: str
    path: str
    body: Any = None
    status: int = 400
    field: str | None = None
    error: str = ""
    raw: bytes | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


JSON = {"Content-Type": "application/json"}
POST_CREATE = ("POST", "/api/sessions")
CASES = [
    Case("no session id", *POST_CREATE, {"workspace_id": 1}, field="session_id", error="None"),
    Case("empty id", *POST_CREATE, creating(session_id=""), field="session_id"),
    Case(
        "a path", *POST_CREATE, creating(session_id="../../etc"), field="session_id", error="../.."
    ),
    Case("id with a line end", *POST_CREATE, creating(session_id="a\n"), field="session_id"),
    Case(
        "id too long", *POST_CREATE, creating(session_id="x" * 129), field="session_id", error="…"
    ),
    Case("id is a list", *POST_CREATE, creating(session_id=["a"]), field="session_id"),
    Case("no workspace", *POST_CREATE, {"session_id": "a"}, field="workspace_id"),
    Case("workspace 0", *POST_CREATE, creating(workspace_id=0), field="workspace_id", error="0"),
    Case("workspace -1", *POST_CREATE, creating(workspace_id="-1"), field="workspace_id"),
    Case("workspace true", *POST_CREATE, creating(workspace_id=True), field="workspace_id"),
    Case("workspace 1.5", *POST_CREATE, creating(workspace_id=1.5), field="workspace_id"),
    Case("workspace huge", *POST_CREATE, creating(workspace_id=10**30), field="workspace_id"),
    Case("workspace ٣", *POST_CREATE, creating(workspace_id="٣"), field="workspace_id"),
    Case("account text", *POST_CREATE, creating(account_id="x"), field="account_id"),
    Case("priority text", *POST_CREATE, creating(priority="urgent"), field="priority"),
    Case("priority list", *POST_CREATE, creating(priority=["high"]), field="priority"),
    Case("priority huge", *POST_CREATE, creating(priority=1_000_001), field="priority"),
    Case(
        "another workspace's",
        *POST_CREATE,
        creating(session_id=SESSION, workspace_id=2),
        status=409,
        field="session_id",
    ),
    Case("not JSON", *POST_CREATE, raw=b"{", headers=JSON, field="body", error="not JSON"),
    Case("a JSON list", *POST_CREATE, [1], field="body", error="list"),
    Case("a JSON null", *POST_CREATE, raw=b"null", headers=JSON, field="body", error="NoneType"),
    Case("NaN", *POST_CREATE, raw=b'{"a": NaN}', headers=JSON, field="body", error="NaN"),
    Case("not UTF-8", *POST_CREATE, raw=b'{"a": "\xff"}', headers=JSON, field="body"),
    Case("UTF-16", *POST_CREATE, raw='{"a":1}'.encode("utf-16"), headers=JSON, field="body"),
    Case(
        "raw half character", *POST_CREATE, raw=b'{"a":"\xed\xa0\x80"}', headers=JSON, field="body"
    ),
    Case("nested deeply", *POST_CREATE, raw=b'{"a":' + b"[" * 5000, headers=JSON, field="body"),
    Case(
        "nested as deeply as JSON reads",
        *POST_CREATE,
        raw=b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
        headers=JSON,
        field="body",
        error="nested",
    ),
    Case(
        "half a character",
        *POST_CREATE,
        raw=b'{"session_id": "\\ud800"}',
        headers=JSON,
        field="body",
        error="surrogate",
    ),
    Case(
        "endless number",
        *POST_CREATE,
        raw=b'{"workspace_id": ' + b"9" * 5000 + b"}",
        headers=JSON,
        field="body",
    ),
    Case("a form", *POST_CREATE, raw=b"a=1", headers={"Content-Type": "text/plain"}, status=415),
    Case("1 MiB and more", *POST_CREATE, raw=b" " * (1 << 20) + b"{}", headers=JSON, status=413),
    Case(
        "says gzip, is none",
        *POST_CREATE,
        raw=b"{}",
        headers=JSON | {"Content-Encoding": "gzip"},
        field="body",
    ),
    Case("no such route", "GET", "/api/nothing", status=404, error="Not found"),
    Case("a message's id", "GET", "/api/messages/nope", status=404, field="id", error="message"),
    Case("of no message", "GET", "/api/messages/9", status=404, field="id", error="message"),
    Case("to edit", "POST", "/api/messages/nope/edit", {}, status=404, field="id"),
    Case("a letter's", "GET", "/api/webhooks/dead/nope", status=404, field="number"),
    Case("no route of it", "POST", "/api/messages/nope", status=404, error="Not found"),
    Case("wrong method", "PATCH", "/api/sessions", status=405, error="Method not allowed"),
    Case("status, bad id", "GET", "/api/sessions/a%20b/status", field="session_id", error="a b"),
    Case("status, a path", "GET", "/api/sessions/..%2F..%2Fetc/status", field="session_id"),
    Case("qr format", "GET", f"{ONE}/qr?format=gif", field="format", error="gif"),
    Case("qr wait", "GET", f"{ONE}/qr?wait=forever", field="wait", error="forever"),
    Case("qr wait too long", "GET", f"{ONE}/qr?wait=99999", field="wait", error="99999"),
    Case("qr wait nan", "GET", f"{ONE}/qr?wait=nan", field="wait"),
    Case("pairing without", "POST", f"{ONE}/pairing-code", {}, field="phone_number"),
    Case(
        "pairing letters",
        "POST",
        f"{ONE}/pairing-code",
        {"phone_number": "12ab"},
        field="phone_number",
        error="12ab",
    ),
    Case("metadata list", "PUT", f"{ONE}/metadata", {"metadata": [1]}, field="metadata"),
    Case("metadata text", "PUT", f"{ONE}/metadata", {"metadata": "x"}, field="metadata"),
    Case("updates list", "PUT", f"{ONE}/metadata", {"updates": [1]}, field="updates"),
    Case("updates null", "PUT", f"{ONE}/metadata", {"updates": None}, field="updates"),
    Case(
        "metadata twice",
        "PUT",
        f"{ONE}/metadata",
        {"updates": {}, "metadata": {}},
        field="updates",
        error="too",
    ),
    Case("last id", "GET", "/api/events", headers={"Last-Event-ID": "x"}, field="Last-Event-ID"),
    Case("last id huge", "GET", f"/api/events?last_event_id={10**25}", field="Last-Event-ID"),
    Case("send, no session", "POST", SEND, sending(session_id=None), field="session_id"),
    Case(
        "send, no recipient", "POST", SEND, sending(recipient_phone=None), field="recipient_phone"
    ),
    Case("phone short", "POST", SEND, sending(recipient_phone="123"), field="recipient_phone"),
    Case("phone text", "POST", SEND, sending(recipient_phone="Bob"), field="recipient_phone"),
    Case("phone ٣", "POST", SEND, sending(recipient_phone="٣" * 10), field="recipient_phone"),
    Case("phone true", "POST", SEND, sending(recipient_phone=True), field="recipient_phone"),
    Case("phone list", "POST", SEND, sending(recipient_phone=[1]), field="recipient_phone"),
    Case("chat id", "POST", SEND, sending(recipient_phone="x@c.us"), field="recipient_phone"),
    Case(
        "everybody",
        "POST",
        SEND,
        sending(recipient_phone="status@broadcast"),
        field="recipient_phone",
    ),
    Case("no message", "POST", SEND, sending(message=None), field="message", error="missing"),
    Case("a number", "POST", SEND, sending(message=12345), field="message", error="not a text"),
    Case(
        "phone of 16 digits",
        "POST",
        SEND,
        sending(recipient_phone="+1234567890123456"),
        field="recipient_phone",
    ),
    Case(
        "group too long", "POST", SEND, sending(recipient_phone="1" * 26), field="recipient_phone"
    ),
    Case(
        "two dashes",
        "POST",
        SEND,
        sending(recipient_phone="12345-67890-123456"),
        field="recipient_phone",
    ),
    Case(
        "mentioned group",
        "POST",
        SEND,
        sending(mentions=["120363041234567890"]),
        field="mentions[0]",
        error="a group",
    ),
    Case("empty message", "POST", SEND, sending(message=""), field="message"),
    Case("blank message", "POST", SEND, sending(message=" \n"), field="message"),
    Case("message a number", "POST", SEND, sending(message=5), field="message"),
    Case(
        "message long", "POST", SEND, sending(message="x" * 65_537), field="message", error="65537"
    ),
    Case("type image", "POST", SEND, sending(type="image"), field="type", error="image"),
    Case("type list", "POST", SEND, sending(type=["text"]), field="type"),
    Case("workspace x", "POST", SEND, sending(workspace_id="x"), field="workspace_id"),
    Case("no file", "POST", MEDIA, file(media=None), field="media_url"),
    Case("file not base64", "POST", MEDIA, file(media="%%%"), field="media"),
    Case("file not ASCII", "POST", MEDIA, file(media="ü"), field="media"),
    Case("empty file", "POST", MEDIA, file(media="data:image/png;base64,"), field="media"),
    Case(
        "an address of ours",
        "POST",
        MEDIA,
        file(media=None, media_url="http://127.0.0.1/a.png"),
        field="media_url",
        error="private address",
    ),
    Case("not a data URL", "POST", MEDIA, file(media=None, media_url="x"), field="media_url"),
    Case("type of a file", "POST", MEDIA, file(type="sticker"), field="type", error="sticker"),
    Case(
        "a page as a voice",
        "POST",
        MEDIA,
        file(type="voice", mimetype="text/html"),
        field="type",
        error="web page",
    ),
    Case("type of a file, list", "POST", MEDIA, file(type=[]), field="type"),
    Case("filename", "POST", MEDIA, file(filename="a\nb"), field="filename"),
    Case("mimetype", "POST", MEDIA, file(mimetype="png"), field="mimetype"),
    Case("NUL", "POST", MEDIA, file(caption="a\0b"), field="body", error="NUL"),
    Case("caption long", "POST", MEDIA, file(caption="x" * 1025), field="caption"),
    Case(
        "file too large",
        "POST",
        MEDIA,
        file(media=base64.b64encode(bytes((16 << 20) + 1)).decode()),
        field="media",
        error=str((16 << 20) + 1),
    ),
]


async def test_says_what_was_wrong_and_what_to_do(api: Api, subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case.name):
            answer = await api.call(
                case.method, case.path, case.body, data=case.raw, headers=case.headers
            )
            reported = answer.json()
            assert answer.status == case.status, reported
            assert reported["error"]
            assert case.error in reported["error"]
            assert len(reported["error"]) < 300
            assert reported.get("field") == case.field
            assert reported["remedy"]
            assert not api.sessions.calls
            assert (await api.call("GET", f"{ONE}/status")).status == 200  # it still serves


async def test_a_body_that_never_comes_whole_disturbs_nobody(api: Api) -> None:
    host, port = api.base.removeprefix("http://").split(":")
    head = f"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
    head += 'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"session_id": "half'
    for _ in range(20):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(head.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await api.call("GET", f"{ONE}/status")).status == 200
    assert list(api.sessions.known) == [SESSION]


@pytest.mark.parametrize("timings", [Timings(body=0.05)])
async def test_one_that_sends_its_body_too_slowly_is_answered(api: Api) -> None:
    stopped = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await stopped.wait()

    answer = await api.call("POST", "/api/sessions", data=slowly(), headers=JSON)
    stopped.set()
    assert (answer.status, answer.json()["field"]) == (503, "body")
    assert int(answer.headers["Retry-After"]) > 0


UNKNOWN: list[tuple[str, str, Any]] = [
    ("GET", "/api/sessions/nobody/status", None),
    ("GET", "/api/sessions/nobody/qr", None),
    ("POST", "/api/sessions/nobody/qr", None),
    ("POST", "/api/sessions/nobody/regenerate-qr", None),
    ("POST", "/api/sessions/nobody/restore", {}),
    ("POST", "/api/sessions/nobody/reconnect", {}),
    ("POST", "/api/sessions/nobody/logout", {}),
    ("POST", "/api/sessions/nobody/pairing-code", {"phone_number": "6281234567890"}),
    ("GET", "/api/sessions/nobody/passkey", None),
    ("POST", "/api/sessions/nobody/passkey/start", {}),
    ("POST", "/api/sessions/nobody/passkey/answer", {"request": "r", "assertion": {}}),
    ("POST", "/api/sessions/nobody/passkey/confirm", {"code": "ABCD-1234"}),
    ("DELETE", "/api/sessions/nobody/passkey", None),
    ("GET", "/api/sessions/nobody/metadata", None),
    ("PUT", "/api/sessions/nobody/metadata", {"metadata": {}}),
    ("GET", "/api/sessions/nobody/screenshot", None),
    ("DELETE", "/api/sessions/nobody", {}),
    ("GET", "/sessions/nobody/status", None),
    ("POST", "/sessions/nobody/logout", {}),
    ("POST", SEND, sending(session_id="nobody")),
    ("POST", SEND, sending(workspace_id=2)),
    ("POST", MEDIA, file(session_id="nobody")),
    ("GET", "/api/messages/nobody/validate", None),
]


async def test_an_unknown_session_is_reported_in_the_words_of_the_old_service(
    api: Api, subtests: pytest.Subtests
) -> None:
    for method, path, body in UNKNOWN:
        with subtests.test(method=method, path=path, body=body):
            answer = await api.call(method, path, body)
            assert (answer.status, answer.json()) == (404, {"error": "Session not found"})
