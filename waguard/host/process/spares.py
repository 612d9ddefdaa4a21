"""Workers that were forked ahead and wait for their instructions: a start does not wait for a fork.

A spare has no session and no lock. It ends when the pipe for its instructions does: with the daemon, too.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from waguard.errors import WaguardError
from waguard.host.process import procfs
from waguard.host.process.children import PidfdProcess
from waguard.wire.worker import WorkerSpec


class Limits(Struct, frozen=True, kw_only=True):
    """How many are forked ahead, and when. Seconds."""

    most: int = 4
    """Spares, while a burst of starts is served; else one."""
    burst: float = 5.0
    """For so long a start counts as one of a burst."""
    after_start: float = 0.003
    """A worker that begins has the core first."""
    after_end: float = 1.0
    """What ends one spare may end the next one."""


LIMITS: Final = Limits()


class Blank:
    """A forked worker without instructions."""

    def __init__(self, process: PidfdProcess, instructions: int) -> None:
        """``instructions``: the end of a pipe to write them to."""
        self.process = process
        self._instructions = instructions

    def begin(self, spec: WorkerSpec) -> bool:
        """Give it its instructions; whether it was still there to be given them."""
        try:
            os.write(self._instructions, msgspec.json.encode(spec))
        except BrokenPipeError:
            return False
        finally:
            self.drop()
        return True

    def drop(self) -> None:
        """Close the pipe: without instructions the process ends by itself."""
        os.close(self._instructions)


class Spares:
    """``fork`` makes one; None: that is not possible now."""

    def __init__(self, fork: Callable[[], Awaitable[Blank | None]], limits: Limits) -> None:
        self._fork = fork
        self._limits = limits
        self._closing = asyncio.Event()
        self._waiting: dict[Blank, asyncio.Future[int | None]] = {}
        """Until each of them ends."""
        self._starts: deque[float] = deque(maxlen=limits.most)
        """When the last workers were started."""
        self._filling: asyncio.Task[None] | None = None

    def begin(self, spec: WorkerSpec) -> PidfdProcess | None:
        """A spare that has got these instructions; None: there is none."""
        self._starts.append(asyncio.get_running_loop().time())
        self.fill(self._limits.after_start)
        while self._waiting:
            spare = next(iter(self._waiting))
            self._waiting.pop(spare).cancel()
            if procfs.is_stopped(spare.process.pid):
                spare.drop()
                spare.process.kill()
            elif spare.begin(spec):
                return spare.process
        return None

    def fill(self, delay: float = 0.0) -> None:
        """Fork what is missing, after ``delay`` seconds."""
        if not self._closing.is_set() and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill(delay), name="spares")

    async def _fill(self, delay: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._closing.wait()
        while not self._closing.is_set() and len(self._waiting) < self._wanted:
            try:
                spare = await self._fork()
            except WaguardError:
                spare = None  # the next start says so
            if spare is None:
                return
            end = self._waiting[spare] = asyncio.ensure_future(spare.process.wait())
            end.add_done_callback(partial(self._on_end, spare))
        if len(self._waiting) > 1:
            asyncio.get_running_loop().call_later(self._limits.burst, self._lessen)

    @property
    def _wanted(self) -> int:
        since = asyncio.get_running_loop().time() - self._limits.burst
        return min(self._limits.most, max(1, sum(at > since for at in self._starts)))

    def _lessen(self) -> None:
        while len(self._waiting) > self._wanted:
            self._drop(next(iter(self._waiting)))

    def _on_end(self, spare: Blank, _: "asyncio.Future[int | None]") -> None:
        if spare in self._waiting:
            self._drop(spare)
            self.fill(self._limits.after_end)

    def _drop(self, spare: Blank) -> PidfdProcess:
        self._waiting.pop(spare).cancel()
        spare.drop()
        return spare.process

    def drop(self) -> list[PidfdProcess]:
        """End all of them: their server has ended."""
        return [self._drop(spare) for spare in list(self._waiting)]

    async def close(self) -> list[PidfdProcess]:
        """Fork no more, and end all of them; they may take a moment."""
        self._closing.set()
        if self._filling:
            await self._filling  # one that is forked now is to be known, and reaped
        return self.drop()
