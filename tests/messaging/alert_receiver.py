"""A server that is called at any path: destinations of alerts, and of heartbeats."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class AlertReceiver:
    """``calls``: method, path, headers and JSON, in order. Answers with ``answers`` in turn, then 200."""

    url: str = ""
    calls: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)

    async def handle(self, request: web.Request) -> web.Response:
        """Any route."""
        body = await request.json() if request.can_read_body else None
        self.calls.append((request.method, request.path, dict(request.headers), body))
        answer = self.answers.popleft() if self.answers else 200
        return web.Response(status=answer, headers={"Location": f"{self.url}/elsewhere"})


@contextlib.asynccontextmanager
async def alert_receiver() -> AsyncIterator[AlertReceiver]:
    """On a real socket."""
    made = AlertReceiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
