"""wa-js is the other arm: a new bundle goes through canaries and is rolled back in the same way."""

import pytest

from tests.core.version_bench import (
    MISSING,
    NEW,
    OLD,
    OTHER,
    RULES,
    WAJS,
    VersionBench,
    rolled_back,
)
from waguard.core.replace import replace
from waguard.core.versions.effects import Kind, Reload, TrialResult
from waguard.core.versions.facts import (
    Arm,
    BundleAdded,
    BundleRemoved,
    Evidence,
    Left,
    Try,
    UseBundle,
    Well,
)
from waguard.core.versions.policy import intended, refusal
from waguard.core.versions.state import TrialStage

FOR, WELL_FOR, LIMIT, PAUSE = (
    RULES.canary_for,
    RULES.well_for,
    RULES.trial_limit,
    RULES.pause,
)


def candidate(*names: str) -> VersionBench:
    """Another bundle is to be used."""
    bench = VersionBench(*names)
    bench.prove()
    bench.post(BundleAdded(OTHER))
    bench.post(UseBundle(OTHER))
    return bench


def subject(bench: VersionBench) -> str:
    trial = bench.state.trial
    assert trial
    return trial.session


def passes(bench: VersionBench) -> str:
    name = subject(bench)
    bench.load(name, well=True)
    bench.pass_time(FOR)
    return name


def fails(bench: VersionBench, evidence: Evidence = MISSING) -> str:
    """Unhealthy with the new one, well with that of all."""
    name = subject(bench)
    bench.load(name)
    bench.unhealthy(name, evidence=evidence)
    bench.load(name, well=True)
    bench.pass_time(WELL_FOR)
    return name


def wajs(bench: VersionBench, name: str = "") -> str:
    return intended(bench.state, name).wajs


def released(*names: str) -> VersionBench:
    bench = candidate(*names)
    passes(bench)
    passes(bench)
    assert bench.kinds[-1] is Kind.BUNDLE_RELEASED
    return bench


def test_a_new_bundle_goes_to_one_session_first() -> None:
    bench = candidate("a", "b", "c")
    name = subject(bench)
    assert [it for it in bench.done if isinstance(it, Reload)] == [
        Reload(name, Arm(None, OTHER), "it is a canary")
    ]
    others = {"a", "b", "c"} - {name}
    assert (wajs(bench, name), {wajs(bench, it) for it in others}) == (OTHER, {WAJS})


def test_after_two_canaries_all_get_it_and_nobody_is_loaded_again() -> None:
    bench = candidate("a", "b", "c")
    first = passes(bench)
    assert (wajs(bench, first), wajs(bench)) == (OTHER, WAJS)
    second = passes(bench)
    assert (first != second, wajs(bench), len(bench.reloads)) == (True, OTHER, 2)
    assert bench.announced(Kind.BUNDLE_RELEASED).wajs == OTHER


def test_a_bundle_that_makes_two_sessions_unhealthy_is_rolled_back() -> None:
    bench = candidate("a", "b", "c")
    first = fails(bench)
    assert (bench.results, bench.state.candidate) == ([TrialResult.CONFIRMED], OTHER)
    second = fails(bench)
    assert first != second
    it = bench.announced(Kind.BUNDLE_ROLLED_BACK)
    assert (it.wajs, it.sessions, it.evidence) == (OTHER, (first, second), MISSING)
    assert (bench.state.candidate, wajs(bench), list(bench.state.rejected)) == (None, WAJS, [OTHER])
    assert bench.state.hold is None  # WhatsApp's version is not to blame


def test_a_canary_that_is_unhealthy_with_both_bundles_acquits() -> None:
    bench = candidate("a", "b", "c")
    name = subject(bench)
    bench.load(name)
    bench.unhealthy(name)
    bench.load(name)
    bench.unhealthy(name)
    assert (bench.results, bench.state.candidate) == ([TrialResult.ACQUITTED], OTHER)
    assert bench.announced(Kind.ACQUITTED).wajs == OTHER
    bench.pass_time(PAUSE)
    assert subject(bench) != name


