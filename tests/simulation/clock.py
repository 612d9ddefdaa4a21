"""Virtual time, and chance that depends on nothing but its name."""

import heapq
import itertools
from collections.abc import Callable
from zlib import crc32


class Violation(Exception):  # noqa: N818 - it is the result that is looked for
    """An invariant is broken."""


class VirtualTime:
    """Runs callbacks in order of their time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.t = 0.0
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()

    def later(self, at: float, do: Callable[[], object]) -> None:
        """Run ``do`` at ``at``."""
        heapq.heappush(self._heap, (at, next(self._number), do))

    def after(self, seconds: float, do: Callable[[], object]) -> None:
        """Run ``do`` in ``seconds``."""
        self.later(self.t + seconds, do)

    def draw(self, *what: object) -> float:
        """Uniform in [0, 1), and the same whatever else happens: that is what makes a story shrink."""
        return crc32(repr((self.seed, what)).encode()) / 2**32

    def run(self, until: float) -> None:
        """Let time pass."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.t, _, do = heapq.heappop(heap)
            do()
        self.t = until
