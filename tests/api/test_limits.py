"""How much is done at a time, and what is said to who would be too much."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import KEY, Answer, Api
from tests.api.fake_sessions import SESSION, a_view
from tests.waiting import DEADLINE, wait_until
from waguard.api.timings import Limits, Timings
from waguard.errors import NoRoomError, UnavailableError

SEND, MEDIA = "/api/messages/send", "/api/messages/send-media"
BODY = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi", "type": "text"}
OTHER = BODY | {"recipient_phone": "6281234567891"}
BODIES = len(json.dumps(BODY)) + len(json.dumps(OTHER))  # bytes
FILE = {k: v for k, v in BODY.items() if k not in {"type", "message"}} | {"media": "aGk="}
NEW = {"session_id": "new", "workspace_id": 1}
FULL = NoRoomError("full", field="limits.disk_reserve", remedy="free some space", retry_after=60)
BEHIND = UnavailableError("the database is behind", retry_after=10)


@pytest.fixture
async def sending(api: Api) -> AsyncIterator[list["asyncio.Task[Answer]"]]:
    """Two sends that are under way."""
    api.sessions.free.clear()
    tasks = [asyncio.create_task(api.call("POST", SEND, body)) for body in (BODY, OTHER)]
    await wait_until(lambda: len(api.sessions.sends()) == 2, "both are under way")
    yield tasks
    api.sessions.free.set()
    assert [answer.status for answer in await asyncio.gather(*tasks)] == [200, 200]


@pytest.mark.parametrize(("why", "status", "after"), [(FULL, 507, "60"), (BEHIND, 503, "10")])
async def test_no_new_work_is_begun(
    api: Api, why: NoRoomError | UnavailableError, status: int, after: str
) -> None:
    api.no_room = why
    for path, body in ((SEND, BODY), (MEDIA, FILE), ("/api/sessions", NEW)):
        answer = await api.call("POST", path, body)
        assert (answer.status, answer.headers["Retry-After"]) == (status, after), path
        assert answer.json()["error"] == why.message
    assert api.sessions.calls == []
    assert "new" not in api.sessions.known
    assert (await api.call("GET", f"/api/sessions/{SESSION}/status")).status == 200


async def test_the_outcome_of_what_was_begun_is_still_reported(api: Api) -> None:
    """The application repeats what it got no reply to; "no room" would be a lie then."""
    api.sessions.free.clear()
    first = asyncio.create_task(api.call("POST", SEND, BODY))
    await wait_until(api.sessions.sends, "it began")
    api.no_room = FULL
    again = asyncio.create_task(api.call("POST", SEND, BODY))
    other = await api.call("POST", SEND, BODY | {"message": "other"})
    assert other.status == 507
    api.sessions.free.set()
    answers = await asyncio.gather(first, again)
    assert answers[0].json() == answers[1].json()


@pytest.mark.usefixtures("sending")
async def test_sends_of_one_session_at_a_time(api: Api) -> None:
    api.configure("limits", sends_in_flight=2)
    answer = await api.call("POST", SEND, BODY | {"message": "c"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["field"] == "session_id"
    same = asyncio.create_task(api.call("POST", SEND, BODY))
    api.sessions.free.set()
    assert (await same).status == 200  # it joined the one under way
    assert (await api.call("POST", SEND, BODY | {"message": "c"})).status == 200


WATCHED = [
    f"/api/sessions/{SESSION}/status",
    f"/sessions/{SESSION}/status",
    "/api/sessions",
    "/health",
    "/health/live",
    "/health/ready",
    "/health/detailed",
]
OTHER_WORK = f"/api/messages/{SESSION}/validate"


@pytest.mark.usefixtures("sending")
async def test_requests_at_a_time(api: Api) -> None:
    api.configure("limits", requests=2)
    answer = await api.call("GET", OTHER_WORK)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json()["field"] == "limits.requests"


@pytest.mark.usefixtures("sending")
@pytest.mark.parametrize("path", WATCHED)
@pytest.mark.parametrize("limits", [Limits(body_bytes=BODIES)])
async def test_sends_without_an_ack_do_not_hide_how_the_others_are(api: Api, path: str) -> None:
    """The application writes "disconnected" into the row of a session that is not answered."""
    api.configure("limits", requests=2)
    bodies: tuple[object, ...] = (None, [])
    for body in bodies:
        assert (await api.call("GET", path, body)).status == 200
    assert (await api.call("HEAD", path)).status == 200


async def test_four_sessions_with_all_the_sends_that_they_may_have(api: Api) -> None:
    """With the default limits, which they use up."""
    names = [f"busy{number}" for number in range(4)]
    most = api.config.limits.sends_in_flight
    assert len(names) * most == api.config.limits.requests
    for name in names:
        api.sessions.known[name] = a_view(session_id=name)
    api.sessions.free.clear()
    sends = [
        asyncio.create_task(api.call("POST", SEND, BODY | {"session_id": name, "message": f"{n}"}))
        for name in names
        for n in range(most)
    ]
    await wait_until(lambda: api.outbox.owed() == len(sends), "all are under way")
    assert (await api.call("POST", SEND, BODY)).json()["field"] == "limits.requests"
    for path in WATCHED:
        assert (await api.call("GET", path)).status == 200, path
    api.sessions.free.set()
    assert {(await send).status for send in sends} == {200}
    assert (await api.call("POST", SEND, BODY)).status == 200


@pytest.mark.parametrize("limits", [Limits(watchers=1)])
async def test_watchers_have_an_end_too_and_disturb_only_their_like(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, free = asyncio.Event(), asyncio.Event()

    async def ping() -> None:
        asked.set()
        await free.wait()

    monkeypatch.setattr(api.store, "ping", ping)
    slow = asyncio.create_task(api.call("GET", "/health/detailed"))
    async with asyncio.timeout(DEADLINE):
        await asked.wait()
    answer = await api.call("GET", "/health/detailed")
    assert (answer.status, answer.json()["field"]) == (503, "GET /health/detailed")
    for path in WATCHED[:-1]:
        assert (await api.call("GET", path)).status == 200, path
    free.set()
    assert (await slow).status == 200


@pytest.mark.parametrize("timings", [Timings(request=0.05)])
async def test_a_change_that_goes_on_behind_its_request_keeps_its_place(api: Api) -> None:
    api.configure("limits", requests=1)
    api.sessions.free.clear()
    assert (await api.call("POST", f"/api/sessions/{SESSION}/reconnect")).status == 503
    assert (await api.call("GET", OTHER_WORK)).json()["field"] == "limits.requests"
    api.sessions.free.set()
    await wait_until(lambda: api.sessions.done == ["restart"], "the change ends")
    async with asyncio.timeout(DEADLINE):
        while (await api.call("GET", OTHER_WORK)).status != 200:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def half_sent(api: Api, *, count: int, head: str, body: bytes) -> AsyncIterator[None]:
    """Requests whose body does not end; the server has what there is of it."""
    async with contextlib.AsyncExitStack() as open_ones:
        for _ in range(count):
            address = api.base.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(*address)
            open_ones.callback(writer.close)
            reported = (
                f"POST {MEDIA} HTTP/1.1\r\nHost: localhost\r\n{head}Expect: 100-continue\r\n\r\n"
            )
            writer.write(reported.encode() + body)
            async with asyncio.timeout(DEADLINE):
                assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        yield


async def test_half_a_body_takes_no_place(api: Api) -> None:
    api.configure("limits", requests=1)
    async with half_sent(api, count=5, head="Content-Length: 10\r\n", body=b"{"):
        assert (await api.call("GET", OTHER_WORK)).status == 200
        assert (await api.call("POST", SEND, BODY)).status == 200


@pytest.mark.parametrize("limits", [Limits(bodies=2)])
async def test_bodies_at_a_time(api: Api) -> None:
    head = f"X-Api-Key: {KEY}\r\nContent-Length: 10\r\n"
    async with half_sent(api, count=2, head=head, body=b"{"):
        answer = await api.call("POST", SEND, BODY)
        assert (answer.status, answer.json()["field"]) == (503, "body")
        assert (await api.call("GET", WATCHED[0], [])).status == 200
    async with asyncio.timeout(DEADLINE):
        while (await api.call("POST", SEND, BODY)).status != 200:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("limits", [Limits(body_bytes=1_000)])
async def test_a_chunked_body_takes_the_bytes_that_it_has(api: Api) -> None:
    head = f"X-Api-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n"
    async with half_sent(api, count=5, head=head, body=b"64\r\n" + b" " * 100 + b"\r\n"):
        assert (await api.call("POST", SEND, data=chunked(json.dumps(BODY)))).status == 200
        answer = await api.call("POST", SEND, data=chunked(" " * 600))
        assert (answer.status, answer.json()["field"]) == (503, "body")
        assert (await api.call("POST", SEND, data=chunked(json.dumps(OTHER)))).status == 200


async def chunked(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


@pytest.mark.usefixtures("sending")
@pytest.mark.parametrize("limits", [Limits(body_bytes=400)])
async def test_large_bodies_at_a_time(api: Api) -> None:
    answer = await api.call("POST", MEDIA, FILE | {"media": "aGk=" * 100})
    assert (answer.status, answer.json()["field"]) == (503, "body")
    assert (await api.call("GET", OTHER_WORK)).status == 200


async def test_what_is_over_leaves_its_place(api: Api) -> None:
    api.configure("limits", requests=1)
    for status, session in ((200, SESSION), (404, "unknown")) * 3:
        path = f"/api/messages/{session}/validate"
        assert (await api.call("GET", path)).status == status


@pytest.mark.parametrize("limits", [Limits(streams=1)])
async def test_event_streams_at_a_time(api: Api) -> None:
    address, headers = f"{api.base}/api/events", {"X-Api-Key": KEY}
    async with api.http.get(address, headers=headers) as stream:
        assert stream.status == 200
        assert (await api.call("GET", "/api/events")).status == 503
    api.bus.close()  # its end, and that of those to come
    async with asyncio.timeout(DEADLINE):
        while (await api.call("GET", "/api/events")).status != 200:
            await asyncio.sleep(0.01)
