"""/api/versions and /api/wajs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api, serving
from tests.api.fake_cluster import Pair, pair
from tests.api.fake_sessions import SESSION, a_view
from tests.api.fake_versions import ADDED, LISTED, OFF, PACKED
from waguard.api.deps import SEALS
from waguard.api.timings import Timings
from waguard.core.replace import replace
from waguard.wire.reports import PageVersion

VERSION = PageVersion(
    page=1023,
    document=1022,
    wajs=PACKED,
    wajs_version="4.6.0",
    served_by="store",
    missing=("WPP.x",),
)


async def test_versions_are_listed(api: Api) -> None:
    answer = await api.call("GET", "/api/versions")
    assert answer.json() == {
        "success": True,
        "mode": "react",
        "newest": 1023,
        "pinned": None,
        "held_from": 1023,
        "trying": None,
        "versions": [
            {
                "revision": revision,
                "status": status,
                "since": "2024-11-22T01:46:40Z",
                "why": "so it is",
                "sessions": ["s1"],
                "wajs": [PACKED],
                "stored": True,
                "latest": False,
                "served": status == "good",
            }
            for revision, status in ((1023, "held"), (1022, "good"))
        ],
    }


async def test_changes_name_who_asked(api: Api) -> None:
    pinned = await api.call("POST", "/api/versions/pin", {"revision": 1022})
    assert (pinned.status, pinned.json()["pinned"]) == (200, 1022)
    unpinned = await api.call("POST", "/api/versions/unpin", {})
    assert unpinned.json()["pinned"] is None
    body = {"revision": 1023, "session_id": SESSION}
    assert (await api.call("POST", "/api/versions/try", body)).status == 200
    assert (await api.call("POST", "/api/versions/try", {})).status == 200
    who = "the application"
    assert api.versions.done == [
        ("pin", 1022, who),
        ("unpin", who),
        ("try", 1023, SESSION, who),
        ("try", None, None, who),
    ]


async def test_bundles_are_listed_tried_and_used(api: Api) -> None:
    shown = (await api.call("GET", "/api/wajs")).json()
    assert api.versions.refreshed == 1
    assert shown["configured"] is None
    assert shown["bundles"][0] == {
        "sha256": PACKED,
        "version": None,
        "packed": True,
        "in_use": True,
        "candidate": False,
        "rolled_back_at": None,
        "sessions": ["s1"],
    }
    assert shown["bundles"][1]["rolled_back_at"] == "2024-11-22T01:46:40Z"
    tried = await api.call("POST", "/api/wajs/try", {"sha256": ADDED[:8], "session_id": SESSION})
    assert tried.status == 200
    assert (await api.call("POST", "/api/wajs/use", {"sha256": ADDED.upper()})).status == 200
    who = "the application"
    assert api.versions.done == [
        ("try bundle", ADDED[:8], SESSION, who),
        ("use bundle", ADDED, who),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("versions/pin", {}, 400, "revision"),
        ("versions/pin", {"revision": "x"}, 400, "revision"),
        ("versions/pin", {"revision": 0}, 400, "revision"),
        ("versions/try", {"session_id": "../x"}, 400, "session_id"),
        ("versions/try", {"session_id": "nobody"}, 404, None),
        ("wajs/try", {"sha256": "xyz"}, 400, "sha256"),
        ("wajs/use", {}, 400, "sha256"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    api: Api, path: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    answer = await api.call("POST", f"/api/{path}", body)
    assert (answer.status, answer.json().get("field")) == (status, field)
    assert api.versions.done == []


async def test_an_unknown_version_is_404_and_the_known_ones_are_named(api: Api) -> None:
    answer = await api.call("POST", "/api/versions/pin", {"revision": 7})
    assert answer.status == 404
    assert answer.json()["remedy"] == "stored are 1023, 1022"


async def test_where_it_is_off_nothing_is_changed(api: Api) -> None:
    api.versions.fail = OFF
    for path, body in (("pin", {"revision": 1022}), ("unpin", {}), ("try", {})):
        answer = await api.call("POST", f"/api/versions/{path}", body)
        assert (answer.status, answer.json()["field"]) == (409, "versions.mode")


async def test_a_session_shows_what_its_page_is(api: Api) -> None:
    api.sessions.known[SESSION] = a_view(version=VERSION)
    shown = (await api.call("GET", f"/api/sessions/{SESSION}/status")).json()
    assert shown["version"] == {
        "page": 1023,
        "document": 1022,
        "served_by": "store",
        "wajs": PACKED,
        "wajs_version": "4.6.0",
        "missing": ["WPP.x"],
    }
    metrics = (await api.call("GET", "/metrics")).content.decode()
    assert (
        f'waguard_session_version_info{{document="1022",page="1023",served_by="store",session="{SESSION}"'
        f',wajs="{PACKED}",wajs_version="4.6.0"}} 1.0' in metrics
    )
    assert "waguard_versions_held 0.0" in metrics


@contextlib.asynccontextmanager
async def answering(content: bytes | None = None) -> AsyncIterator[str]:
    """The base URL of a host that takes connections and does not answer, or that answers this."""

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if content is None:
            await reader.read()
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        writer.close()

    async with await asyncio.start_server(attend, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_all_hosts_show_theirs(hosts: Pair) -> None:
    own = (await hosts.two.call("GET", "/api/versions")).json()
    hosts.one.versions.now = replace(LISTED, pin=1022)
    hosts.all.add("h3", "http://127.0.0.1:9")
    hosts.all.add("h0", "http://127.0.0.1:8")
    hosts.all.change("h0", alive=False)
    found = (await hosts.one.call("GET", "/api/versions")).json()
    assert (found["host"], found["pinned"]) == ("h1", 1022)
    others = found["hosts"]
    assert others == {"h2": {it: own[it] for it in own if it not in {"host", "hosts"}}, "h3": None}
    assert others["h2"]["pinned"] is None
    changed = (await hosts.one.call("POST", "/api/versions/unpin", {})).json()
    assert "hosts" not in changed


@pytest.mark.parametrize("content", [b"[]", b'{"success": true}', b"{"])
async def test_versions_of_a_host_that_says_something_else(hosts: Pair, content: bytes) -> None:
    async with answering(content) as base:
        hosts.all.change("h2", address=base)
        found = (await hosts.one.call("GET", "/api/versions")).json()
    assert found["hosts"] == {"h2": None}


async def test_a_host_that_does_not_answer_delays_them_for_a_moment(tmp_path: Path) -> None:
    soon = Timings(hosts_answer=0.1)
    async with pair(serving, tmp_path, timings=soon) as hosts, answering() as base:
        hosts.all.change("h2", address=base)
        found = (await hosts.one.call("GET", "/api/versions")).json()
    assert found["hosts"] == {"h2": None}


async def test_a_host_that_refuses_says_nothing_of_its_versions(hosts: Pair) -> None:
    hosts.two.deps.keys.is_of_a_host = lambda _: False
    hosts.two.app[SEALS].opened = lambda *_: None  # type: ignore[method-assign]
    assert (await hosts.one.call("GET", "/api/versions")).json()["hosts"] == {"h2": None}
