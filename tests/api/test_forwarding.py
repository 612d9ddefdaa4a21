"""Any host answers for any session: two real APIs, and owners with bad manners."""

import asyncio
import dataclasses
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_cluster import SHARED_KEY, Pair
from tests.api.fake_sessions import SESSION
from tests.api.test_raw_requests import sent
from tests.waiting import wait_until
from waguard.core.cluster.forwarded_request import ForwardedRequest, digest, sealed
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.errors import UnavailableError
from waguard.ports.store import AuditEntry

SEND: Final = "/api/messages/send"
TEXT: Final = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hello"}
STATUS: Final = f"/api/sessions/{SESSION}/status"
LARGE: Final = bytes(range(256)) * 40_000  # beyond what all buffers between two hosts hold
NAME: Final = hashlib.sha256(LARGE).hexdigest()
SEND_MEDIA: Final = "/api/messages/send-media"
UPLOADED: Final = {
    "session_id": SESSION,
    "recipient_phone": "6281234567890",
    "media_sha256": NAME,
}


def changes(api: Api) -> list[AuditEntry]:
    return [it for it in api.store.entries if it.kind == "change"]


# ---- what is forwarded ----


async def test_a_send_goes_to_the_owner(hosts: Pair) -> None:
    answer = await hosts.one.call("POST", SEND, TEXT, headers={"X-Request-Id": "r-1"})
    assert (answer.status, answer.json()["success"]) == (200, True)
    assert len(hosts.two.sessions.sends()) == 1
    assert not hosts.one.sessions.sends()
    assert answer.headers["X-Instance-Url"] == "http://h2"
    assert answer.headers.getall("X-Request-Id") == ["r-1"]


@pytest.mark.parametrize("more", ["#part", "?x=1#part", "?x=%23", f"?api_key={KEY}&x=%2F#part"])
async def test_a_request_line_with_a_fragment_is_answered_as_by_the_owner(
    hosts: Pair, more: str
) -> None:
    """No client sends one, but odd ones do; none is forwarded."""
    head = f"GET {STATUS}{more} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n\r\n"
    for api in (hosts.two, hosts.one):
        assert (await sent(api, head.encode())).startswith(b"HTTP/1.1 200 ")


async def test_what_is_its_own_stays_here(hosts: Pair) -> None:
    answer = await hosts.two.call("POST", SEND, TEXT)
    assert answer.status == 200
    assert answer.headers["X-Instance-Url"] == "http://h2"
    assert len(hosts.two.sessions.sends()) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/api/sessions/{SESSION}/stop", {}),
        ("DELETE", f"/api/sessions/{SESSION}?purge=0", None),
        ("PUT", f"/api/sessions/{SESSION}/metadata", {"metadata": {"a": "é"}}),
        ("GET", f"/api/sessions/{SESSION}/contacts/6281234567890%40c.us/picture?x=%2F", None),
        ("POST", "/api/sessions", {"session_id": SESSION, "workspace_id": 1}),
        ("GET", STATUS, None),
        ("HEAD", STATUS, None),
        ("GET", f"/api/sessions/{SESSION}/screenshot", None),
        ("GET", f"/api/messages/{SESSION}/validate", None),
    ],
)
async def test_every_route_of_a_session(
    hosts: Pair, method: str, path: str, body: dict[str, Any] | None
) -> None:
    direct = await hosts.two.call(method, path, body)
    answer = await hosts.one.call(method, path, body)
    assert (answer.status, answer.content) == (direct.status, direct.content)
    assert answer.headers["X-Instance-Url"] == "http://h2"
    assert answer.headers["Content-Type"] == direct.headers["Content-Type"]


async def test_a_change_is_recorded_once_by_who_made_it(hosts: Pair) -> None:
    assert (await hosts.one.call("POST", f"/api/sessions/{SESSION}/stop", {})).status == 200
    assert not changes(hosts.one)
    [entry] = changes(hosts.two)
    assert (entry.reason, entry.after) == ("the application", "done")
    assert isinstance(entry.evidence, dict)
    assert entry.evidence["address"] == "127.0.0.1"


async def test_the_key_does_not_leave(hosts: Pair) -> None:
    """In whichever place it was: the other host has keys of its own."""
    hosts.two.deps.keys.values = frozenset({b"another-key-of-the-other-host"})
    for place in ("header", "query", "body"):
        path, key, body = SEND, None, {**TEXT, "message": place}
        match place:
            case "header":
                key = KEY
            case "query":
                path = f"{SEND}?api_key={KEY}&x=1"
            case _:
                body["api_key"] = KEY
        answer = await hosts.one.call("POST", path, body, key=key)
        assert answer.status == 200, place
    assert len(hosts.two.sessions.sends()) == 3


async def test_a_key_for_some_sessions_is_one_there(hosts: Pair) -> None:
    hosts.one.deps.keys.find_issued = {
        "reader": Caller(name="reader", right=Right.READ),
        "other": Caller(name="other", right=Right.ADMIN, sessions=frozenset({"x"})),
    }.get
    refused = await hosts.one.call("POST", SEND, TEXT, key="reader")
    assert refused.status == 403
    assert "read" in refused.json()["error"]
    assert (await hosts.one.call("GET", STATUS, key="reader")).status == 200
    assert (await hosts.one.call("GET", STATUS, key="other")).status == 404
    assert not hosts.two.sessions.sends()


