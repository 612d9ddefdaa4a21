"""Many lives of clusters, in two processes."""

import contextlib
import multiprocessing
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from tests.simulation.clock import Violation
from tests.simulation.cluster import planted
from tests.simulation.cluster.world import DRIFT, live, recover

PROCESSES: Final = 2
PLANTED_LIVES: Final = 300


class Life(NamedTuple):
    """What became of one."""

    seed: int
    takeovers: int
    """Claims of sessions that another host or nobody owned."""
    starts: int
    violation: str | None


def live_one(plant: str | None, drift: float, lasts: float, seed: int) -> Life:
    """One life; with a planted mistake without the quiet time after it."""
    mistake = getattr(planted, plant)() if plant else contextlib.nullcontext()
    with mistake:
        try:
            world = live(seed, drift=drift, lasts=lasts)
            if not plant:
                recover(world)
        except Violation as violation:
            return Life(seed, 0, 0, str(violation))
        return Life(seed, world.rows.takeovers, world.starts, None)


def campaign(
    seeds: Iterable[int], plant: str | None = None, *, drift: float = DRIFT, lasts: float = 10.0
) -> list[Life]:
    """All these lives."""
    with multiprocessing.Pool(PROCESSES) as pool:
        return pool.map(partial(live_one, plant, drift, lasts), seeds, chunksize=4)


def broken(lives: Sequence[Life]) -> list[str]:
    """What was violated, by seed."""
    return [f"seed {it.seed}: {it.violation}" for it in lives if it.violation]


def main(runs: int) -> int:
    """``make simulate ARGS="--cluster 1000"``; the exit code."""
    violations = 0
    for lasts, share in ((10.0, 1), (60.0, 10)):
        began, lives = time.perf_counter(), campaign(range(runs // share), lasts=lasts)
        moved, starts = sum(it.takeovers for it in lives), sum(it.starts for it in lives)
        found = broken(lives)
        violations += len(found)
        print(
            f"as designed, lease {lasts:g} s: {len(found)} of {len(lives)} lives violate something,"
            f" {moved:,} takeovers, {starts:,} starts, {time.perf_counter() - began:.0f} s"
        )
        print(*found[:3], sep="\n", end="\n" if found else "", flush=True)
    for it in planted.PLANTED:
        lives = campaign(range(min(runs, PLANTED_LIVES)), it.plant.__name__)
        found = broken(lives)
        print(f"planted {it.plant.__name__}: {len(found)} of {len(lives)}", *found[:1], flush=True)
    return min(violations, 1)
