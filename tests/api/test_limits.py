"""How much is done at a time, and what is said to who would be too much."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import KEY, Answer, Api
from tests.api.fake_sessions import SESSION
from tests.waiting import DEADLINE, wait_until
from waguard.api import limits
from waguard.errors import NoRoomError, UnavailableError

SEND, MEDIA = "/api/messages/send", "/api/messages/send-media"
BODY = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi", "type": "text"}
OTHER = BODY | {"recipient_phone": "6281234567891"}
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


async def test_the_outcome_of_what_was_begun_is_still_told(api: Api) -> None:
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
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json()["field"] == "session_id"
    same = asyncio.create_task(api.call("POST", SEND, BODY))
    api.sessions.free.set()
    assert (await same).status == 200  # it joined the one under way
    assert (await api.call("POST", SEND, BODY | {"message": "c"})).status == 200


@pytest.mark.usefixtures("sending")
async def test_requests_at_a_time(api: Api) -> None:
    api.configure("limits", requests=2)
    answer = await api.call("GET", "/api/sessions")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json()["field"] == "limits.requests"
    assert (await api.call("GET", "/health", key=None)).status == 200


@pytest.mark.usefixtures("sending")
async def test_large_bodies_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_BYTES", 400)
    answer = await api.call("POST", MEDIA, FILE | {"media": "aGk=" * 100})
    assert (answer.status, answer.json()["field"]) == (503, "body")
    assert (await api.call("GET", "/api/sessions")).status == 200


async def test_what_is_over_leaves_its_place(api: Api) -> None:
    api.configure("limits", requests=1)
    for status, session in ((200, SESSION), (404, "unknown")) * 3:
        assert (await api.call("GET", f"/api/sessions/{session}/status")).status == status


async def test_event_streams_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS", 1)
    address, headers = f"{api.base}/api/events", {"X-Api-Key": KEY}
    async with api.http.get(address, headers=headers) as stream:
        assert stream.status == 200
        assert (await api.call("GET", "/api/events")).status == 503
    api.bus.close()  # its end, and that of those to come
    async with asyncio.timeout(DEADLINE):
        while (await api.call("GET", "/api/events")).status != 200:
            await asyncio.sleep(0.01)
