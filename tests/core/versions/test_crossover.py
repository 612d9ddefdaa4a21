"""Only a crossover blames a version: unhealthy with it, well with an older one, and a load alone is no cure."""

import pytest

from tests.core.version_bench import (
    MISSING,
    NEW,
    NEWER,
    OLD,
    RULES,
    WAJS,
    VersionBench,
    broken,
    confirm,
    crossed,
)
from waguard.core.replace import replace
from waguard.core.versions.effects import Kind, TrialResult
from waguard.core.versions.facts import (
    Acked,
    Evidence,
    Loaded,
    Unreachable,
    Well,
)
from waguard.core.versions.policy import next_deadline
from waguard.core.versions.state import TrialStage

PAUSE, WELL_FOR, LIMIT = RULES.pause, RULES.well_for, RULES.trial_limit


# ---- the proof ----


def test_an_unhealthy_session_is_loaded_with_the_last_good_version() -> None:
    bench = broken("a")
    assert bench.reloads == [("a", OLD)]
    assert (bench.gets("a"), bench.gets("b")) == (OLD, None)
    suspected = bench.announced(Kind.SUSPECTED)
    assert (suspected.revision, suspected.instead, suspected.sessions) == (NEW, OLD, ("a",))
    assert suspected.evidence is Evidence.UNACKED


def test_two_sessions_that_are_well_with_the_older_version_roll_all_back() -> None:
    bench = broken("a", "b", "c", "d")
    confirm(bench)
    assert (bench.results, bench.gets()) == ([TrialResult.CONFIRMED], None)
    confirm(bench)
    assert (bench.results[-1], bench.gets()) == (TrialResult.CONFIRMED, OLD)
    it = bench.announced(Kind.ROLLED_BACK)
    assert (it.revision, it.instead, it.evidence) == (NEW, OLD, Evidence.UNACKED)
    assert set(it.sessions) == {"a", "b", "c", "d"}


def test_one_session_alone_rolls_nobody_back_and_stays_with_what_works() -> None:
    bench = broken("a", evidence=MISSING)
    crossed(bench)
    assert (bench.results, bench.gets(), bench.gets("a")) == ([TrialResult.CONFIRMED], None, OLD)
    assert bench.state.hold is None


def test_a_confirmation_is_forgotten_after_a_day() -> None:
    bench = broken("a", evidence=MISSING)
    crossed(bench)
    bench.pass_time(RULES.remember)
    assert (bench.gets("a"), bench.state.confirmations) == (None, ())


def test_an_unhealthy_session_has_to_be_well_for_a_minute() -> None:
    bench = broken("a", evidence=MISSING)
    bench.load("a", well=True)
    bench.pass_time(WELL_FOR - 1)
    assert bench.results == []
    bench.pass_time(1)
    assert bench.results == [TrialResult.CONFIRMED]


def test_unhealthy_with_the_older_version_too_acquits() -> None:
    bench = broken("a")
    bench.load("a")
    bench.unhealthy("a")
    assert bench.results == [TrialResult.ACQUITTED]
    assert bench.announced(Kind.ACQUITTED).revision == NEW
    assert (bench.gets(), bench.gets("a"), bench.state.hold) == (None, None, None)


def test_after_an_acquittal_the_pause_doubles_up_to_its_limit() -> None:
    bench = broken("a")
    lengths = []
    for revision in (OLD - 1, OLD - 2, OLD - 3, OLD - 4, OLD - 5, OLD - 6):
        good = {**bench.state.good, revision: bench.state.good[OLD]}
        stored = bench.state.stored | {revision}
        bench.state = replace(bench.state, good=good, stored=stored)  # as if proven long ago
    for _ in range(6):
        assert bench.state.trial
        bench.load("a")
        bench.unhealthy("a")
        bench.load("a")
        bench.unhealthy("a")
        pause = bench.state.acquittal
        assert pause
        lengths.append(pause.until - bench.now)
        bench.pass_time(pause.until - bench.now)
    assert [round(it / PAUSE) for it in lengths] == [1, 2, 4, 8, 16, 16]
    assert bench.kinds.count(Kind.ACQUITTED) == 1


