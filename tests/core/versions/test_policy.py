"""Facts that come twice, late or out of turn, and the modes."""

import pytest

from tests.core.version_bench import (
    NEW,
    NEWER,
    OLD,
    OTHER,
    RULES,
    WAJS,
    VersionBench,
    broken,
    rolled_back,
)
from waguard.core.replace import replace
from waguard.core.versions.facts import (
    Acked,
    Arm,
    BundleAdded,
    Captured,
    Discarded,
    Evidence,
    Heard,
    Left,
    Loaded,
    RulesChanged,
    TimerDue,
    Unhealthy,
    Unreachable,
    UseBundle,
    Well,
)
from waguard.core.versions.policy import advance

# ---- facts that come twice, late or out of turn ----


@pytest.mark.parametrize(
    "fact",
    [
        Unhealthy("x", Evidence.DEAF),
        Well("x"),
        Acked("x"),
        Heard("x"),
        Unreachable("x"),
        Left("x"),
        Discarded(1),
        UseBundle(OTHER),
        Acked("a"),
        Heard("a"),
        Well("a"),
    ],
)
def test_what_concerns_nobody_changes_nothing(fact: object) -> None:
    bench = VersionBench("a")
    step = advance(bench.state, fact, bench.now)  # type: ignore[arg-type]
    assert (step.state, step.effects) == (bench.state, ())


def test_the_same_fact_twice_is_one() -> None:
    bench = broken("a", "b")
    once = bench.state
    for fact in (
        Loaded("b", NEW, WAJS, "network"),
        Unhealthy("b", Evidence.UNACKED),
        Captured(NEW),
        BundleAdded(WAJS),
        TimerDue(),
    ):
        if not isinstance(fact, Loaded):
            assert bench.post(fact) == []
    assert bench.state == once


def test_a_clock_that_goes_back_harms_nothing() -> None:
    bench = broken("a")
    state, effects = advance(bench.state, TimerDue(), 0.0)
    assert (state.at, effects) == (bench.state.at, ())


# ---- modes ----


def test_off_serves_what_the_network_serves_and_tries_nothing() -> None:
    bench = rolled_back()
    bench.post(RulesChanged(replace(RULES, mode="off")))
    assert (bench.gets(), bench.gets("a"), bench.rests) == (None, None, True)
    before = len(bench.reloads)
    bench.load("c", NEWER)
    bench.unhealthy("c")
    assert len(bench.reloads) == before
    bench.post(RulesChanged(RULES))
    assert bench.gets() == OLD


def test_off_ends_the_trial_that_runs() -> None:
    bench = broken("a")
    bench.post(RulesChanged(replace(RULES, mode="off")))
    assert (bench.state.trial, bench.gets("a")) == (None, None)


def test_an_arm_names_a_bundle_too() -> None:
    bench = broken("a")
    trial = bench.state.trial
    assert trial
    assert (trial.arm, trial.bad) == (Arm(OLD, WAJS), Arm(NEW, WAJS))
