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

from waguard.errors import WaguardError
from waguard.host.process import procfs
from waguard.host.process.children import PidfdProcess
from waguard.wire.worker import WorkerSpec

MOST: Final = 4  # spares, while a burst of starts is served; else one
BURST: Final = 5.0  # s for which a start counts as one of a burst
AFTER_START: Final = 0.003  # s; a worker that begins has the core first
AFTER_END: Final = 1.0  # s; what ends one spare may end the next one


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
        """It ends by itself, where it has no instructions."""
        os.close(self._instructions)


class Spares:
    """``fork`` makes one; None: that is not possible now."""

    def __init__(self, fork: Callable[[], Awaitable[Blank | None]], *, most: int) -> None:
        self._fork = fork
        self._most = most
        self._waiting: dict[Blank, asyncio.Future[int | None]] = {}
        """Until each of them ends."""
        self._starts: deque[float] = deque(maxlen=MOST)
        """When the last workers were started."""
        self._filling: asyncio.Task[None] | None = None

    def take(self, spec: WorkerSpec) -> PidfdProcess | None:
        """A spare that has got these instructions; None: there is none."""
        self._starts.append(asyncio.get_running_loop().time())
        self.fill(AFTER_START)
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
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill(delay), name="spares")

    async def _fill(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while len(self._waiting) < self._wanted:
            try:
                spare = await self._fork()
            except WaguardError:
                spare = None  # the next start says so
            if spare is None:
                return
            end = self._waiting[spare] = asyncio.ensure_future(spare.process.wait())
            end.add_done_callback(partial(self._on_end, spare))
        if len(self._waiting) > 1:
            asyncio.get_running_loop().call_later(BURST, self._lessen)

    @property
    def _wanted(self) -> int:
        now = asyncio.get_running_loop().time()
        return min(self._most, max(1, sum(now - at < BURST for at in self._starts)))

    def _lessen(self) -> None:
        while len(self._waiting) > self._wanted:
            self._drop(next(iter(self._waiting)))

    def _on_end(self, spare: Blank, _: "asyncio.Future[int | None]") -> None:
        if spare in self._waiting:
            self._drop(spare)
            self.fill(AFTER_END)

    def _drop(self, spare: Blank) -> PidfdProcess:
        self._waiting.pop(spare).cancel()
        spare.drop()
        return spare.process

    def drop(self) -> list[PidfdProcess]:
        """End all of them: their server has ended."""
        return [self._drop(spare) for spare in list(self._waiting)]

    async def close(self) -> list[PidfdProcess]:
        """Fork no more, and end all of them; they may take a moment."""
        if self._filling:
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._filling
        self._most = 0
        return self.drop()