def two_good_ones(*names: str) -> VersionBench:
    """OLD and 150 are proven, 150 although it makes ``names`` unhealthy by now; they have NEW."""
    bench = VersionBench("a", "b", "c", "d")
    bench.prove()
    bench.release(150, "a", "b", "c", "d")
    for name in "abcd":
        bench.well(name)
    bench.prove()
    bench.release(NEW, *names)
    return bench


def test_after_an_acquittal_others_are_compared_with_an_older_version() -> None:
    bench = two_good_ones("a", "b", "c")
    bench.unhealthy("a")
    assert bench.reloads == [("a", 150)]
    bench.load("a")
    bench.unhealthy("a")
    bench.unhealthy("b", "c")
    bench.pass_time(PAUSE)
    assert ("c", OLD) in bench.reloads


def test_what_was_doubted_is_held_back_too() -> None:
    bench = two_good_ones("a", "b", "c")
    bench.unhealthy("a")
    bench.load("a")
    bench.unhealthy("a")
    bench.unhealthy("b", "c")
    bench.pass_time(PAUSE)
    confirm(bench)
    confirm(bench)
    it = bench.announced(Kind.ROLLED_BACK)
    assert (it.revision, it.instead, bench.gets()) == (150, OLD, OLD)


def test_where_all_are_doubted_the_newest_is_compared_with_all_the_same() -> None:
    bench = broken("a")
    bench.load("a")
    bench.unhealthy("a")
    bench.release(NEWER, "b")
    bench.unhealthy("b")
    assert bench.reloads[-1] == ("b", OLD)


def test_a_newer_version_does_not_wait_for_the_pause_of_an_older_one() -> None:
    bench = broken("a")
    bench.load("a")
    bench.unhealthy("a")
    bench.release(NEWER, "b")
    bench.unhealthy("b")
    assert bench.reloads[-1] == ("b", OLD)


def test_many_more_unhealthy_sessions_end_the_pause() -> None:
    names = [f"s{number}" for number in range(9)]
    bench = VersionBench(*names)
    bench.unhealthy_with_new("s0")
    bench.load("s0")
    bench.unhealthy("s0")
    bench.load("s0", NEW)
    bench.unhealthy("s0")
    for name in names[1:3]:
        bench.load(name)
        bench.unhealthy(name)
        assert bench.state.trial is None
    bench.load("s3")
    bench.unhealthy("s3")
    assert bench.state.trial


def test_no_evidence_is_no_acquittal() -> None:
    bench = broken("a")
    bench.load("a")
    bench.post(Well("a"))  # it sends nothing: that proves nothing
    bench.pass_time(LIMIT)
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "nothing shows that it is healthy or unhealthy",
    )
    assert bench.state.acquittal is None


def test_a_page_that_is_not_loaded_in_time_proves_nothing() -> None:
    bench = broken("a")
    bench.pass_time(LIMIT)
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "its page was not loaded with it in time",
    )


def test_a_page_that_has_another_version_than_asked_for_proves_nothing() -> None:
    bench = broken("a")
    bench.post(Loaded("a", NEW, WAJS, "network"))
    bench.well("a")
    bench.pass_time(LIMIT)
    assert bench.results == [TrialResult.VOID]


def test_what_keeps_whatsapp_away_proves_nothing() -> None:
    bench = broken("a", evidence=MISSING)
    bench.load("a", well=True)
    bench.post(Unreachable("a"))
    bench.pass_time(WELL_FOR)
    assert bench.results == []
    bench.post(Well("a"))
    bench.pass_time(WELL_FOR)
    assert bench.results == [TrialResult.CONFIRMED]


def test_after_a_trial_without_a_result_another_session_is_tried_ever_later() -> None:
    bench = broken("a", "b")
    begun = []
    for _ in range(3):
        bench.pass_time(LIMIT)
        begun.append(bench.now)
        assert bench.state.trial is None
        wait = next_deadline(bench.state) - bench.now
        bench.pass_time(wait)
        begun[-1] = wait
    assert begun == [WELL_FOR, 2 * WELL_FOR, 4 * WELL_FOR]
    assert [name for name, revision in bench.reloads if revision == OLD] == ["a", "b", "a", "b"]


