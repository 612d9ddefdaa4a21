"""``make simulate``: months of a fleet's life side by side, and how soon it was well again; or lives of several hosts."""

import argparse
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from tests.simulation.clock import Violation
from tests.simulation.cluster import campaign
from tests.simulation.faults import KINDS, SLOWLY, TURN
from tests.simulation.story import DAY, draw_plan, live, report

MONTH = 365.25 / 12 * DAY
PROCESSES = 2


class Month(NamedTuple):
    """What became of one."""

    seed: int
    faults: Counter[str]
    healed: dict[str, list[float]]
    persons: Counter[str]
    steps: int
    took: float
    story: str | None
    """Of what broke."""


def live_month(sessions: int, own: float, host: float, seed: int) -> Month:
    """One month of a fleet."""
    plan = draw_plan(seed, sessions, MONTH, own=own, host=host)
    began = time.perf_counter()
    try:
        world = live(seed, sessions, plan)
    except Violation:
        story = report(seed, sessions, plan)
        return Month(seed, Counter(), {}, Counter(), 0, time.perf_counter() - began, story)
    took = time.perf_counter() - began
    return Month(seed, world.faults, dict(world.healed), world.persons, world.steps, took, None)


def table(months: Sequence[Month]) -> Iterable[str]:
    """Faults by kind, and the time until a session was well again."""
    faults = sum((month.faults for month in months), Counter[str]())
    persons = sum((month.persons for month in months), Counter[str]())
    yield f"{'fault':18s}{'faults':>8s}{'healed':>8s}{'median':>9s}{'p99':>9s}{'bound':>8s}  s"
    for kind in KINDS:
        times = sorted(it for month in months for it in month.healed.get(kind, ()))
        line = f"{kind:18s}{faults[kind]:8d}{len(times):8d}"
        if times:
            median, p99 = times[len(times) // 2], times[int(0.99 * (len(times) - 1))]
            line += f"{median:9.1f}{p99:9.1f}{KINDS[kind].bound:8.0f}"
        yield line
    yield f"bound: {SLOWLY:.0f} s more, and {TURN:.0f} for each that waits, where the restarts are spent"
    yield "needed a person: " + (", ".join(f"{n} {kind}" for kind, n in persons.items()) or "none")
    beside = {kind: n for kind, n in persons.items() if not KINDS[kind].person}
    yield f"needed a person beside those causes: {sum(beside.values())} {beside or ''}"


def main() -> int:
    """The exit code."""
    asked = argparse.ArgumentParser(prog="make simulate")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--years", type=float, default=1.0)
    asked.add_argument("--sessions", type=int, default=100)
    asked.add_argument("--own", type=float, default=8.0, help="faults a session-day")
    asked.add_argument("--host", type=float, default=12.0, help="faults of all a day")
    asked.add_argument("--cluster", type=int, metavar="LIVES", help="of several hosts, instead")
    given = asked.parse_args()
    if given.cluster:
        return campaign.main(given.cluster)
    seeds = [given.seed * 1_000 + n for n in range(max(1, round(given.years * 12)))]
    began, months = time.perf_counter(), list[Month]()
    one = partial(live_month, given.sessions, given.own, given.host)
    with multiprocessing.Pool(PROCESSES) as pool:
        for month in pool.imap_unordered(one, seeds):
            months.append(month)
            said = month.story or f"{month.faults.total()} faults, {month.steps} steps"
            print(f"month {month.seed}: {said}, {month.took:.0f} s", flush=True)
    print(*table(months), sep="\n")
    broken = sum(month.story is not None for month in months)
    print(f"{broken} violations in {len(months)} months, {time.perf_counter() - began:.0f} s")
    return min(broken, 1)


if __name__ == "__main__":
    raise SystemExit(main())
