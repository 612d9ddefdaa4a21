"""The host that supervision is tested on: clocks that stand, and what it measures and draws."""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from waguard.config.sections import Config
from waguard.core.host.evidence import Evidence
from waguard.core.replace import replace
from waguard.core.session.probe import STALL
from waguard.host.memory.documents import Document, DocumentError
from waguard.ports.process import BrowserFile, Usage

START: Final = 1_732_233_600.0  # s, unix time


_Timer = tuple[float, asyncio.TimerHandle, Callable[[], None]]


class FakeClock:
    """Stands until it is moved; both clocks together. Timers are punctual but where it is moved so far that the daemon
    has stood still."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._timers: list[_Timer] = []
        self.ahead = 0.0
        """Seconds by which somebody has set the wall clock."""

    def wall(self) -> float:
        return START + self.now + self.ahead

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while seconds <= STALL and (due := [it for it in self._timers if it[0] <= end]):
            when, handle, callback = due[0]
            self._timers.remove(due[0])
            if not handle.cancelled():
                handle.cancel()
                self.now = max(self.now, when)
                callback()
        self.now = end

    def timer(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Due by the loop's time, or when the clock is moved beyond that."""

        def fire() -> None:
            self._timers.remove(made)
            callback()

        handle = asyncio.get_running_loop().call_later(when - self.now, fire)
        made = when, handle, callback
        self._timers = sorted([*self._timers, made], key=lambda it: it[0])
        return handle


class FakeMeter:
    """Measures what it is told to."""

    def __init__(self) -> None:
        self.usage: dict[str, Usage] = {}
        self.measured_at: Mapping[str, Collection[int]] = {}

    def sample(self, groups: Mapping[str, Collection[int]], now: float) -> dict[str, Usage]:
        self.measured_at = groups
        return self.usage


@dataclass
class FakeWitness:
    """Saw what it is told to."""

    seen: Evidence = field(default_factory=Evidence)
    asked: list[bool] = field(default_factory=list)
    held: asyncio.Event | None = None
    """It sees nothing until then: a disk hangs."""

    async def read(self, *, browser: bool) -> Evidence:
        self.asked.append(browser)
        if self.held:
            await self.held.wait()
        return self.seen


@dataclass
class FakeBrowsers:
    """``ports.process.Browsers`` without a Chromium."""

    configured: Callable[[], Config]
    there: BrowserFile | None = None
    run: dict[int, BrowserFile] = field(default_factory=dict)
    copy: BrowserFile | None = None
    refused: str | None = None
    full: str | None = None
    """Why nothing can be copied."""
    asked: list[Path] = field(default_factory=list)
    used: BrowserFile | None = None
    outdated: int = 0

    def config(self) -> Config:
        config = self.configured()
        if self.used is None:
            return config
        browser = replace(config.browser, executable=str(self.used.path))
        return replace(config, browser=browser)

    def installed(self) -> BrowserFile | None:
        return self.there

    def running(self, pid: int, name: str | None = None) -> BrowserFile | None:
        it = self.run.get(pid)
        return it if it and name in {None, it.path.name} else None

    def ask(self, path: Path) -> tuple[str | None, str | None]:
        self.asked.append(path)
        return (None, self.refused) if self.refused else ("2.0.0.0", None)

    def kept(self) -> BrowserFile | None:
        return self.copy

    def keep(self, it: BrowserFile) -> None:
        if self.full:
            raise OSError(self.full)
        self.copy = BrowserFile(path=Path("/kept") / it.build / it.path.name, build=it.build)

    def end(self) -> None:
        pass


class NoChance(random.Random):
    """Draws the middle."""

    def random(self) -> float:
        return 0.5


@dataclass
class FakeDocuments:
    """``ports.versions.Documents`` in memory."""

    there: set[int] = field(default_factory=set)

    def known(self) -> Collection[int]:
        return tuple(sorted(self.there))

    def path(self, revision: int) -> Path:
        return Path("/documents") / str(revision)

    def discard(self, revision: int) -> None:
        self.there.discard(revision)

    def load(self, revision: int) -> Document:
        raise DocumentError(f"version {revision} is not stored")