def test_someone_who_recovers_without_a_load_takes_a_confirmation_back() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy_with_new("a")
    confirm(bench)
    bench.release(NEW, "b")
    bench.unhealthy("b")
    bench.post(Acked("b"))
    assert (bench.state.confirmations, bench.state.hold) == ((), None)


def test_someone_who_recovers_from_another_failure_takes_nothing_back() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy_with_new("a")
    confirm(bench)
    bench.release(NEW, "b")
    bench.unhealthy("b", evidence=Evidence.NEVER_READY)
    bench.post(Well("b"))
    assert len(bench.state.confirmations) == 1


def test_someone_who_recovers_with_the_suspected_version_clears_it() -> None:
    """An outage that ends looks like this."""
    bench = broken("a", "b")
    bench.load("b")
    bench.well("b")
    crossed(bench)
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "another session recovered with the suspected version",
    )


def test_another_unhealthy_session_is_loaded_with_what_it_had_and_comes_next() -> None:
    """Unhealthy with two loads, it need not go back."""
    bench = broken("a", "b")
    assert bench.reloads == [("a", OLD), ("b", None)]
    bench.load("b")
    bench.unhealthy("b")
    confirm(bench)
    assert crossed(bench) == "b"
    assert bench.results == [TrialResult.CONFIRMED] * 2


def test_another_unhealthy_session_cannot_show_that_a_load_is_not_the_cure() -> None:
    """It may be unhealthy for a reason of its own."""
    bench = broken("a", "b")
    bench.load("b")
    bench.unhealthy("b")
    crossed(bench)
    trial = bench.state.trial
    assert trial
    assert (bench.results, trial.stage) == ([], TrialStage.BACK)


def test_who_was_well_goes_back_and_has_to_be_unhealthy_again() -> None:
    bench = broken("a")
    crossed(bench)
    assert (bench.reloads, bench.results) == ([("a", OLD), ("a", None)], [])
    bench.load("a")
    bench.unhealthy("a")
    assert bench.results == [TrialResult.CONFIRMED]
    assert bench.reloads[-1] == ("a", OLD)


def test_who_is_well_with_the_suspected_version_after_a_load_needed_the_load() -> None:
    bench = broken("a")
    crossed(bench)
    bench.load("a", well=True)
    bench.pass_time(WELL_FOR)
    assert (bench.results, bench.why) == ([TrialResult.VOID], "a load alone was the cure")
    assert bench.state.hold is None


@pytest.mark.parametrize("stage", [TrialStage.CROSSED, TrialStage.BACK])
def test_another_failure_proves_nothing(stage: TrialStage) -> None:
    """A slow machine makes pages late while sends are what is looked into."""
    bench = broken("a")
    if stage is TrialStage.BACK:
        crossed(bench)
    bench.load("a")
    bench.unhealthy("a", evidence=Evidence.NEVER_READY)
    bench.pass_time(LIMIT)
    assert bench.results == [TrialResult.VOID]


def test_no_evidence_after_going_back_proves_nothing() -> None:
    bench = broken("a")
    crossed(bench)
    bench.load("a")
    bench.post(Well("a"))
    bench.pass_time(LIMIT)
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "nothing shows that it is unhealthy again",
    )


def test_going_back_to_a_network_that_withdrew_the_version_proves_nothing() -> None:
    bench = broken("a")
    crossed(bench)
    bench.load("a", OLD)
    bench.unhealthy("a")
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "the network serves an older version again",
    )


def test_a_session_that_was_unhealthy_with_two_loads_needs_no_control() -> None:
    bench = broken("a")
    bench.post(Loaded("a", NEW, WAJS, "network"))
    bench.pass_time(1)
    bench.post(Loaded("a", NEW, WAJS, "network"))
    bench.unhealthy("a")
    bench.pass_time(LIMIT + WELL_FOR)  # the first trial ended without a result
    crossed(bench)
    assert bench.results[-1] is TrialResult.CONFIRMED


def test_another_control_is_chosen_for_one_that_left_and_does_not_come_back() -> None:
    bench = broken("a", "b", "c")
    assert bench.reloads == [("a", OLD), ("b", None)]
    bench.leave("b")  # as for each load
    bench.pass_time(WELL_FOR - 1)
    assert bench.reloads[2:] == []
    bench.pass_time(1)
    assert bench.reloads[2:] == [("c", None)]
