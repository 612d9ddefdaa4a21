"""Deadlines for others that do not count the time in which this process itself stood still.

A lid that was closed, a whole tree that was stopped and goes on: every timer is over at once then, and
nobody had a chance to answer. Such a timer comes late, and begins again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

LATE: Final = 2.0  # s; no event loop is that late only because a core is missing


@contextlib.asynccontextmanager
async def patience(seconds: float, *, late: float | None = None) -> AsyncIterator[None]:
    """``asyncio.timeout(seconds)``, where ``seconds`` begin again when they end ``late`` seconds late."""
    loop = asyncio.get_running_loop()
    limit = LATE if late is None else late
    async with asyncio.timeout(None) as timeout:
        timers: list[asyncio.TimerHandle] = []

        def begin() -> None:
            due = loop.time() + seconds
            timers[:] = [loop.call_at(due, end, due)]

        def end(due: float) -> None:
            if loop.time() - due > limit:
                begin()
            else:
                timeout.reschedule(loop.time())

        begin()
        try:
            yield
        finally:
            timers[0].cancel()
