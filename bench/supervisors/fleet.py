"""A supervisor with its workers, and what is measured of each alike.

A worker writes one line, its name and its pid, to the pipe ``lines`` as the first thing that it does; it
ignores SIGTERM where a file ``stubborn-NAME`` lies beside that. All times are taken here: from the
signal until the line is read, or until the processes are gone.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.rig import left_behind, pss, tree

Figure = list[float] | str
"""What was measured; or why there is nothing, which is never 0."""

ROWS = {
    "restart_10": "kill → its replacement's first line, of 10, ms",
    "restart": "the same, of all, ms",
    "burst": "all killed → all back, ms",
    "start": "start of all, ms",
    "stop": "stop of all, ms",
    "stop_stopped": "stop with one that is SIGSTOPped, ms",
    "stop_stubborn": "stop with three that ignore SIGTERM, ms",
    "idle_cpu": "CPU at rest, ms a minute",
    "wakeups": "wake-ups at rest, a second",
    "silent": "a worker that runs and says nothing → replaced, s",
    "burst_cpu": "CPU of the daemon alone for one restart in a burst, ms",
    "burst_cpu_after": "the same of all its processes, with the 2 s after it, ms",
    "pss": "the supervisor with its fork server, MB PSS",
    "worker_pss": "a simulated worker, MB PSS",
}
STUBBORN = 3
AFTERWARDS = 2.0  # s in which a burst still costs
BETWEEN = 0.1  # s from one restart to the next kill


@dataclass(frozen=True)
class Plan:
    """How much is measured in one turn; ``pause`` and ``window`` in seconds."""

    count: int = 100
    few: int = 10
    kills: int = 20
    bursts: int = 2
    pause: float = 5.0
    window: float = 15.0


SHORT = Plan(count=5, few=3, kills=3, bursts=1, pause=1.0, window=2.0)


class Fleet(ABC):
    """One supervisor and ``count`` workers in a folder; nothing of it is left in the end."""

    deaf = "a silent worker is not noticed"
    """Why no silent worker is replaced; empty: one is."""
    lasts = False
    """Whether it goes on without its workers."""
    deadline = 120.0
    """Seconds for anything; nobody is waited for any longer."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir()
        self.folder, self.lines = folder, folder / "lines"
        self.names = [f"s{number}" for number in range(count)]
        self.pids: dict[str, int] = {}
        os.mkfifo(self.lines)
        self._pipe = os.open(self.lines, os.O_RDWR | os.O_NONBLOCK)
        self._rest, self._news = b"", asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pipe, self._read)

    @property
    @abstractmethod
    def root(self) -> int:
        """The supervisor's own pid."""

    @abstractmethod
    async def prepare(self) -> None:
        """Give it its workers."""

    @abstractmethod
    async def begin(self) -> None:
        """Start it with them."""

    @abstractmethod
    async def end(self) -> None:
        """Ask it to end with them."""

    def seen(self) -> dict[str, int]:
        """The workers' pids as we see them, which may be in another namespace."""
        return self.pids

    def own(self) -> list[int]:
        """The supervisor's processes."""
        return sorted({*tree(self.root)} - {*self.seen().values()})

    async def __aenter__(self) -> Self:
        try:
            await self.prepare()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()
        asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)
        shutil.rmtree(self.folder)

    def _read(self) -> None:
        *whole, self._rest = (self._rest + os.read(self._pipe, 1 << 16)).split(b"\n")
        for line in whole:
            name, pid = line.decode().split()
            self.pids[name] = int(pid)
        self._news.set()

    async def others(self, before: dict[str, int]) -> None:
        """Wait until each of these workers is another process, or the first."""
        async with asyncio.timeout(self.deadline):
            while any(self.pids.get(name, pid) == pid for name, pid in before.items()):
                self._news.clear()
                await self._news.wait()

    async def up(self) -> float:
        """Start all: milliseconds."""
        self.pids.clear()
        began = time.perf_counter()
        await self.begin()
        await self.others(dict.fromkeys(self.names, -1))
        return _since(began)

    async def down(self) -> float:
        """Stop all: milliseconds until none is left."""
        everything = [*(() if self.lasts else (self.root,)), *self.seen().values()]
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.deadline):
                await self.end()
                await gone(everything)
        except TimeoutError:
            await self.kill()
            raise
        return _since(began)

    async def replaced(self, names: Iterable[str], number: signal.Signals) -> float:
        """Send workers a signal after which each is replaced: milliseconds."""
        before, seen = {name: self.pids[name] for name in names}, self.seen()
        began = time.perf_counter()
        for name in before:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and nobody cared
                os.kill(seen[name], number)
        await self.others(before)
        return _since(began)

    async def kill(self) -> None:
        """End whatever is left of it."""
        while left := left_behind(self.folder):  # one of them may have started another meanwhile
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await gone(left)


