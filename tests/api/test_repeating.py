"""What the application may repeat. It takes every 4xx for final and sends the identical request
again after a 5xx: 503 with Retry-After where the same request may succeed in a moment, 409 only
where a person must act, and a 4xx only for what stays wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from tests.waiting import wait_until
from waguard.api.timings import DEFAULT_LIMITS, Limits, Timings
from waguard.errors import (
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
    NoRoomError,
    NotFoundError,
    NotYetError,
    RefusedError,
    SessionIdTakenError,
    TooManyError,
    UnauthorizedError,
    UnavailableError,
    WaguardError,
)
from waguard.messaging.outbox.fetch import NotFetchedError
from waguard.messaging.outbox.repetitions import KeyReusedError
from waguard.messaging.timings import BOUNDS, SendBounds
from waguard.ports.outcomes import NotSent, Outcome, Refused
from waguard.profile.lock import ProfileInUseError

ONE = f"/api/sessions/{SESSION}"
TEXT = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi"}
FILE = {k: v for k, v in TEXT.items() if k != "message"}
NEW = {"session_id": "new", "workspace_id": 1}
CODE = {"phone_number": "6281234567890"}

Request = tuple[str, str, Any]

SEND: Request = ("POST", "/api/messages/send", TEXT)
BULK: Request = ("POST", "/api/messages/bulk-send", TEXT | {"recipients": ["6281234567890"]})
MEDIA: Request = ("POST", "/api/messages/send-media", FILE | {"media": "aGk="})
CREATE: Request = ("POST", "/api/sessions", NEW)
STATUS: Request = ("GET", f"{ONE}/status", None)
LOGOUT: Request = ("POST", f"{ONE}/logout", [])
DELETE: Request = ("DELETE", ONE, [])
RECONNECT: Request = ("POST", f"{ONE}/reconnect", {})
QR: Request = ("GET", f"{ONE}/qr", None)
NEW_QR: Request = ("POST", f"{ONE}/regenerate-qr", {})
PAIRING: Request = ("POST", f"{ONE}/pairing-code", CODE)
PICTURE: Request = ("GET", f"{ONE}/screenshot", None)

LEAVING = UnavailableError("the session is being logged out or deleted", retry_after=5)
STARTING = UnavailableError("Session not connected yet: it is starting", retry_after=5)
QR_SHOWN = ConflictError("Session not connected: it is qr_pending")
STOPPED = ConflictError("Session not connected: it is stopped")
DOWN = DatabaseUnavailableError("the database does not answer")
BEHIND = UnavailableError("the database is behind", retry_after=10)
FULL = NoRoomError("full", retry_after=60)

Arrange = Callable[[Api, pytest.MonkeyPatch], None]


def fails(error: BaseException) -> Arrange:
    return lambda api, _: setattr(api.sessions, "fail", error)


def not_ready(error: WaguardError) -> Arrange:
    def given(api: Api, _: pytest.MonkeyPatch) -> None:
        api.configure("send", wait=0.05)
        api.sessions.connect(error)

    return given


def gives(error: WaguardError) -> Arrange:
    return lambda api, _: api.sessions.values.append(error)


def ends(outcome: Outcome) -> Arrange:
    return lambda api, _: api.sessions.outcomes.append(outcome)


def no_room(error: WaguardError) -> Arrange:
    return lambda api, _: setattr(api, "no_room", error)


def stopping(api: Api, _: pytest.MonkeyPatch) -> None:
    api.outbox._ctx.accepted.closing = True


def nothing(_: Api, __: pytest.MonkeyPatch) -> None:
    return


@dataclass(frozen=True)
class Row:
    """When a request gets which status, and whether it may be repeated."""

    when: str
    status: int
    request: Request
    given: Arrange = nothing
    limits: Limits = DEFAULT_LIMITS
    bounds: SendBounds = BOUNDS
    key: str | None = KEY


MOMENT = [
    Row("too many messages wait", 503, BULK, bounds=SendBounds(waiting=0)),
    Row("too many bytes", 503, MEDIA, limits=Limits(body_bytes=10)),
    Row("too many bodies", 503, SEND, limits=Limits(bodies=0)),
    Row("waguard stops", 503, SEND, stopping),
    Row("the database is behind", 503, SEND, no_room(BEHIND)),
    Row("the disk is full", 507, SEND, no_room(FULL)),
    Row("the disk is full, create", 507, CREATE, no_room(FULL)),
    Row("the database is down, send", 503, SEND, fails(DOWN)),
    Row("the database is down, status", 503, STATUS, fails(DOWN)),
    Row("the database is down, create", 503, CREATE, fails(DOWN)),
    Row("the session starts", 503, SEND, not_ready(STARTING)),
    Row("the session starts, file", 503, MEDIA, not_ready(STARTING)),
    Row("the page is not ready", 503, SEND, ends(NotSent(UnavailableError("Session not ready")))),
    Row("it is being deleted, delete", 503, DELETE, fails(LEAVING)),
    Row("it is being deleted, logout", 503, LOGOUT, fails(LEAVING)),
    Row("it is being deleted, reconnect", 503, RECONNECT, fails(LEAVING)),
    Row("it is being deleted, create", 503, CREATE, fails(LEAVING)),
    Row("its profile is in use", 503, DELETE, fails(ProfileInUseError("in use"))),
    Row("no QR code yet, but a new one", 503, NEW_QR, fails(NotYetError("soon", retry_after=2))),
    Row("no QR code yet", 425, QR, fails(NotYetError("soon", retry_after=2))),
    Row("no pairing code yet", 503, PAIRING, gives(UnavailableError("WhatsApp gave no code"))),
    Row("no picture yet", 503, PICTURE, fails(STARTING)),
]
FINAL = [
    Row("a QR code must be scanned", 409, SEND, not_ready(QR_SHOWN)),
    Row("a person stopped it", 409, SEND, not_ready(STOPPED)),
    Row("a person stopped it, QR code", 409, QR, fails(STOPPED)),
    Row("a person stopped it, picture", 409, PICTURE, fails(STOPPED)),
    Row("it is linked", 409, NEW_QR, fails(ConflictError("the session is already linked"))),
    Row(
        "another workspace's",
        409,
        ("POST", "/api/sessions", NEW | {"session_id": SESSION} | {"workspace_id": 2}),
    ),
    Row("no key", 401, SEND, key=None),
    Row("no such session", 404, ("GET", "/api/sessions/nobody/status", None)),
    Row("no such route", 404, ("GET", "/api/nothing", None)),
    Row("no such method", 405, ("PATCH", ONE, None)),
    Row("bad input", 400, ("POST", "/api/messages/send", TEXT | {"message": ""})),
    Row("WhatsApp refuses", 422, SEND, ends(Refused(RefusedError("no such number")))),
    Row("too large", 413, ("POST", "/api/messages/send", TEXT | {"message": "x" * (1 << 20)})),
]


@pytest.mark.parametrize(
    ("row", "limits", "bounds"),
    [pytest.param(row, row.limits, row.bounds, id=row.when) for row in MOMENT],
)
async def test_what_may_succeed_in_a_moment(
    api: Api, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    row.given(api, monkeypatch)
    method, path, body = row.request
    answer = await api.call(method, path, body, key=row.key)
    assert answer.status == row.status, answer.content
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["error"]


@pytest.mark.parametrize("row", FINAL, ids=lambda row: row.when)
async def test_what_stays_as_it_is(api: Api, monkeypatch: pytest.MonkeyPatch, row: Row) -> None:
    row.given(api, monkeypatch)
    method, path, body = row.request
    answer = await api.call(method, path, body, key=row.key)
    assert answer.status == row.status, answer.content
    assert "Retry-After" not in answer.headers
    assert answer.json()["error"]


async def test_the_51st_send_of_a_session(api: Api) -> None:
    api.sessions.free.clear()
    sends = [
        asyncio.create_task(api.call("POST", SEND[1], TEXT | {"message": str(number)}))
        for number in range(api.config.limits.sends_in_flight)
    ]
    await wait_until(lambda: api.outbox.owed() == len(sends), "they are under way")
    answer = await api.call(*SEND)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    api.sessions.free.set()
    assert {(await send).status for send in sends} == {200}
    assert (await api.call(*SEND)).status == 200


@pytest.mark.parametrize("timings", [Timings(body=0.05)])
async def test_a_body_that_comes_too_slowly(api: Api) -> None:
    host, port = api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /api/messages/send HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    async with asyncio.timeout(20):
        reported = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert b" 503 " in reported
    assert b"Retry-After: " in reported


STATUSES: dict[type[WaguardError], int] = {
    InvalidInputError: 400,
    UnauthorizedError: 401,
    NotFoundError: 404,
    ConflictError: 409,
    SessionIdTakenError: 409,
    RefusedError: 422,
    NotFetchedError: 422,
    KeyReusedError: 422,
    NotYetError: 425,
    UnavailableError: 503,
    DatabaseUnavailableError: 503,
    TooManyError: 503,
    ProfileInUseError: 503,
    NoRoomError: 507,
}


@pytest.mark.parametrize("kind", STATUSES, ids=lambda kind: kind.__name__)
async def test_each_error_has_its_status(api: Api, kind: type[WaguardError]) -> None:
    api.sessions.fail = KeyReusedError() if kind is KeyReusedError else kind("why")
    answer = await api.call(*RECONNECT)
    assert (answer.status, bool(answer.json()["error"])) == (STATUSES[kind], True)
    assert ("Retry-After" in answer.headers) == (STATUSES[kind] in {425, 503})