async def test_without_a_key_from_the_loopback(hosts: Pair) -> None:
    path = f"/sessions/{SESSION}/status"
    assert (await hosts.one.call("GET", path, key=None)).status == 401
    hosts.one.configure("api", keyless_loopback=True)
    assert (await hosts.one.call("GET", path, key=None)).status == 200
    assert (await hosts.one.call("GET", STATUS, key=None)).status == 401


async def test_who_waits_for_a_message_of_another_host(hosts: Pair) -> None:
    """Rows of messages and letters name their session."""
    hosts.two.sessions.free.clear()
    later = {**TEXT, "send_at": int(time.time()) + 3600}
    accepted = (await hosts.two.call("POST", SEND, later)).json()
    hosts.one.deps.outgoing.find = hosts.two.deps.outgoing.find  # type: ignore[method-assign]
    answer = await hosts.one.call("POST", f"/api/messages/{accepted['id']}/cancel", {})
    assert (answer.status, answer.json()["status"]) == (200, "cancelled")


async def test_a_session_that_nobody_knows_is_answered_here(hosts: Pair) -> None:
    assert (await hosts.one.call("POST", SEND, {**TEXT, "session_id": "none"})).status == 404
    assert (await hosts.one.call("POST", SEND, {**TEXT, "session_id": "a b"})).status == 400
    assert (await hosts.one.call("POST", SEND, {**TEXT, "session_id": 7})).status == 400


async def test_a_new_session_is_this_hosts(hosts: Pair) -> None:
    body = {"session_id": "new", "workspace_id": 1}
    assert (await hosts.one.call("POST", "/api/sessions", body)).status == 201
    assert "new" in hosts.one.sessions.known
    assert "new" not in hosts.two.sessions.known