class Turn:
    """What one turn finds: values, or why there are none."""

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self._fleet, self._plan = fleet, plan
        self.found: dict[str, Figure] = {}

    async def whole(self) -> dict[str, Figure]:
        """All rows but ``restart_10``, in three lives of the supervisor."""
        fleet, plan = self._fleet, self._plan
        await self._start()
        self._record("pss", pss(fleet.own()))
        self._record("worker_pss", statistics.median(pss([pid]) for pid in fleet.seen().values()))
        await self._rest()
        await self._restarts("restart")
        for _ in range(plan.bursts):
            await self._burst()
        if fleet.deaf:
            self.found["silent"] = fleet.deaf
        else:
            await self._measure("silent", fleet.replaced(fleet.names[-1:], signal.SIGUSR1), 1000)
            await asyncio.sleep(plan.pause)
        await self._measure("stop", fleet.down())
        await self._start()
        os.kill(fleet.seen()[fleet.names[0]], signal.SIGSTOP)
        await self._measure("stop_stopped", fleet.down())
        marks = [fleet.folder / f"stubborn-{name}" for name in fleet.names[:STUBBORN]]
        for mark in marks:
            mark.touch()
        await self._start()
        for mark in marks:
            mark.unlink()
        await self._measure("stop_stubborn", fleet.down())
        return self.found

    async def few(self) -> dict[str, Figure]:
        """The row ``restart_10``."""
        await self._start()
        await self._restarts("restart_10")
        await self._fleet.down()
        return {"restart_10": self.found["restart_10"]}

    def _record(self, key: str, value: float) -> None:
        known = self.found.setdefault(key, [])
        if isinstance(known, list):
            known.append(value)

    async def _measure(self, key: str, milliseconds: Awaitable[float], unit: float = 1) -> bool:
        try:
            self._record(key, await milliseconds / unit)
        except TimeoutError:
            self.found[key] = f"not within {self._fleet.deadline:g} s"
            return False
        return True

    async def _start(self) -> None:
        if not await self._measure("start", self._fleet.up()):
            raise RuntimeError(f"it did not start: {self.found['start']}")
        await asyncio.sleep(self._plan.pause)

    async def _restarts(self, key: str) -> None:
        names = self._fleet.names
        for number in range(self._plan.kills):
            name = names[number % len(names)]
            if not await self._measure(key, self._fleet.replaced([name], signal.SIGKILL)):
                return
            await asyncio.sleep(BETWEEN)

    async def _rest(self) -> None:
        own = self._fleet.own()
        used, woken, began = _cpu(own), _wakeups(own), time.perf_counter()
        await asyncio.sleep(self._plan.window)
        elapsed = time.perf_counter() - began
        self._record("idle_cpu", 60_000 * (_cpu(own) - used) / elapsed)
        self._record("wakeups", (_wakeups(own) - woken) / elapsed)

    async def _burst(self) -> None:
        fleet, own = self._fleet, self._fleet.own()
        alone, together = _cpu([fleet.root]), _cpu(own)
        if await self._measure("burst", fleet.replaced(fleet.names, signal.SIGKILL)):
            self._record("burst_cpu", 1000 * (_cpu([fleet.root]) - alone) / len(fleet.names))
            await asyncio.sleep(AFTERWARDS)
            self._record("burst_cpu_after", 1000 * (_cpu(own) - together) / len(fleet.names))
        else:
            self.found["burst_cpu"] = self.found["burst_cpu_after"] = self.found["burst"]
        await asyncio.sleep(self._plan.pause)


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


async def gone(pids: Iterable[int]) -> None:
    """Wait until these processes have ended."""
    loop = asyncio.get_running_loop()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError), contextlib.ExitStack() as after:
            pidfd, ended = os.pidfd_open(pid), asyncio.Event()
            after.callback(os.close, pidfd)
            loop.add_reader(pidfd, ended.set)
            after.callback(loop.remove_reader, pidfd)
            await ended.wait()


def _cpu(pids: Collection[int]) -> float:
    """Seconds of a core, to the nanosecond: /proc counts in ticks. Threads that ended are in it."""
    used = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            used += time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of a process
    return used


def _wakeups(pids: Collection[int]) -> int:
    """How often their threads have gone to sleep by themselves."""
    slept = 0
    for status in (one for pid in pids for one in Path(f"/proc/{pid}/task").glob("*/status")):
        with contextlib.suppress(OSError):
            slept += int(
                re.findall(r"^voluntary_\w+:\s+(\d+)", status.read_text(), re.MULTILINE)[0]
            )
    return slept