def test_a_silent_canary_of_a_bundle_proves_nothing() -> None:
    bench = candidate("a", "b", "c")
    name = subject(bench)
    bench.load(name)
    bench.post(Well(name))
    bench.pass_time(FOR + LIMIT)
    assert (bench.results, bench.state.trial) == ([TrialResult.VOID], None)
    bench.pass_time(PAUSE)
    assert subject(bench) != name


def test_a_silent_crossover_of_a_bundle_proves_nothing() -> None:
    bench = candidate("a", "b", "c")
    name = subject(bench)
    bench.load(name)
    bench.unhealthy(name)
    bench.load(name)
    bench.pass_time(LIMIT)
    assert (bench.results, bench.state.trial) == ([TrialResult.VOID], None)
    bench.pass_time(PAUSE)
    assert wajs(bench, subject(bench)) == OTHER


def test_never_are_both_arms_varied_in_one_trial() -> None:
    bench = rolled_back()
    for name in "abcd":
        bench.load(name, well=True)
    bench.post(BundleAdded(OTHER))
    bench.post(UseBundle(OTHER))
    trial = bench.state.trial
    assert trial
    assert trial.arm == Arm(OLD, OTHER)


def test_a_new_version_meanwhile_proves_nothing_about_a_bundle() -> None:
    bench = candidate("a", "b", "c")
    name = subject(bench)
    bench.load(name)
    bench.unhealthy(name)
    bench.newest = NEW
    bench.load(name, well=True)
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "WhatsApp serves another version meanwhile",
    )


def test_another_version_for_all_meanwhile_proves_nothing_about_a_bundle() -> None:
    bench = candidate("a", "b", "c")
    name = subject(bench)
    bench.newest = NEW
    bench.load(name)
    good = {**bench.state.good, 50: bench.state.good[OLD]}
    hold = rolled_back().state.hold
    bench.state = replace(bench.state, hold=hold, good=good)
    bench.unhealthy(name)
    assert (bench.results, bench.why) == ([TrialResult.VOID], "all get another version meanwhile")


def test_a_released_bundle_is_what_the_next_canary_of_the_held_version_gets() -> None:
    """It may know what the one before did not."""
    bench = rolled_back()
    for name in "abcd":
        bench.load(name, well=True)
    bench.post(BundleAdded(OTHER))
    bench.post(UseBundle(OTHER))
    passes(bench)
    passes(bench)
    trial = bench.state.trial
    assert trial
    assert (trial.stage, trial.arm) == (TrialStage.CANARY, Arm(None, OTHER))


def test_a_released_bundle_that_makes_sessions_unhealthy_is_rolled_back() -> None:
    bench = released("a", "b", "c", "d", "e")
    for name in "cde":
        bench.load(name)
    bench.well("e")
    bench.unhealthy("c", "d", evidence=MISSING)
    for _ in range(2):
        name = subject(bench)
        assert wajs(bench, name) == WAJS
        bench.load(name, well=True)
        bench.pass_time(WELL_FOR)
    assert (bench.kinds[-1], wajs(bench)) == (Kind.BUNDLE_ROLLED_BACK, WAJS)
    assert bench.state.hold is None
    bench.unhealthy("e")
    assert bench.reloads[-1] == ("e", None)


def test_the_bundle_that_all_get_again_is_no_candidate_any_more() -> None:
    """An operator asks for it while the other one is on trial: its canaries would follow each other for ever."""
    bench = released("a", "b", "c", "d", "e")
    for name in "cde":
        bench.load(name)
    bench.unhealthy("c", "d", evidence=MISSING)
    bench.post(UseBundle(WAJS))
    for _ in range(2):
        bench.load(subject(bench), well=True)
        bench.pass_time(WELL_FOR)
    assert (bench.kinds[-1], wajs(bench)) == (Kind.BUNDLE_ROLLED_BACK, WAJS)
    assert bench.state.candidate is None
    assert bench.state.trial is None


def test_who_is_unhealthy_with_the_bundle_before_too_acquits_it() -> None:
    bench = released("a", "b", "c")
    bench.load("c")
    bench.unhealthy("c")
    bench.load("c")
    bench.unhealthy("c")
    assert (bench.results[-1], wajs(bench)) == (TrialResult.ACQUITTED, OTHER)
    assert bench.announced(Kind.ACQUITTED).wajs == OTHER


