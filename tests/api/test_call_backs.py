"""What the application is told while it handles a message is known to the webhooks."""

import asyncio
import contextlib
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_cluster import Pair
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from tests.waiting import wait_until
from waguard.api.call_backs import ADDRESSES, given_up
from waguard.api.timings import Limits
from waguard.core.replace import replace
from waguard.core.text import raw_http
from waguard.core.webhooks.call_backs import Asked
from waguard.errors import DatabaseUnavailableError

STATUS = f"/api/sessions/{SESSION}/status"


def asked(good: int, bad: int) -> Asked:
    return Asked(good=good, bad=bad)


@pytest.mark.parametrize("path", ["/api/sessions/{}/status", "/sessions/{}/status"])
async def test_status_is_good_where_it_says_connected(api: Api, path: str) -> None:
    api.configure("api", keyless_loopback=True)
    with api.webhooks.call_backs.watching(SESSION) as mine:
        with api.webhooks.call_backs.watching("other") as others:
            await api.call("GET", path.format(SESSION))
            api.sessions.known[SESSION] = a_view(status="disconnected")
            await api.call("GET", path.format(SESSION))
            await api.call("GET", path.format("other"))
        assert mine.status == asked(1, 1)
        assert others.status == asked(0, 1)  # a session that is not there is not connected


async def test_status_that_fails_is_bad(api: Api) -> None:
    with api.webhooks.call_backs.watching(SESSION) as mine:
        api.sessions.fail = DatabaseUnavailableError("away")
        assert (await api.call("GET", STATUS)).status == 503
        assert mine.status == asked(0, 1)


@pytest.mark.parametrize("limits", [Limits(watchers=0)])
async def test_status_that_is_too_much_is_bad(api: Api) -> None:
    """The application drops its message for it."""
    with api.webhooks.call_backs.watching(SESSION) as mine:
        assert (await api.call("GET", f"{STATUS}?api_key={KEY}", key=None)).status == 503
        assert mine.status == asked(0, 1)


async def test_what_others_are_answered_is_not_the_applications(api: Api) -> None:
    """A stranger's refusal would make the application's message uncertain."""
    answer = await api.call("POST", "/api/keys", {"name": "shop", "right": "read"})
    key, key_id = answer.json()["key"], answer.json()["about"]["id"]
    issued = {"X-Api-Key": key}
    elsewhere = {"Host": "evil.example"}
    with api.webhooks.call_backs.watching(SESSION) as mine:
        for path, headers, status in (
            (STATUS, {}, 401),
            (STATUS, {"X-Api-Key": "x" * 24}, 401),
            (STATUS, issued, 200),
            ("/health", issued, 200),
            ("/health", elsewhere, 403),
        ):
            answer = await api.call("GET", path, key=None, headers=headers)
            assert answer.status == status
        nested = {"a": {"api_key": KEY}}
        assert (await api.call("GET", STATUS, nested, key=None)).status == 401
        api.sessions.known[SESSION] = a_view(status="disconnected")
        assert (await api.call("GET", f"{STATUS}?api_key={key}", key=None)).status == 200
        await api.call("DELETE", f"/api/keys/{key_id}")
        api.configure("api", keyless_loopback=True)
        for path in ("/health", f"/sessions/{SESSION}/status"):
            assert (await api.call("GET", path, key=None, headers=issued)).status == 200
        assert (mine.status, mine.health) == (asked(0, 0), asked(0, 0))
        assert (await api.call("GET", f"/sessions/{SESSION}/status", key=None)).status == 200
        assert (await api.call("GET", STATUS, {"api_key": KEY}, key=None)).status == 200
        assert mine.status == asked(0, 2), "the application's own"


async def test_health_is_good_while_anything_is_connected(api: Api) -> None:
    with api.webhooks.call_backs.watching(SESSION) as mine:
        await api.call("GET", "/health", key=None)
        assert mine.health == asked(1, 0)
        api.sessions.status = replace(HEALTHY, connected=0)
        await api.call("GET", "/health", key=None)
        assert mine.health == asked(1, 1)
        await api.call("GET", "/health/live", key=None)
        await api.call("GET", f"/api/sessions/{SESSION}/qr")
        assert (mine.health, mine.status) == (asked(1, 1), asked(0, 0))


# ---- the application has given up ----


