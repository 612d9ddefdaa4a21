"""Sessions that were claimed and are to be brought up: all that wait at once, tried again until it works."""

import asyncio
from collections.abc import Collection
from typing import Final

from loguru import logger

from waguard.core.backoff import backoff
from waguard.errors import WaguardError
from waguard.ports.cluster import OwnedSessions

AGAIN: Final = 0.5  # s after a failure, growing …
AT_LEAST_EACH: Final = 5.0  # … up to so many


class Acquiring:
    """Calls ``OwnedSessions.acquire``, one batch at a time."""

    def __init__(self, sessions: OwnedSessions) -> None:
        self._sessions = sessions
        self._waiting: set[str] = set()
        self.unknown: set[str] = set()
        """Those of which nothing was begun yet: nobody here may use them."""
        self._batch: frozenset[str] = frozenset()
        self._gone: set[str] = set()
        """Those of the batch that are not to be brought up again, whatever becomes of it."""
        self._under_way: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._alone: dict[str, None] = {}
        """Those that were in a batch with a bug, the one that was tried last at the end."""
        self._is_open = False
        self._moved = asyncio.Event()

    def open(self) -> None:
        """From now on they are brought up; those that were added before, too."""
        self._is_open = True
        self._begin()

    def pop_waiting(self) -> frozenset[str]:
        """Those that wait; the caller brings them up."""
        taken = frozenset(self._waiting)
        self._waiting.clear()
        self.unknown.clear()
        return taken

    def add(self, session: str) -> None:
        """Bring it up soon."""
        self._waiting.add(session)
        self.unknown.add(session)
        self._begin()

    def _begin(self) -> None:
        idle = self._running is None or self._running.done()
        if self._is_open and self._waiting and idle:
            self._running = asyncio.create_task(self._run(), name="acquire")

    async def brought_up(self, session: str) -> None:
        """Return when it was brought up, or is not to be any more."""
        while session in self._waiting or session in self._batch - self._gone:
            await self._moved.wait()

    async def drop(self, sessions: Collection[str]) -> bool:
        """They are not to be brought up any more; whether one of them was just brought up, and may be in memory."""
        for waiting in (self._waiting, self.unknown):
            waiting.difference_update(sessions)
        self._gone.update(sessions)
        self._notify()
        task = self._under_way
        if task is None or task.done() or self._batch.isdisjoint(sessions):
            return False
        task.cancel()
        await asyncio.wait([task])
        return True

    async def end(self) -> None:
        """Bring nothing up any more."""
        self.pop_waiting()
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        failures = 0
        while self._waiting:
            self._batch = self._next()
            self._waiting -= self._batch
            self.unknown -= self._batch
            self._gone.clear()
            self._under_way = task = asyncio.create_task(
                self._sessions.acquire(self._batch), name="acquire a batch"
            )
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
            batch, self._batch = self._batch, frozenset()
            if task.cancelled():
                self._waiting |= batch - self._gone
                continue
            if (error := task.exception()) is None:
                failures = 0
                for session in batch:
                    self._alone.pop(session, None)
                self._notify()
                continue
            if not isinstance(error, WaguardError):
                for session in sorted(batch):
                    self._alone.pop(session, None)
                    self._alone[session] = None
            self._report(error, batch, again=failures > 0)
            self._waiting |= batch - self._gone
            await asyncio.sleep(backoff(AGAIN, failures, longest=AT_LEAST_EACH))
            failures += 1

    def _next(self) -> frozenset[str]:
        """All that wait; after a bug each by itself, for one odd session must not hold up the others."""
        if others := self._waiting - self._alone.keys():
            return frozenset(others)
        return frozenset([next(it for it in self._alone if it in self._waiting)])

    def _notify(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _report(self, error: BaseException, batch: Collection[str], *, again: bool) -> None:
        names = ", ".join(sorted(batch))
        if isinstance(error, WaguardError):
            level = "DEBUG" if again else "WARNING"
            what = "claimed sessions are not brought up; trying again"
            logger.log(level, what, event="not_acquired", sessions=names, why=error.line())
        else:
            logger.opt(exception=error).critical(
                "a bug in waguard", event="bug", call="acquire", sessions=names
            )
