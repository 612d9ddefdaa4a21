"""The host that supervision is tested on: clocks that stand, and what it measures and draws."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from waguard.core.host.evidence import Evidence
from waguard.host.memory.documents import Document, DocumentError
from waguard.ports.process import Usage

START: Final = 1_732_233_600.0  # s, unix time


class FakeClock:
    """Stands until it is moved; both clocks together."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.ahead = 0.0
        """Seconds by which somebody has set the wall clock."""

    def wall(self) -> float:
        return START + self.now + self.ahead

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


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

    async def read(self, *, browser: bool) -> Evidence:
        self.asked.append(browser)
        return self.seen


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
