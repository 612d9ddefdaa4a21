"""Calls at times of a clock, of the wall clock for instance, which may be set."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

CLOCK_CHECK: Final = 60.0  # s


class Timers:
    """``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._handle: asyncio.TimerHandle | None = None

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call then, or at once where that is past."""
        heapq.heappush(self._due, (when, next(self._count), call))
        self._arm()

    def close(self) -> None:
        """Call nothing any more."""
        self._due.clear()
        self._arm()

    def _arm(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None
        if self._due:
            delay = min(max(0.0, self._due[0][0] - self._clock()), CLOCK_CHECK)
            self._handle = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        try:
            while self._due and self._due[0][0] <= self._clock():
                heapq.heappop(self._due)[2]()
        finally:  # one that raises must not keep the others waiting
            self._arm()
