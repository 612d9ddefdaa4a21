"""The application's end of the webhooks, and what can go wrong there."""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.waiting import wait_until
from waguard.ports.bus import BusEvent

SECRET: Final = b"a secret of the tests"
INSTANCE: Final = "http://127.0.0.1:3001"
CLOSE, HANG, TORN = "close without an answer", "hang", "200, and close within its body"

Trouble = int | str | tuple[int, dict[str, str]]


@dataclass(frozen=True)
class Delivery:
    """One attempt, as it arrived, and how it was answered (200: it was taken)."""

    headers: dict[str, str]
    body: bytes
    answer: Trouble
    at: float
    """Of the loop's clock."""

    @property
    def payload(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def signed(self) -> bool:
        """Whether it was signed by the receiver's own reading of the contract."""
        text = self.headers["X-Timestamp"].encode() + self.body
        return (
            hmac.new(SECRET, text, hashlib.sha256).hexdigest() == self.headers["X-Hmac-Signature"]
        )


@dataclass
class Receiver:
    """Answers with ``troubles`` in turn, then 200. While ``free`` is clear, it answers nothing."""

    url: str = ""
    troubles: deque[Trouble] = field(default_factory=deque)
    attempts: list[Delivery] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: int = 0

    def taken(self) -> list[Any]:
        """Decoded bodies that were taken, in order."""
        return [attempt.payload for attempt in self.attempts if attempt.answer in (200, TORN)]

    async def wait_taken(self, count: int) -> list[Any]:
        """Wait for so many."""
        await wait_until(lambda: len(self.taken()) >= count, f"{count} deliveries are taken")
        return self.taken()

    async def handle(self, request: web.Request) -> web.Response:
        """The route."""
        body = await request.read()
        self.arrived += 1
        await self.free.wait()
        answer: Trouble = self.troubles.popleft() if self.troubles else 200
        headers = {name.title(): value for name, value in request.headers.items()}
        now = asyncio.get_running_loop().time()
        self.attempts.append(Delivery(headers, body, answer, now))
        assert request.transport
        if answer == CLOSE:
            request.transport.abort()
        elif answer == HANG:
            await asyncio.Event().wait()
        elif answer == TORN:
            request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            request.transport.close()
            await asyncio.Event().wait()
        elif isinstance(answer, tuple):
            return web.Response(status=answer[0], headers=answer[1])
        return web.Response(status=answer if isinstance(answer, int) else 200)


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on a real socket."""
    receiver = receiver or Receiver()
    receiver.free.set()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.free.set()
        await runner.cleanup()


def event(number: int, name: str = "message_received", session: str = "a", **data: Any) -> BusEvent:
    """An event of the bus."""
    return BusEvent(
        id=number,
        event=name,
        session_id=session,
        workspace_id=1,
        at=1_732_240_000.0,
        data=data or {"message": {"body": f"body {number}"}},
    )
