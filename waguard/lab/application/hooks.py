"""How the application takes webhooks: PHP's limits, its signature, its limiter, and its moods.

And its files, which it names by their address when it sends them. ``controller.py`` is what it does.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from aiohttp import web
from msgspec.structs import replace

from waguard.lab.application.controller import Controller, Mood
from waguard.lab.application.manners import Manners, Window
from waguard.lab.application.records import Records, Unheard

PATH: Final = "/api/whatsapp/webhooks/webjs"
SKEW: Final = 300  # s
INSTALLER: Final = "/install"

T = TypeVar("T")


@dataclass
class Hooks:
    """The route. ``manners``: those of the moment."""

    secret: bytes
    manners: Manners
    records: Records
    controller: Controller = field(init=False)
    received: list[dict[str, Any]] = field(default_factory=list)
    """What was handled: bodies, each with its ``event_id`` and ``taken_at`` (unix time)."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What lies under ``/storage/``, by name."""
    refused: int = 0
    """429s."""
    redirected: int = 0
    port: int = 0
    window: Window = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    _site: web.TCPSite | None = None

    def __post_init__(self) -> None:
        self.window = Window(self.manners.limit, self.manners.window)
        self._usual = self.manners

    # ---- the server ----

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)  # PHP's own limit is in its manners
        app.router.add_post(PATH, self._on_request)
        app.router.add_get("/storage/{name}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await self._listen()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
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
    def in_mood(self, mood: Mood) -> Iterator[None]:
        """While the body runs."""
        self.controller.mood = mood
        try:
            yield
        finally:
            self.controller.mood = "well"

    def misbehave(self, **changes: Any) -> None:
        """Other manners, until it is soothed."""
        self.manners = replace(self._usual, **changes)

    def soothe(self) -> None:
        """Give the receiver its usual manners again."""
        self.manners = self._usual

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

    # ---- one request ----

    async def _on_request(self, request: web.Request) -> web.Response:
        body = await request.read()
        if len(body) > self.manners.body_limit:
            return web.Response(status=413)
        mood = self.controller.mood
        if mood == "installing":
            self.redirected += 1
            return web.Response(status=302, headers={"Location": INSTALLER})
        if not self.window.admit(time.monotonic()):
            self.refused += 1
            return web.json_response({"message": "Too Many Attempts."}, status=429)
        if mood == "failing":
            return web.json_response({"message": "Server Error"}, status=500)
        if mood == "torn":
            return _hang_up(request)
        if not self._signed(request, body):
            return web.json_response({"error": "Invalid signature"}, status=401)
        await asyncio.sleep(self.manners.boot + (mood == "slow") * self.manners.slow)
        return await self._handle(request, json.loads(body), is_lost=mood == "lost")

    async def _handle(
        self, request: web.Request, delivery: dict[str, Any], *, is_lost: bool
    ) -> web.Response:
        event_id = request.headers.get("X-Waguard-Event-Id", "")
        url = request.headers.get("X-Instance-Url", "")
        status = await self.controller.handle(delivery["event"], delivery["data"], event_id, url)
        now = time.time()
        self.received.append(delivery | {"event_id": event_id, "taken_at": now})
        self._news.set()
        if is_lost:
            self.records.unheard.append(Unheard(event_id, "lost", now))
            return _hang_up(request)
        if request.transport is None or request.transport.is_closing():
            self.records.unheard.append(Unheard(event_id, "late", now))
        return web.json_response({"status": "success"}, status=status)

    def _signed(self, request: web.Request, body: bytes) -> bool:
        stamp = request.headers.get("X-Timestamp", "")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > SKEW:
            return False
        wanted = hmac.new(self.secret, stamp.encode() + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(wanted, request.headers.get("X-HMAC-Signature", ""))


def _hang_up(request: web.Request) -> web.Response:
    """In the middle of the status line."""
    if request.transport:  # a daemon that was killed has hung up before
        request.transport.write(b"HTTP/1.1 20")
        request.transport.close()
    return web.Response()  # to nobody