async def test_a_new_session_that_another_host_has_claimed_meanwhile_is_that_hosts(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application writes its row before it asks for the session, and each host sees it there."""

    async def late(*_: object, **__: object) -> None:
        hosts.all.owners["new"] = "h2"
        raise UnavailableError("another host owns the session", retry_after=5)

    monkeypatch.setattr(hosts.one.sessions, "create", late)
    answer = await hosts.one.call("POST", "/api/sessions", {"session_id": "new", "workspace_id": 1})
    assert answer.status == 201, answer.content
    assert answer.headers["X-Instance-Url"] == "http://h2"
    assert "new" in hosts.two.sessions.known


async def test_a_new_session_that_cannot_be_created_here_is_refused(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise UnavailableError("this host is being emptied", retry_after=5)

    monkeypatch.setattr(hosts.one.sessions, "create", refused)
    answer = await hosts.one.call("POST", "/api/sessions", {"session_id": "new", "workspace_id": 1})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "new" not in hosts.two.sessions.known


# ---- large bodies ----


async def test_a_large_body_goes_through(hosts: Pair) -> None:
    content = "A" * (12 << 20)
    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "media": content}
    answer = await hosts.one.call("POST", "/api/messages/send-media", {**body, "filename": "a.pdf"})
    assert answer.status == 200, answer.content
    [call] = hosts.two.sessions.sends()
    assert len(call.content) == 9 << 20  # type: ignore[union-attr]


async def test_a_received_file_of_another_host(hosts: Pair) -> None:
    hosts.two.media.keep(LARGE, "application/pdf")
    answer = await hosts.one.call("GET", f"/api/media/{NAME}")
    assert answer.status == 200
    assert answer.content == LARGE
    assert answer.headers["Content-Type"] == "application/pdf"
    part = await hosts.one.call("GET", f"/api/media/{NAME}", headers={"Range": "bytes=8-16"})
    assert (part.status, part.content) == (206, LARGE[8:17])
    assert (await hosts.one.call("GET", f"/api/media/{'0' * 64}")).status == 404


async def test_a_file_of_a_host_that_is_away(hosts: Pair) -> None:
    hosts.all.change("h2", alive=False)
    answer = await hosts.one.call("GET", f"/api/media/{'0' * 64}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_an_upload_goes_to_the_host_that_sends_it(hosts: Pair) -> None:
    """To whichever host it came; the send may come to either."""
    headers = {"Content-Type": "application/pdf"}
    assert (await hosts.one.call("POST", "/api/media", data=LARGE, headers=headers)).status == 200
    for api in (hosts.one, hosts.two):
        assert (await api.call("POST", SEND_MEDIA, UPLOADED)).status == 200
    first, _ = hosts.two.sessions.sends()
    assert Path(first.file).read_bytes() == LARGE  # type: ignore[union-attr]
    missing = UPLOADED | {"media_sha256": "0" * 64}
    assert (await hosts.one.call("POST", SEND_MEDIA, missing)).status == 400


async def test_an_upload_goes_to_the_host_that_keeps_its_message_for_the_next_owner(
    hosts: Pair,
) -> None:
    headers = {"Content-Type": "application/pdf"}
    assert (await hosts.two.call("POST", "/api/media", data=LARGE, headers=headers)).status == 200
    del hosts.all.owners[SESSION]
    move_away(hosts.one)
    kept = await hosts.one.call("POST", SEND_MEDIA, UPLOADED | {"queue": True})
    assert kept.status == 202, kept.content
    assert await hosts.one.deps.outgoing_files.find(NAME)
    missing = UPLOADED | {"queue": True, "media_sha256": "0" * 64}
    assert (await hosts.one.call("POST", SEND_MEDIA, missing)).status == 400


@pytest.mark.parametrize("is_owned", [True, False])
async def test_an_upload_of_a_host_that_is_away_or_fails(
    hosts: Pair,
    monkeypatch: pytest.MonkeyPatch,
    is_owned: bool,  # noqa: FBT001 - of a table
) -> None:
    """A 400 would be final for the application."""

    async def failing(_: str) -> None:
        raise UnavailableError("its disk fails", retry_after=5)

    asked, other = (hosts.two, hosts.one) if is_owned else (hosts.one, hosts.two)
    if not is_owned:
        del hosts.all.owners[SESSION]
        move_away(hosts.one)
    body = UPLOADED | {"queue": True}
    assert (await asked.call("POST", SEND_MEDIA, body)).status == 400
    with monkeypatch.context() as patched:
        patched.setattr(other.deps.outgoing_files, "find", failing)
        answer = await asked.call("POST", SEND_MEDIA, body)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    hosts.all.add("h3", "http://h3")
    hosts.all.change("h3", alive=False)
    answer = await asked.call("POST", SEND_MEDIA, body)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["field"] == "media_sha256"


# ---- nobody, or another one by now ----


def move_away(api: Api) -> None:
    known = api.sessions.known
    known[SESSION] = replace(known[SESSION], elsewhere=True)


async def test_nobody_owns_it(hosts: Pair) -> None:
    del hosts.all.owners[SESSION]
    move_away(hosts.one)
    answer = await hosts.one.call("POST", SEND, TEXT)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    for later in ({"queue": True}, {"send_at": time.time() + 600}):
        kept = await hosts.one.call("POST", SEND, TEXT | later)
        assert kept.status == 202
    bulk = {"session_id": SESSION, "recipients": ["6281234567890"], "message": "hello"}
    assert (await hosts.one.call("POST", "/api/messages/bulk-send", bulk)).status == 202
    status = await hosts.one.call("GET", STATUS)
    assert (status.status, status.json()["status"]) == (200, "disconnected")
    assert status.json()["waiting"]
    assert not hosts.one.sessions.sends()


async def test_one_hop(hosts: Pair) -> None:
    """Each of two hosts takes the other one for the owner."""
    hosts.hosts["h2"].all = dataclasses.replace(hosts.all, owners={SESSION: "h1"})
    answer = await hosts.one.call("POST", SEND, TEXT)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert not hosts.one.sessions.sends()
    assert not hosts.two.sessions.sends()


async def test_the_old_address_of_this_host_itself(hosts: Pair) -> None:
    hosts.all.owners[SESSION] = "h0"
    hosts.all.add("h0", hosts.one.base)
    move_away(hosts.one)
    assert (await hosts.one.call("POST", SEND, TEXT)).status == 503


async def test_what_a_person_sends_on_the_socket_of_another_host(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application has to hear of it by a webhook, as of any other that it did not send."""
    seal = sealed(
        ForwardedRequest(
            method="POST",
            target=SEND,
            to=hosts.two.base,
            at=time.time(),
            nonce="n",
            caller=Caller(name="root by the socket", right=Right.ADMIN),
            on_socket=True,
            start="s-h2",
            content=digest(
                json.dumps(TEXT).encode(), content_type="application/json", idempotency_key=""
            ),
        ),
        SHARED_KEY,
    )
    said, answered = [], hosts.two.outbox.answered

    def noting(which: Any, *, direct: bool) -> bool:
        said.append(direct)
        return answered(which, direct=direct)

    monkeypatch.setattr(hosts.two.outbox, "answered", noting)
    headers = {"Authorization": f"Bearer {seal}"}
    assert (await hosts.two.call("POST", SEND, TEXT, key=None, headers=headers)).status == 200
    assert (await hosts.one.call("POST", SEND, TEXT | {"message": "b"})).status == 200
    await wait_until(lambda: said == [False, True], "the other host has confirmed it")


async def test_a_header_that_is_no_text(hosts: Pair) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(hosts.one.base.rpartition(":")[2])
    )
    head = f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nX-Odd: "
    writer.write(head.encode() + b"\xff\xfe\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()


def test_one_host_alone_imports_nothing_of_it() -> None:
    code = (
        "import sys, waguard.api, waguard.api.app; waguard.api.create_app(None);"
        "own = {'waguard.api.forwarding', 'waguard.api.host_calls', 'waguard.api.host_seals'};"
        "print(sorted(it for it in sys.modules if it in own or 'cluster' in it))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
