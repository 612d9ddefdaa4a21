"""Which unhealthy sessions the decision about versions loads again, so that nobody else does."""

import pytest

from tests.core.version_bench import (
    MISSING,
    NEW,
    NEWER,
    OLD,
    OTHER,
    RULES,
    VersionBench,
    broken,
    confirm,
    crossed,
    rolled_back,
)
from waguard.core.replace import replace
from waguard.core.versions.cure import cures, has_other_arm
from waguard.core.versions.facts import BundleAdded, Evidence, Pin, RulesChanged, Try, UseBundle
from waguard.core.versions.version_rules import Mode


def cured(bench: VersionBench) -> str:
    return "".join(sorted(it for it in bench.state.members if cures(bench.state, it, bench.now)))


def apart(bench: VersionBench) -> str:
    return "".join(sorted(it for it in bench.state.members if has_other_arm(bench.state, it)))


def test_all_that_are_unhealthy_are_tried_or_wait_for_the_trial() -> None:
    bench = broken("a", "b", "c")
    assert (cured(bench), apart(bench)) == ("abc", "a")
    bench.leave("a")
    assert cured(bench) == "abc", "it is being loaded"
    assert not cures(bench.state, "nobody", bench.now)


def test_a_rollback_cures_from_the_first_evidence_to_the_last_load() -> None:
    bench = broken("a", "b", "c", "d")
    confirm(bench)
    trial = bench.state.trial
    assert trial
    assert cured(bench) == "abcd"
    assert set(apart(bench)) == {"a", trial.session}, "a stays with what it was well with"
    confirm(bench)
    assert apart(bench) == "", "all are to have it"
    for name in "abcd":
        assert (name in cured(bench)) is (bench.state.members[name].arm.revision == NEW)
        bench.load(name, well=True)
    assert cured(bench) == ""


def test_where_there_is_nothing_to_compare_with_it_is_left_to_others() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy("a")
    assert cured(bench) == ""


def test_after_an_acquittal_it_is_left_to_others() -> None:
    bench = broken("a", "b")
    bench.load("a")
    bench.unhealthy("a")
    assert cured(bench) == "a", "it is to have what all have"
    bench.load("a")
    bench.unhealthy("a")
    assert cured(bench) == ""
    bench.pass_time(RULES.pause)
    assert cured(bench) == "ab"


def test_while_trials_without_a_result_make_it_wait_for_long_it_is_left_to_others() -> None:
    bench = broken("a")
    bench.state = replace(bench.state, trial=None, next_trial_at=bench.now + RULES.trial_limit)
    assert cured(bench) == "a"
    bench.state = replace(bench.state, next_trial_at=bench.now + RULES.trial_limit + 1)
    assert cured(bench) == ""


def test_under_a_pin_it_is_left_to_others() -> None:
    bench = broken("a")
    bench.post(Pin(OLD))
    assert cured(bench) == "a", "it is loaded with what is pinned"
    bench.load("a")
    bench.unhealthy("a")
    assert cured(bench) == ""


def test_while_a_canary_runs_others_are_left_to_others() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.post(Try(revision=OLD, session="b"))
    bench.release(NEW, "a")
    bench.unhealthy("a")
    assert (cured(bench), apart(bench)) == ("b", "b")


@pytest.mark.parametrize("mode", ["off", "guard"])
def test_without_another_version_to_give_it_decides_nothing(mode: Mode) -> None:
    bench = VersionBench("a", "b", rules=replace(RULES, mode=mode))
    bench.unhealthy("a")
    assert (cured(bench), apart(bench)) == ("", "")


def test_off_ends_it() -> None:
    bench = broken("a", "b")
    bench.post(RulesChanged(replace(RULES, mode="off")))
    assert (cured(bench), apart(bench)) == ("", "")


def test_what_is_well_is_not_cured() -> None:
    bench = rolled_back()
    for name in "abcd":
        bench.load(name, well=True)
    bench.release(NEWER)
    assert (cured(bench), apart(bench)) == ("", "")


def test_a_session_that_is_alone_in_being_unhealthy_has_a_version_of_its_own() -> None:
    bench = broken("a", evidence=MISSING)
    crossed(bench)
    assert (cured(bench), apart(bench)) == ("", "a")


def test_a_canary_of_a_bundle_has_an_arm_of_its_own() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.post(BundleAdded(OTHER))
    bench.post(UseBundle(OTHER))
    assert (cured(bench), apart(bench)) == ("a", "a")
    bench.load("a")
    bench.unhealthy("a", evidence=Evidence.SEND_THROWS)
    assert cured(bench) == "a", "it is crossed over"


def test_one_whose_page_is_gone_is_left_to_its_own_restart() -> None:
    bench = broken("a", "b", "c")
    bench.leave("c")
    assert cured(bench) == "ab"