def test_a_new_version_while_it_goes_back_proves_nothing_about_a_bundle() -> None:
    bench = released("a", "b", "c")
    bench.load("c")
    bench.unhealthy("c")
    bench.load("c", well=True)
    bench.pass_time(WELL_FOR)
    bench.newest = NEW
    bench.load("c")
    assert (bench.results[-1], bench.why) == (
        TrialResult.VOID,
        "WhatsApp serves another version meanwhile",
    )


def test_a_crossover_ends_when_the_bundle_of_all_is_removed() -> None:
    bench = released("a", "b", "c")
    bench.load("c")
    bench.unhealthy("c")
    bench.post(BundleRemoved(WAJS))
    assert (bench.results[-1], bench.state.trial) == (TrialResult.VOID, None)


def test_a_fleet_of_one_rolls_a_bundle_back_by_itself() -> None:
    bench = candidate("a")
    fails(bench)
    assert (bench.kinds[-1], wajs(bench, "a")) == (Kind.BUNDLE_ROLLED_BACK, WAJS)


def test_a_rolled_back_bundle_is_tried_again_where_an_operator_wants_it() -> None:
    bench = candidate("a")
    fails(bench)
    bench.post(UseBundle(OTHER))
    assert (bench.state.rejected, bench.state.candidate) == ({}, OTHER)


def test_the_bundle_in_use_ends_the_wish_for_another() -> None:
    bench = candidate("a", "b")
    bench.post(UseBundle(WAJS))
    assert (bench.state.candidate, wajs(bench)) == (None, WAJS)


def test_in_mode_off_a_bundle_is_used_at_once() -> None:
    bench = VersionBench("a", rules=replace(RULES, mode="off"))
    bench.post(BundleAdded(OTHER))
    bench.post(UseBundle(OTHER))
    assert wajs(bench) == OTHER


@pytest.mark.parametrize("wish", [UseBundle(OTHER), Try(wajs=OTHER)])
def test_a_bundle_that_is_not_there_is_not_used(wish: UseBundle | Try) -> None:
    bench = VersionBench("a")
    assert refusal(bench.state, wish) == "there is no such bundle"
    bench.post(wish)
    assert (wajs(bench), bench.state.candidate, bench.state.trial) == (WAJS, None, None)


def test_a_bundle_that_is_removed_is_left() -> None:
    bench = released("a", "b")
    bench.post(BundleRemoved(OTHER))
    assert wajs(bench) == WAJS
    bench.post(BundleRemoved(WAJS))
    assert wajs(bench) == WAJS  # there has to be one


def test_a_candidate_that_is_removed_is_no_candidate() -> None:
    bench = candidate("a", "b")
    bench.post(BundleRemoved(OTHER))
    assert (bench.state.candidate, bench.state.trial, bench.results) == (
        None,
        None,
        [TrialResult.VOID],
    )


def test_an_operator_tries_a_bundle_in_one_session() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.post(BundleAdded(OTHER))
    bench.post(Try(wajs=OTHER, session="b"))
    bench.load("b")
    bench.unhealthy("b")
    assert wajs(bench, "b") == WAJS
    bench.load("b", well=True)
    bench.pass_time(WELL_FOR)
    assert (wajs(bench, "b"), bench.state.trial) == (WAJS, None)


def test_a_session_that_leaves_takes_its_trial_along() -> None:
    bench = candidate("a", "b")
    name = subject(bench)
    bench.load(name)
    bench.unhealthy(name)
    bench.post(Left(name))
    bench.pass_time(LIMIT)
    assert bench.results == [TrialResult.VOID]


def test_a_new_version_is_blamed_before_the_bundle_that_others_have_for_long() -> None:
    bench = released("a", "b", "c")
    for name in "abc":
        bench.load(name, well=True)
    bench.pass_time(RULES.good_after)
    bench.release(NEW, "a")
    bench.unhealthy("a")
    assert bench.reloads[-1] == ("a", OLD)
