"""What stands in for waguard here: answers as it is told to, and keeps what it was asked."""

import asyncio
import hashlib
import hmac
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

SECRET = b"a secret of the tests"


@dataclass
class Instance:
    """The fields are its answers. ``answers`` to what changes something, one a call: a status and
    a body, or None to hang up; when they are used up it is 200 and ``{}``."""

    health: int = 200
    connected: int = 1
    status: str = "connected"
    status_code: int = 200
    answers: list[tuple[int, Any] | None] = field(default_factory=list)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Method, path with query, raw body."""
    base: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Every route."""
        self.asked.append((request.method, request.path_qs, await request.read()))
        if request.path == "/health":
            body = {"sessions": {"connected": self.connected}}
            return web.json_response(body, status=self.health)
        if request.path.endswith("/status"):
            return web.json_response({"status": self.status}, status=self.status_code)
        answer = self.answers.pop(0) if self.answers else (200, {})
        if answer is None:
            assert request.transport
            request.transport.close()
            return web.Response()
        return web.json_response(answer[1], status=answer[0])

    def paths(self) -> list[str]:
        """Method and path of each call."""
        return [f"{method} {path}" for method, path, _ in self.asked]


@asynccontextmanager
async def serving() -> AsyncIterator[Instance]:
    """An instance that listens."""
    instance = Instance()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", instance.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    instance.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield instance
    finally:
        await runner.cleanup()


async def post(
    url: str,
    event: str,
    *,
    secret: bytes = SECRET,
    skew: float = 0.0,
    event_id: str = "e1",
    **data: Any,
) -> int | None:
    """Deliver a webhook as waguard does; the status, or None where no answer came."""
    body = json.dumps({"event": event, "data": {"session_id": "s1", "workspace_id": 1} | data})
    stamp = str(int(time.time() + skew))
    signature = hmac.new(secret, (stamp + body).encode(), hashlib.sha256).hexdigest()
    headers = {
        "X-Timestamp": stamp,
        "X-HMAC-Signature": signature,
        "X-Waguard-Event-Id": event_id,
        "Content-Type": "application/json",
    }
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                url, data=io.BytesIO(body.encode()), headers=headers, allow_redirects=False
            ) as response,
        ):
            return response.status
    except (aiohttp.ClientError, asyncio.IncompleteReadError):
        return None