def raw(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


KEYED = f"X-Api-Key: {KEY}"


def connected(api: Api) -> socket.socket:
    """Whatever is done to it before the next ``await``, the API has not run meanwhile."""
    at = urlsplit(api.base)
    return socket.create_connection((at.hostname, at.port))


def asks_and_leaves(api: Api, said: bytes) -> None:
    with connected(api) as client:
        client.sendall(said)


@pytest.mark.parametrize("limits", [Limits(), Limits(keyless=0)])
async def test_a_question_of_a_client_that_left_before_it_was_accepted_is_bad(api: Api) -> None:
    with api.webhooks.call_backs.watching(SESSION) as mine:
        asks_and_leaves(api, raw("/health"))
        asks_and_leaves(api, raw(STATUS, KEYED))
        asks_and_leaves(api, raw(f"{STATUS.replace('_', '%5F')}?api_key={KEY}"))
        await wait_until(lambda: mine.status == asked(0, 2), "its status is bad")
        assert mine.health == asked(0, 1)


async def test_what_others_ask_and_leave_is_not_the_applications(api: Api) -> None:
    answer = await api.call("POST", "/api/keys", {"name": "shop", "right": "read"})
    issued = f"X-Api-Key: {answer.json()['key']}"
    with api.webhooks.call_backs.watching(SESSION) as mine:
        for said in (
            b"",
            b"GET",
            raw(STATUS),
            raw(STATUS, "X-Api-Key: wrong"),
            raw(STATUS, issued),
            raw("/health", issued),
            raw("/health/live", KEYED),
            raw(f"/api/sessions/other/{SESSION}/status", KEYED),
            raw(STATUS, KEYED).replace(b"GET", b"HEAD"),
        ):
            asks_and_leaves(api, said)
        asks_and_leaves(api, raw(STATUS.replace(SESSION, "other"), KEYED))
        asks_and_leaves(api, raw(STATUS, KEYED))
        await wait_until(lambda: mine.status == asked(0, 1), "the application's own")
        assert mine.health == asked(0, 0)


@pytest.mark.parametrize("limits", [Limits(), Limits(keyless=0)])
async def test_whoever_is_nobody_or_somebody_elses_gives_up_nothing_without_a_key(api: Api) -> None:
    """A stranger would make dead letters of the application's messages."""
    api.configure("api", keyless_loopback=True)
    keyless = f"/sessions/{SESSION}/status"
    with api.webhooks.call_backs.watching(SESSION) as mine:
        for of_another in (
            "Origin: http://shop.example",
            "X-FORWARDED-FOR: 192.0.2.1",
            "Forwarded: for=192.0.2.1",
        ):
            asks_and_leaves(api, raw("/health", of_another))
            asks_and_leaves(api, raw(keyless, of_another))
        asks_and_leaves(api, raw("/health").replace(b"localhost", b"evil.example"))
        asks_and_leaves(api, raw(STATUS))  # needs a key
        asks_and_leaves(api, raw(keyless))
        await wait_until(lambda: mine.status == asked(0, 1), "the application's own")
        assert mine.health == asked(0, 0)
        asks_and_leaves(api, raw("/health"))
        asks_and_leaves(api, raw("/health", KEYED, "X-Forwarded-For: 192.0.2.1"))
        await wait_until(lambda: mine.health == asked(0, 2), "the application's own")


async def test_who_asks_from_another_machine_is_the_application_where_its_key_was_shown(
    api: Api,
) -> None:
    api.configure("api", keyless_loopback=True)
    question, peer = raw_http.asked(raw("/health")), "::ffff:192.0.2.1"
    with api.webhooks.call_backs.watching(SESSION) as mine:
        for nobody in (peer, "192.0.2.1", "", None):
            given_up(api.app, question, nobody)
        assert mine.health == asked(0, 0)
        api.app[ADDRESSES].add("192.0.2.1")
        given_up(api.app, question, peer)
        given_up(api.app, raw_http.asked(raw(f"/sessions/{SESSION}/status")), peer)
        assert (mine.health, mine.status) == (asked(0, 1), asked(0, 0))


async def test_only_a_key_of_the_key_file_makes_an_address_the_applications(api: Api) -> None:
    answer = await api.call("POST", "/api/keys", {"name": "shop", "right": "read"})
    key, known = answer.json()["key"], api.app[ADDRESSES]
    assert "127.0.0.1" in known
    for number in range(256):
        known.add(f"192.0.2.{number}")
    assert "127.0.0.1" not in known, "the oldest is forgotten"
    await api.call("GET", "/health", key=None)
    await api.call("GET", STATUS, key="x" * 24)
    await api.call("GET", STATUS, key=key)
    assert "127.0.0.1" not in known
    await api.call("GET", "/api/sessions")
    assert "127.0.0.1" in known


async def test_a_question_of_a_client_that_left_before_it_was_begun_is_bad(api: Api) -> None:
    """On a connection that was kept."""
    loop = asyncio.get_running_loop()
    with connected(api) as client:
        client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        client.send(raw(STATUS, KEYED))
        assert b" 200 " in await loop.sock_recv(client, 65_536)
        with api.webhooks.call_backs.watching(SESSION) as mine:
            client.send(raw(STATUS, KEYED))
            client.close()
            await wait_until(lambda: mine.status == asked(0, 1), "its status is bad")


async def test_a_question_of_a_client_that_left_while_it_was_answered_is_bad(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, begun, free = api.sessions.view, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **named: Any) -> Any:
        begun.set()
        await free.wait()
        return await view(*args, **named)

    monkeypatch.setattr(api.sessions, "view", slow)
    with api.webhooks.call_backs.watching(SESSION) as mine:
        with connected(api) as client:
            client.sendall(raw(STATUS, KEYED))
            await begun.wait()
        free.set()
        await wait_until(lambda: mine.status != asked(0, 0), "its status was answered")
        assert mine.status == asked(0, 1)


@pytest.mark.parametrize(("header", "bad"), [("X-Forwarded-For: 192.0.2.1", 0), ("Accept: */*", 1)])
async def test_somebody_else_who_leaves_while_health_is_answered_is_not_the_application(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch, header: str, bad: int
) -> None:
    """Where there are several hosts, the answer may have to wait for the database."""
    api = hosts.one
    views, begun, free = api.sessions.views, asyncio.Event(), asyncio.Event()

    async def slow(**named: Any) -> Any:
        begun.set()
        await free.wait()
        return await views(**named)

    monkeypatch.setattr(api.sessions, "views", slow)
    with api.webhooks.call_backs.watching(SESSION) as mine:
        with connected(api) as client:
            client.sendall(raw("/health", header))
            await begun.wait()
        free.set()
        await api.call("GET", "/health", key=None)
        await wait_until(lambda: mine.health == asked(1, bad), "all were answered")


# ---- the receiver has answered ----


@pytest.mark.parametrize("others", [0, 100])
async def test_questions_that_wait_to_be_accepted_are_known_when_it_has_answered(
    api: Api, others: int
) -> None:
    """The daemon stood still, and the application's question is the last of many in the kernel's queue."""
    with contextlib.ExitStack() as crowd:
        for _ in range(others):
            crowd.enter_context(connected(api))
        asks_and_leaves(api, raw(STATUS, KEYED))
        with api.webhooks.call_backs.watching(SESSION) as mine:
            await api.webhooks.call_backs.caught_up()
            assert mine.status == asked(0, 1)


async def test_a_question_that_nobody_has_read_is_known_when_it_has_answered(api: Api) -> None:
    """On a connection that was kept."""
    loop = asyncio.get_running_loop()
    with connected(api) as client:
        client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        client.send(raw(STATUS, KEYED))
        assert b" 200 " in await loop.sock_recv(client, 65_536)
        client.send(raw(STATUS, KEYED))
    with api.webhooks.call_backs.watching(SESSION) as mine:
        await api.webhooks.call_backs.caught_up()
        assert mine.status == asked(0, 1)


async def test_a_question_that_is_being_answered_is_known_when_it_has_answered(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the database is slow. It is not known once more when its answer is there: that would be another message's."""
    view, begun, free = api.sessions.view, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **named: Any) -> Any:
        begun.set()
        await free.wait()
        return await view(*args, **named)

    monkeypatch.setattr(api.sessions, "view", slow)
    with api.webhooks.call_backs.watching(SESSION) as mine:
        with connected(api) as client:
            client.sendall(raw(STATUS, KEYED))
            await begun.wait()
        await api.webhooks.call_backs.caught_up()
        assert mine.status == asked(0, 1)
    with api.webhooks.call_backs.watching(SESSION) as following:
        await api.webhooks.call_backs.caught_up()
        free.set()
        assert (await api.call("GET", STATUS)).status == 200
        assert following.status == asked(1, 0)


async def test_where_nobody_waits_the_answer_counts_at_once(api: Api) -> None:
    assert (await api.call("GET", STATUS)).status == 200  # its connection is kept
    with pytest.raises(StopIteration):
        api.webhooks.call_backs.caught_up().send(None)
