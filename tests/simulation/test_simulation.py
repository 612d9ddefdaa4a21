"""Fleets' lives, and what they met: a branch that never ran proves nothing. An eighth of the million steps
with `make test`, all of them with `make test-long`."""

import functools
import time
from collections import Counter
from pathlib import Path
from typing import Final, get_args

import pytest

from tests.simulation.clock import Violation
from tests.simulation.fuzz import Fuzz
from tests.simulation.story import DAY, draw_plan, live, report
from tests.simulation.watched import NOWHERE, Seen
from waguard.core.session.facts import Fact, WorkerFact
from waguard.core.session.state import Stage

STEPS: Final = 1_000_000
SHARE: Final = 8  # what `make test` lives: one of so many worlds
LEAST: Final = {1: 100, SHARE: 5}  # times that each was met
FUZZ_SEEDS, FUZZ_STEPS = 400, 400
STAGES: Final = (NOWHERE, *map(str, Stage))
_NO_PROCESS = "no process runs that could say it"
_ONCE = "it is said once, at the start of a process"
_EARLIER = "only a daemon that has just begun adopts, and then none of its own runs"
IMPOSSIBLE: Final[dict[tuple[str, str], str]] = {
    **{(Stage.SPAWNING, kind): _NO_PROCESS for kind in ("Beat", "Reported", "Exited", "Stopped")},
    **{
        (stage, "Spawned"): _ONCE
        for stage in (NOWHERE, Stage.ADOPTING, Stage.STARTING, Stage.READY, Stage.ENDING)
    },
    **{
        (stage, "SpawnFailed"): _ONCE
        for stage in (NOWHERE, Stage.ADOPTING, Stage.STARTING, Stage.READY, Stage.ENDING)
    },
    **{
        (stage, "Adopted"): _EARLIER
        for stage in (Stage.SPAWNING, Stage.ADOPTING, Stage.STARTING, Stage.READY, Stage.ENDING)
    },
}
"""What no world makes, by (stage, fact); the fuzz does, for a fact out of turn does no harm."""

TRANSITIONS: Final = {
    (NOWHERE, Stage.SPAWNING),
    (NOWHERE, Stage.ADOPTING),
    (Stage.SPAWNING, Stage.STARTING),
    (Stage.SPAWNING, NOWHERE),
    (Stage.SPAWNING, Stage.ENDING),
    (Stage.ADOPTING, Stage.READY),
    (Stage.ADOPTING, Stage.ENDING),
    (Stage.ADOPTING, NOWHERE),
    (Stage.STARTING, Stage.READY),
    (Stage.STARTING, Stage.ENDING),
    (Stage.STARTING, NOWHERE),
    (Stage.READY, Stage.ENDING),
    (Stage.READY, NOWHERE),
    (Stage.ENDING, NOWHERE),
    (Stage.ENDING, Stage.SPAWNING),
}


def _plans(share: int) -> list[tuple[int, int, float, float, float, bool]]:
    """(seed, sessions, days, own faults a session-day, faults of all a day, dense)."""
    sparse = [(seed, 4, 5.0, 16.0, 24.0, False) for seed in range(1, 7)]
    big = [(seed, 30, 0.5, 12.0, 24.0, False) for seed in (11, 12)]
    dense = [(seed, 6, 0.125, 200.0, 120.0, True) for seed in range(21, 33)]
    return [*sparse[::share], *big[::share], *dense[::share]]


class Lives:
    """All that was lived."""

    def __init__(self, share: int) -> None:
        self.share = share
        self.seen = Seen()
        self.steps = self.faults = 0
        began = time.perf_counter()
        for seed, sessions, days, own, host, dense in _plans(share):
            plan = draw_plan(seed, sessions, days * DAY, own=own, host=host)
            try:
                world = live(seed, sessions, plan, dense=dense, seen=self.seen)
            except Violation:
                pytest.fail(report(seed, sessions, plan, dense=dense))
            self.steps += world.steps
            self.faults += len(plan)
        self.seconds = time.perf_counter() - began
        self.fuzzed = Seen()
        for seed in range(FUZZ_SEEDS // share):
            fuzz = Fuzz(seed, self.fuzzed, honest=seed % 2 == 0)
            for _ in range(FUZZ_STEPS):
                fuzz.step()


lived = functools.cache(Lives)  # once for all tests here


@pytest.fixture(
    params=[pytest.param(SHARE, id="short"), pytest.param(1, marks=pytest.mark.long, id="whole")]
)
def it(request: pytest.FixtureRequest) -> Lives:
    return lived(request.param)


@pytest.mark.timeout(300)
def test_a_million_steps_break_nothing(it: Lives) -> None:
    rate = it.steps / it.seconds
    print(f"\n{it.steps:,} steps, {it.faults} faults in {it.seconds:.1f} s: {rate:,.0f} steps/s")
    for kind, count in it.seen.moves.most_common():
        print(f"  {kind:18s}{count:>10,}")
    assert it.steps >= STEPS // it.share


@pytest.mark.timeout(300)
def test_each_fact_met_each_stage(it: Lives) -> None:
    kinds = [kind.__name__ for kind in get_args(Fact)]
    both = it.seen.pairs + it.fuzzed.pairs
    print("\n" + " " * 18 + "".join(f"{stage:>16s}" for stage in STAGES))
    for kind in kinds:
        print(f"{kind:18s}" + "".join(_cell(it, stage, kind) for stage in STAGES))
    least = LEAST[it.share]
    missing = {pair: both[pair] for pair in _pairs(kinds) if both[pair] < least}
    assert missing == {}, f"met less than {least} times"


def _cell(it: Lives, stage: str, kind: str) -> str:
    return f"{it.seen.pairs[stage, kind]:>10,}{it.fuzzed.pairs[stage, kind]:>+6}"


def _pairs(kinds: list[str]) -> list[tuple[str, str]]:
    return [(stage, kind) for stage in STAGES for kind in kinds]


@pytest.mark.timeout(300)
def test_what_is_impossible_never_happened_in_a_world(it: Lives) -> None:
    happened = {pair: n for pair, n in it.seen.pairs.items() if pair in IMPOSSIBLE and n}
    assert happened == {}


@pytest.mark.timeout(300)
def test_each_transition_happened(it: Lives) -> None:
    both: Counter[tuple[str, str]] = it.seen.transitions + it.fuzzed.transitions
    for (before, after), count in sorted(both.items()):
        print(f"{before:>10s} -> {after:10s}{count:>8,}")
    assert both.keys() == TRANSITIONS
    assert {pair: n for pair, n in both.items() if n < LEAST[it.share]} == {}


def test_facts_of_workers_are_known_as_such() -> None:
    known = {kind.__name__ for kind in get_args(Fact) if issubclass(kind, WorkerFact)}
    said = {"Beat", "Reported", "SpecChanged", "Unanswered", "Unusable"}
    assert known == said | {"Exited", "Spawned", "SpawnFailed", "Stopped"}


def test_the_diagram_in_the_docs_has_them_all() -> None:
    document = Path(__file__).parents[2] / "docs/supervision.md"
    shown = document.read_text().partition("<!-- stages -->")[2].partition("<!-- /stages -->")[0]
    lines = {line.strip() for line in shown.splitlines() if "-->" in line}
    named = [tuple("[*]" if it == NOWHERE else str(it) for it in pair) for pair in TRANSITIONS]
    assert lines == {f"{before} --> {after}" for before, after in named}
