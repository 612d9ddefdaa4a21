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
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.rig import left_behind, pss

DEADLINE = 120.0  # s
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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured in one turn."""

    count: int = 100
    few: int = 10
    kills: int = 20
    bursts: int = 2
    settle: float = 5.0
    """Seconds from the start until it is at rest."""
    window: float = 15.0
    """Seconds that it is watched at rest."""


SHORT = Plan(count=5, few=3, kills=3, bursts=1, settle=1.0, window=2.0)


class Fleet(ABC):
    """One supervisor and ``count`` workers in a folder of their own."""

    label: ClassVar[str]
    deaf: str | None = "a silent worker is not noticed"
    """Why no silent worker is replaced; None: one is."""
    lasts = False
    """Whether it goes on without its workers."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.names = [f"s{number}" for number in range(count)]
        self.pids: dict[str, int] = {}
        self.lines = folder / "lines"
        os.mkfifo(self.lines)
        self._pipe = os.open(self.lines, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self._news = asyncio.Event()
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
        """Start it; it has been given its workers before."""

    @abstractmethod
    async def end(self) -> None:
        """Ask it to end with all its workers."""

    def own(self) -> list[int]:
        """The supervisor's processes: its tree without workers."""
        return descendants(self.root, without=self.seen().values())

    def environment(self) -> dict[str, str]:
        """What a worker must know."""
        return {"BENCH_LINES": str(self.lines)}

    def seen(self) -> dict[str, int]:
        """The workers' pids as we see them, which may be in another namespace."""
        return self.pids

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            *whole, self._rest = (self._rest + os.read(self._pipe, 1 << 16)).split(b"\n")
            for line in whole:
                name, pid = line.decode().split()
                self.pids[name] = int(pid)
            self._news.set()

    async def others(self, before: dict[str, int]) -> None:
        """Wait until each of these workers is another process, or the first."""
        async with asyncio.timeout(DEADLINE):
            while any(self.pids.get(name, pid) == pid for name, pid in before.items()):
                self._news.clear()
                await self._news.wait()

    async def up(self) -> float:
        """Start it with all workers: milliseconds."""
        self.pids.clear()
        began = time.perf_counter()
        await self.begin()
        await self.others(dict.fromkeys(self.names, -1))
        return _since(began)

    async def down(self) -> float:
        """Stop it with all workers: milliseconds until none is left."""
        everything = [*(() if self.lasts else (self.root,)), *self.seen().values()]
        began = time.perf_counter()
        try:
            async with asyncio.timeout(DEADLINE):
                await self.end()
                await gone(everything)
        except TimeoutError:
            await self.kill()
            raise
        return _since(began)

    async def replaced(self, names: Iterable[str], number: signal.Signals) -> float:
        """Send these workers a signal that makes the supervisor replace them: milliseconds."""
        before, seen = {name: self.pids[name] for name in names}, self.seen()
        began = time.perf_counter()
        for name in before:
            os.kill(seen[name], number)
        await self.others(before)
        return _since(began)

    async def kill(self) -> None:
        """End whatever is left of it."""
        for pid in (left := left_behind(self.folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await gone(left)

    async def close(self) -> None:
        """End what is left, remove the folder."""
        await self.kill()
        asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def opened(fleet: Fleet) -> AsyncIterator[Fleet]:
    """Prepared, and nothing is left of it in the end."""
    try:
        await fleet.prepare()
        yield fleet
    finally:
        await fleet.close()


class Turn:
    """What one turn finds: values, or why there are none."""

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self._fleet, self._plan = fleet, plan
        self.found: dict[str, Figure] = {}

    def note(self, key: str, value: float) -> None:
        """One value more, unless there is a reason for none."""
        known = self.found.setdefault(key, [])
        if isinstance(known, list):
            known.append(value)

    async def take(self, key: str, value: Awaitable[float]) -> bool:
        """Whether it came in time."""
        try:
            self.note(key, await value)
        except TimeoutError:
            self.found[key] = f"{self._fleet.label}: not within {DEADLINE:g} s"
            return False
        return True

    async def whole(self) -> dict[str, Figure]:
        """All rows but ``restart_10``, in three lives of the supervisor."""
        fleet, plan = self._fleet, self._plan
        await self._started()
        self.note("pss", pss(fleet.own()))
        self.note("worker_pss", statistics.median(pss([pid]) for pid in fleet.seen().values()))
        await self._at_rest()
        await self.restarts("restart")
        for _ in range(plan.bursts):
            await self._burst()
        if fleet.deaf:
            self.found["silent"] = fleet.deaf
        else:
            silent = fleet.replaced(fleet.names[-1:], signal.SIGUSR1)
            await self.take("silent", _seconds(silent))
            await asyncio.sleep(plan.settle)
        await self.take("stop", fleet.down())
        await self._started()
        os.kill(fleet.seen()[fleet.names[0]], signal.SIGSTOP)
        await self.take("stop_stopped", fleet.down())
        await self._started()
        for name in fleet.names[:STUBBORN]:
            fleet.lines.with_name(f"stubborn-{name}").touch()
        await fleet.replaced(fleet.names[:STUBBORN], signal.SIGKILL)
        for name in fleet.names[:STUBBORN]:
            fleet.lines.with_name(f"stubborn-{name}").unlink()
        await asyncio.sleep(plan.settle)
        await self.take("stop_stubborn", fleet.down())
        return self.found

    async def few(self) -> dict[str, Figure]:
        """The row ``restart_10``, of a fleet of so many."""
        await self._started()
        await self.restarts("restart_10")
        await self._fleet.down()
        return {"restart_10": self.found["restart_10"]}

    async def _started(self) -> None:
        await self.take("start", self._fleet.up())
        await asyncio.sleep(self._plan.settle)

    async def restarts(self, key: str) -> None:
        """One worker after the other is killed."""
        for number in range(self._plan.kills):
            name = self._fleet.names[number % len(self._fleet.names)]
            if not await self.take(key, self._fleet.replaced([name], signal.SIGKILL)):
                return
            await asyncio.sleep(BETWEEN)

    async def _at_rest(self) -> None:
        own = self._fleet.own()
        used, woken, began = _cpu(own), _wakeups(own), time.perf_counter()
        await asyncio.sleep(self._plan.window)
        elapsed = time.perf_counter() - began
        self.note("idle_cpu", 60_000 * (_cpu(own) - used) / elapsed)
        self.note("wakeups", (_wakeups(own) - woken) / elapsed)

    async def _burst(self) -> None:
        fleet, own = self._fleet, self._fleet.own()
        alone, together = _cpu([fleet.root]), _cpu(own)
        if await self.take("burst", fleet.replaced(fleet.names, signal.SIGKILL)):
            self.note("burst_cpu", 1000 * (_cpu([fleet.root]) - alone) / len(fleet.names))
            await asyncio.sleep(AFTERWARDS)
            self.note("burst_cpu_after", 1000 * (_cpu(own) - together) / len(fleet.names))
        else:
            self.found["burst_cpu"] = self.found["burst_cpu_after"] = self.found["burst"]
        await asyncio.sleep(self._plan.settle)


async def _seconds(milliseconds: Awaitable[float]) -> float:
    return await milliseconds / 1000


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


async def gone(pids: Iterable[int]) -> None:
    """Wait until these processes have ended."""
    loop = asyncio.get_running_loop()
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


# ---- /proc ----


def descendants(root: int, without: Collection[int] = ()) -> list[int]:
    """``root`` and all below it, but not these and what is below them."""
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
            if state != "Z":
                below.setdefault(int(parent), []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += [child for child in below.get(pid, ()) if child not in without]
    return found


def _cpu(pids: Iterable[int]) -> float:
    """Seconds of a core, to the nanosecond: /proc counts in ticks. Threads that ended are in it."""
    used = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            used += time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of a process
    return used


def _wakeups(pids: Iterable[int]) -> int:
    """How often their threads have gone to sleep by themselves."""
    slept = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):
                slept += int(
                    re.findall(r"^voluntary_\w+:\s+(\d+)", status.read_text(), re.MULTILINE)[0]
                )
    return slept
