"""How the application takes webhooks: it works inside its answer, and calls back meanwhile.

And its files, which it names by their address when it sends them.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeVar

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from waguard.lab.application import manners
from waguard.lab.application.accounts import Accounts
from waguard.lab.application.calls import Calls, Keys
from waguard.lab.application.manners import Manners, Window
from waguard.lab.application.records import Dropped, Records, Row, Unheard

PATH: Final = "/api/whatsapp/webhooks/webjs"
SKEW: Final = 300  # s
QUEUE_TRIES: Final = 3

Mood = Literal["well", "slow", "failing", "torn", "lost"]
"""torn: hangs up in the middle of its answer and has done nothing. lost: it has, and hangs up."""

T = TypeVar("T")
_Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A status in a row. ``at`` is unix time."""

    session: str
    status: str
    at: float


class _HandlingError(Exception):
    """An exception of PHP: answered with a 500."""


@dataclass
class Hooks:
    """The route, and the queue behind it. ``instance``: the address that a session is called at."""

    records: Records
    accounts: Accounts
    calls: Calls
    keys: Keys
    secret: bytes
    manners: Manners
    chance: random.Random
    instance: Callable[[str], str]
    mood: Mood = "well"
    received: list[dict[str, Any]] = field(default_factory=list)
    """What was handled: bodies, each with its ``event_id`` and ``taken_at`` (unix time)."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What lies under ``/storage/``, by name."""
    urls: dict[str, str] = field(default_factory=dict)
    """``X-Instance-Url`` by session, as its rows have it in ``assigned_instance_url``."""
    written: list[Written] = field(default_factory=list)
    """What its queue wrote into rows, whatever was true by then."""
    refused: int = 0
    """429s."""
    port: int = 0
    window: Window = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)
    _runner: web.AppRunner | None = None
    _site: web.TCPSite | None = None

    def __post_init__(self) -> None:
        self.window = Window(self.manners.limit, self.manners.window)

    # ---- the server ----

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post(PATH, self._on_request)
        app.router.add_get("/storage/{name}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await self._listen()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        assert self._runner  # noqa: S101 - entered
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it takes webhooks."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    def file_url(self, name: str, content: bytes) -> str:
        """Keep a file; its address."""
        self.files[name] = content
        return f"http://127.0.0.1:{self.port}/storage/{name}"

    async def _file(self, request: web.Request) -> web.Response:
        content = self.files.get(request.match_info["name"])
        return web.Response(status=404) if content is None else web.Response(body=content)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """While the body runs nobody listens."""
        assert self._site  # noqa: S101 - entered
        await self._site.stop()
        with self.in_mood("torn"):  # for connections that were open
            yield
        await self._listen()

    @contextlib.contextmanager
    def in_mood(self, mood: Mood) -> Any:
        """While the body runs."""
        self.mood = mood
        try:
            yield
        finally:
            self.mood = "well"

    async def _listen(self) -> None:
        assert self._runner  # noqa: S101 - entered
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()

    async def until(self, find: Callable[[Sequence[dict[str, Any]]], T | None]) -> T:
        """Search all that was handled, now and after each webhook, until there is something."""
        while True:
            self._news.clear()
            found = find(self.received)
            if found is not None:
                return found
            await self._news.wait()

    async def queue_is_empty(self) -> None:
        """Wait until the queue has nothing to do."""
        while self._jobs:
            await asyncio.wait(self._jobs)

    # ---- one request ----

    async def _on_request(self, request: web.Request) -> web.Response:
        if not self.window.admit(time.monotonic()):
            self.refused += 1
            return web.json_response({"message": "Too Many Attempts."}, status=429)
        body = await request.read()
        if self.mood == "failing":
            return web.json_response({"message": "Server Error"}, status=500)
        if self.mood == "torn":
            return _hang_up(request)
        if not self._signed(request, body):
            return web.json_response({"error": "Invalid signature"}, status=401)
        lost = self.mood == "lost"
        await asyncio.sleep(self.manners.boot + (self.mood == "slow") * self.manners.slow)
        delivery = json.loads(body)
        event_id = request.headers.get("X-Waguard-Event-Id", "")
        try:
            await self._remember(request, delivery["data"])
            await self._handle(delivery["event"], delivery["data"], event_id)
        except (_HandlingError, SQLAlchemyError) as error:
            self.records.failures.append(f"{delivery['event']}: {type(error).__name__}")
            return web.json_response({"message": "Server Error"}, status=500)
        now = time.time()
        self.received.append(delivery | {"event_id": event_id, "taken_at": now})
        self._news.set()
        if lost:
            self.records.unheard.append(Unheard(event_id, "lost", now))
            return _hang_up(request)
        if request.transport is None or request.transport.is_closing():
            self.records.unheard.append(Unheard(event_id, "late", now))
        return web.json_response({"status": "success"})

    def _signed(self, request: web.Request, body: bytes) -> bool:
        stamp = request.headers.get("X-Timestamp", "")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > SKEW:
            return False
        wanted = hmac.new(self.secret, stamp.encode() + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(wanted, request.headers.get("X-HMAC-Signature", ""))

    async def _remember(self, request: web.Request, data: _Data) -> None:
        session, url = str(data["session_id"]), request.headers.get("X-Instance-Url", "")
        if url and self.urls.get(session) != url:
            await self.accounts.update(session, assigned_instance_url=url)
            self.urls[session] = url

    async def _handle(self, event: str, data: _Data, event_id: str) -> None:
        session = str(data["session_id"])
        match event:
            case "session_ready":
                if not await self.accounts.connected(session, data.get("phone_number")):
                    self._drop(event, data, event_id, "there is no such account")
            case _ if event in manners.QUEUED:
                self._queue(event, session, data)
            case "session_error":
                raise _HandlingError
            case "message_received":
                await self._message_received(session, data, event_id)
            case "message_sent":
                self._message_sent(session, data, event_id)
            case _ if event in manners.STATUS_EVENTS:
                self._status(event, data, event_id)
            case "mobile_activity_detected":
                pass  # a job pauses campaigns, which this double has not
            case _:
                self._drop(event, data, event_id, "an event that it does not know")

    # ---- sessions ----

    def _queue(self, event: str, session: str, data: _Data) -> None:
        delay = self.chance.uniform(0.0, self.manners.queue)
        job = asyncio.create_task(self._work(event, session, data, delay), name=f"queued {event}")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _work(self, event: str, session: str, data: _Data, delay: float) -> None:
        for _ in range(QUEUE_TRIES):
            await asyncio.sleep(delay)
            try:
                await self._job(event, session, data)
            except SQLAlchemyError as error:
                self.records.failures.append(f"{event}: {type(error).__name__}")
            else:
                return

    async def _job(self, event: str, session: str, data: _Data) -> None:
        status = manners.QUEUED[event]
        self.written.append(Written(session, status, time.time()))
        if event == "session_disconnected":
            await self.accounts.disconnected(session)
        else:
            await self.accounts.update(session, status=status, qr_code=data.get("qr_code"))

    # ---- messages ----

    async def _message_received(self, session: str, data: _Data, event_id: str) -> None:
        message = data["message"]
        if why := await self._not_wanted(session, message):
            self._drop("message_received", data, event_id, why)
            return
        self.records.rows.append(
            Row(
                session=session,
                direction="in",
                chat=str(message["from"]),
                body=message["body"] or "",
                at=time.time(),
                status="delivered",
                message_id=message["id"],
                event_id=event_id,
                media=message.get("media"),
            )
        )

    async def _not_wanted(self, session: str, message: _Data) -> str | None:
        base, timeout = self.instance(session), self.manners.call_timeout
        health = await self.calls.get(f"{base}/health", None, timeout=timeout)
        await asyncio.sleep(self.chance.uniform(0.0, self.manners.call_back))
        url = f"{base}/api/sessions/{session}/status"
        asked = await self.calls.get(url, self.keys.sessions, timeout=timeout)
        connected = health.answer.get("sessions", {}).get("connected")
        status = str(asked.answer.get("status")) if asked.good else None
        if why := manners.why_not(health.status, connected, status):
            return why if status or asked.status is None else f"{why} with {asked.status}"
        return "its sender is a lid" if manners.lost_sender(message) else None

    def _message_sent(self, session: str, data: _Data, event_id: str) -> None:
        if not manners.is_usable_sent(data):
            self._drop("message_sent", data, event_id, "it is flat")
            return
        message = data["message"]
        if row := self.records.known(session, message["id"]):
            row.status = "sent"
            return
        self.records.rows.append(
            Row(
                session=session,
                direction="out",
                chat=str(message.get("to") or message["from"]),
                body=message.get("body") or "",
                at=time.time(),
                status="sent",
                message_id=message["id"],
                event_id=event_id,
            )
        )

    def _status(self, event: str, data: _Data, event_id: str) -> None:
        row = self.records.known(str(data["session_id"]), str(data.get("message_id")))
        status = {"message_delivered": "delivered", "message_read": "read"}.get(
            event, str(data.get("status"))
        )
        if row is None:
            self._drop(event, data, event_id, "there is no such message yet")
        elif status not in manners.STATUSES:
            self._drop(event, data, event_id, f"the status {status} is unknown")
        else:
            row.status = status

    def _drop(self, event: str, data: _Data, event_id: str, why: str) -> None:
        message = data.get("message")
        about = message.get("id") if isinstance(message, Mapping) else data.get("message_id")
        self.records.dropped.append(
            Dropped(
                event=event,
                session=str(data["session_id"]),
                event_id=event_id,
                about=str(about or ""),
                why=why,
                at=time.time(),
            )
        )


def _hang_up(request: web.Request) -> web.Response:
    """In the middle of the status line."""
    assert request.transport  # noqa: S101 - it is being served
    request.transport.write(b"HTTP/1.1 20")
    request.transport.close()
    return web.Response()  # to nobody
