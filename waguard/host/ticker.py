"""Calls things at intervals of monotonic time; decisions are elsewhere."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger

JITTER: Final = 0.1  # of an interval, so that long ones do not march in step


def _next(now: float, seconds: float) -> float:
    """After one interval and a random part of it, counted from now: what was missed is not made up for. To the nearest
    whole second, where the interval has one: an idle daemon wakes up once for all ticks that are due, whichever ticker
    has them."""
    at = now + seconds + random.uniform(0, seconds * JITTER)  # noqa: S311 - no secret
    return at if seconds < 1 else float(int(at + 0.5))


class Ticker:
    """Runs on the event loop; a tick that is late or still running is left out, never piled up."""

    def __init__(self) -> None:
        self._ticks: dict[str, tuple[float, Callable[[], Awaitable[object]]]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._began = False

    def every(self, seconds: float, name: str, tick: Callable[[], Awaitable[object]]) -> None:
        """Call ``tick`` every ``seconds``, at first after one interval and a random part of it, in place of what has
        this name."""
        self._ticks[name] = seconds, tick
        if self._began:
            self._arm(name)

    def start(self) -> None:
        """Begin to tick."""
        self._began = True
        for name in self._ticks:
            self._arm(name)

    def stop(self) -> None:
        """Tick no more; a tick that runs is cut short, and not waited for."""
        self._began = False
        for timer in self._timers.values():
            timer.cancel()
        for task in self._running.values():
            task.cancel()

    def _arm(self, name: str) -> None:
        if timer := self._timers.get(name):
            timer.cancel()
        loop = asyncio.get_running_loop()
        at = _next(loop.time(), self._ticks[name][0])
        self._timers[name] = loop.call_at(at, self._fire, name)

    def _fire(self, name: str) -> None:
        self._arm(name)
        if name not in self._running:
            task = self._running[name] = asyncio.create_task(self._tick(name), name=f"tick: {name}")
            task.add_done_callback(lambda _: self._running.pop(name))

    async def _tick(self, name: str) -> None:
        try:
            await self._ticks[name][1]()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next tick comes
            logger.opt(exception=error).critical("a bug in waguard", event="bug", tick=name)
