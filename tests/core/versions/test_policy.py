"""Only a crossover blames a version: ill with it, well with an older one, and a load alone is no cure."""

import pytest

from tests.core.version_bench import NEW, NEWER, OLD, OTHER, RULES, WAJS, VersionBench
from waguard.core.replace import replace
from waguard.core.versions.effects import Kind, TrialResult
from waguard.core.versions.facts import (
    Acked,
    Arm,
    BundleAdded,
    Captured,
    Discarded,
    Evidence,
    Heard,
    Ill,
    Left,
    Loaded,
    RulesChanged,
    TimerDue,
    Unreachable,
    UseBundle,
    Well,
)
from waguard.core.versions.policy import advance, next_deadline
from waguard.core.versions.state import TrialStage

PAUSE, WELL_FOR, LIMIT = RULES.pause, RULES.well_for, RULES.trial_limit
MISSING = Evidence.EXPORTS_MISSING


def broken(*names: str, evidence: Evidence = Evidence.UNACKED) -> VersionBench:
    """All were well with OLD; ``names`` are ill with NEW."""
    bench = VersionBench("a", "b", "c", "d")
    bench.ill_with_new(*names, evidence=evidence)
    return bench


def crossed(bench: VersionBench) -> str:
    """The subject of the trial is loaded with the older version and well there for long enough."""
    trial = bench.state.trial
    assert trial
    assert trial.stage is TrialStage.CROSSED
    bench.load(trial.session, well=True)
    bench.pass_time(WELL_FOR)
    return trial.session


def confirm(bench: VersionBench) -> str:
    """As ``crossed``, and it is ill again where it has to go back."""
    name = crossed(bench)
    trial = bench.state.trial
    if trial and (trial.session, trial.stage) == (name, TrialStage.BACK):
        evidence = trial.evidence
        assert evidence
        bench.load(name)
        bench.ill(name, evidence=evidence)
    assert bench.results[-1] is TrialResult.CONFIRMED
    return name


def rolled_back() -> VersionBench:
    """All four were ill with NEW."""
    bench = broken("a", "b", "c", "d")
    confirm(bench)
    confirm(bench)
    assert bench.kinds == [Kind.SUSPECTED, Kind.ROLLED_BACK]
    return bench


# ---- the proof ----


def test_an_ill_session_is_loaded_with_the_last_good_version() -> None:
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


def test_it_has_to_be_well_for_a_minute() -> None:
    bench = broken("a", evidence=MISSING)
    bench.load("a", well=True)
    bench.pass_time(WELL_FOR - 1)
    assert bench.results == []
    bench.pass_time(1)
    assert bench.results == [TrialResult.CONFIRMED]


def test_ill_with_the_older_version_too_acquits() -> None:
    bench = broken("a")
    bench.load("a")
    bench.ill("a")
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
        bench.ill("a")
        bench.load("a")
        bench.ill("a")
        pause = bench.state.acquittal
        assert pause
        lengths.append(pause.until - bench.now)
        bench.pass_time(pause.until - bench.now)
    assert [round(it / PAUSE) for it in lengths] == [1, 2, 4, 8, 16, 16]
    assert bench.kinds.count(Kind.ACQUITTED) == 1


def two_good_ones(*names: str) -> VersionBench:
    """OLD and 150 are proven, 150 although it makes ``names`` ill by now; they have NEW."""
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
    bench.ill("a")
    assert bench.reloads == [("a", 150)]
    bench.load("a")
    bench.ill("a")
    bench.ill("b", "c")
    bench.pass_time(PAUSE)
    assert ("c", OLD) in bench.reloads


def test_what_was_doubted_is_held_back_too() -> None:
    bench = two_good_ones("a", "b", "c")
    bench.ill("a")
    bench.load("a")
    bench.ill("a")
    bench.ill("b", "c")
    bench.pass_time(PAUSE)
    confirm(bench)
    confirm(bench)
    it = bench.announced(Kind.ROLLED_BACK)
    assert (it.revision, it.instead, bench.gets()) == (150, OLD, OLD)


def test_where_all_are_doubted_the_newest_is_compared_with_all_the_same() -> None:
    bench = broken("a")
    bench.load("a")
    bench.ill("a")
    bench.release(NEWER, "b")
    bench.ill("b")
    assert bench.reloads[-1] == ("b", OLD)


def test_a_newer_version_does_not_wait_for_the_pause_of_an_older_one() -> None:
    bench = broken("a")
    bench.load("a")
    bench.ill("a")
    bench.release(NEWER, "b")
    bench.ill("b")
    assert bench.reloads[-1] == ("b", OLD)


def test_many_more_ill_sessions_end_the_pause() -> None:
    names = [f"s{number}" for number in range(9)]
    bench = VersionBench(*names)
    bench.ill_with_new("s0")
    bench.load("s0")
    bench.ill("s0")
    bench.load("s0", NEW)
    bench.ill("s0")
    for name in names[1:3]:
        bench.load(name)
        bench.ill(name)
        assert bench.state.trial is None
    bench.load("s3")
    bench.ill("s3")
    assert bench.state.trial


def test_no_evidence_is_no_acquittal() -> None:
    bench = broken("a")
    bench.load("a")
    bench.post(Well("a"))  # it sends nothing: that proves nothing
    bench.pass_time(LIMIT)
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "nothing shows that it is healthy or ill",
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
    bench.ill_with_new("a")
    confirm(bench)
    bench.release(NEW, "b")
    bench.ill("b")
    bench.post(Acked("b"))
    assert (bench.state.confirmations, bench.state.hold) == ((), None)


def test_someone_who_recovers_from_another_illness_takes_nothing_back() -> None:
    bench = VersionBench("a", "b", "c")
    bench.ill_with_new("a")
    confirm(bench)
    bench.release(NEW, "b")
    bench.ill("b", evidence=Evidence.NEVER_READY)
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


def test_another_ill_session_is_loaded_with_what_it_had_and_comes_next() -> None:
    """Ill with two loads, it need not go back."""
    bench = broken("a", "b")
    assert bench.reloads == [("a", OLD), ("b", None)]
    bench.load("b")
    bench.ill("b")
    confirm(bench)
    assert crossed(bench) == "b"
    assert bench.results == [TrialResult.CONFIRMED] * 2


def test_another_ill_session_cannot_show_that_a_load_is_not_the_cure() -> None:
    """It may be ill for a reason of its own."""
    bench = broken("a", "b")
    bench.load("b")
    bench.ill("b")
    crossed(bench)
    trial = bench.state.trial
    assert trial
    assert (bench.results, trial.stage) == ([], TrialStage.BACK)


def test_who_was_well_goes_back_and_has_to_be_ill_again() -> None:
    bench = broken("a")
    crossed(bench)
    assert (bench.reloads, bench.results) == ([("a", OLD), ("a", None)], [])
    bench.load("a")
    bench.ill("a")
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
def test_another_illness_proves_nothing(stage: TrialStage) -> None:
    """A slow machine makes pages late while sends are what is looked into."""
    bench = broken("a")
    if stage is TrialStage.BACK:
        crossed(bench)
    bench.load("a")
    bench.ill("a", evidence=Evidence.NEVER_READY)
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
        "nothing shows that it is ill again",
    )


def test_going_back_to_a_network_that_withdrew_the_version_proves_nothing() -> None:
    bench = broken("a")
    crossed(bench)
    bench.load("a", OLD)
    bench.ill("a")
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "the network serves an older version again",
    )


def test_a_session_that_was_ill_with_two_loads_needs_no_control() -> None:
    bench = broken("a")
    bench.post(Loaded("a", NEW, WAJS, "network"))
    bench.pass_time(1)
    bench.post(Loaded("a", NEW, WAJS, "network"))
    bench.ill("a")
    bench.pass_time(LIMIT + WELL_FOR)  # the first trial ended without a result
    crossed(bench)
    assert bench.results[-1] is TrialResult.CONFIRMED


def test_another_control_is_chosen_for_one_that_left() -> None:
    bench = broken("a", "b")
    bench.leave("b")
    bench.release(NEW, "c")
    bench.ill("c")
    assert bench.reloads[-1] == ("c", None)


# ---- which trial comes first ----


def test_who_seldom_sends_is_waited_for() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.release(NEW, "a")
    bench.pass_time(500)
    bench.ill("a")
    bench.pass_time(1499)
    assert bench.results == []
    bench.pass_time(1)
    assert bench.results == [TrialResult.VOID]


def test_a_long_trial_is_left_for_another_ill_session() -> None:
    bench = VersionBench("a", "b", "c")
    bench.prove()
    bench.release(NEW, "a")
    bench.pass_time(500)
    bench.ill("a")
    for _ in range(2):
        bench.release(NEW, "b")
        bench.ill("b")
    bench.pass_time(LIMIT)
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "other sessions give better evidence, and sooner",
    )
    assert bench.state.trial
    assert bench.state.trial.session == "b"


def test_what_is_the_same_at_each_load_is_shown_first() -> None:
    bench = broken("a")
    bench.release(NEW, "b")
    bench.ill("b", evidence=MISSING)
    assert bench.state.trial
    assert bench.state.trial.session == "b"
    bench.release(NEW, "c")
    bench.ill("c", evidence=MISSING)
    assert bench.state.trial.session == "b"


def test_two_sessions_that_are_ill_with_a_newer_version_come_first() -> None:
    bench = broken("a")
    bench.release(NEWER, "b", "c")
    for _ in range(2):
        bench.ill("b")
        assert bench.state.trial
        assert bench.state.trial.session == "a"
        bench.load("b")
    bench.ill("b", "c")
    assert bench.state.trial
    assert bench.state.trial.bad == Arm(NEWER, WAJS)


# ---- two sessions, one session ----


def test_two_sessions_confirm_each_other() -> None:
    bench = VersionBench("a", "b")
    bench.ill_with_new("a", "b")
    confirm(bench)
    confirm(bench)
    assert bench.gets() == OLD


def test_a_fleet_of_one_needs_ill_well_ill() -> None:
    bench = VersionBench("a")
    bench.ill_with_new("a", evidence=MISSING)
    crossed(bench)
    assert bench.results == []
    bench.load("a")
    bench.ill("a", evidence=MISSING)
    assert (bench.kinds[-1], bench.gets("a")) == (Kind.ROLLED_BACK, OLD)
    assert bench.reloads == [("a", OLD), ("a", None), ("a", OLD)]


# ---- who is tried ----


@pytest.mark.parametrize("evidence", list(Evidence))
def test_each_evidence_leads_to_a_trial(evidence: Evidence) -> None:
    assert broken("a", evidence=evidence).reloads == [("a", OLD)]


def test_what_a_page_lacks_when_it_is_loaded_is_evidence() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.post(Loaded("a", NEW, WAJS, "network", ("WPP.chat.sendTextMessage",)))
    assert bench.announced(Kind.SUSPECTED).evidence is MISSING


def test_there_is_never_more_than_one_trial() -> None:
    bench = broken("a", "b", "c")
    assert [it for it in bench.reloads if it[1] == OLD] == [("a", OLD)]


def test_without_a_proven_version_there_is_nothing_to_compare_with() -> None:
    bench = VersionBench("a", "b")
    bench.ill("a", "b")
    assert (bench.reloads, bench.state.trial) == ([], None)


def test_who_was_ill_before_the_version_is_not_tried_with_it() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.ill("a")
    bench.release(NEW, "a")
    bench.ill("a")
    assert bench.reloads == []


def test_a_session_that_left_for_a_moment_keeps_its_trial() -> None:
    """Its worker was replaced for the load."""
    bench = broken("a", evidence=MISSING)
    bench.leave("a")
    crossed(bench)
    assert bench.results == [TrialResult.CONFIRMED]


def test_a_session_that_is_gone_proves_nothing() -> None:
    bench = broken("a")
    bench.leave("a")
    bench.pass_time(LIMIT)
    assert (bench.results, bench.state.trial) == ([TrialResult.VOID], None)
    assert "a" not in bench.state.members


def test_a_trial_ends_when_its_version_cannot_be_served_any_more() -> None:
    bench = broken("a")
    bench.post(Discarded(OLD))
    assert (bench.results, bench.why) == (
        [TrialResult.VOID],
        "its version cannot be served any more",
    )


def test_an_older_version_that_whatsapp_refuses_acquits_nobody() -> None:
    bench = broken("a")
    bench.load("a")
    bench.ill("a", evidence=Evidence.TOO_OLD)
    assert (bench.results, bench.why) == ([TrialResult.VOID], "WhatsApp refuses the older version")


# ---- the boundary ----


def test_the_blame_is_a_boundary() -> None:
    bench = rolled_back()
    bench.release(NEWER)
    assert bench.gets() == OLD
    assert bench.state.good.keys() == {OLD}


def test_the_lowest_version_that_both_were_ill_with_is_the_boundary() -> None:
    bench = VersionBench("a", "b", "c")
    bench.ill_with_new("a", evidence=MISSING)
    bench.release(NEWER, "b")
    crossed(bench)
    bench.ill("b", evidence=MISSING)
    crossed(bench)
    assert bench.announced(Kind.ROLLED_BACK).revision == NEW


def test_confirmations_of_different_breaks_do_not_add_up() -> None:
    bench = VersionBench("a", "b", "c", "d")
    bench.ill_with_new("a", evidence=MISSING)
    crossed(bench)
    bench.release(NEW, "c", "d")
    for name in ("c", "d"):
        bench.well(name)
    bench.prove()  # NEW works for the others
    assert NEW in bench.state.good
    bench.release(NEWER, "b")
    bench.ill("b", evidence=MISSING)
    crossed(bench)
    assert (bench.results, bench.state.hold) == ([TrialResult.CONFIRMED] * 2, None)


def test_who_is_ill_with_what_all_were_given_lowers_the_boundary() -> None:
    bench = VersionBench("a", "b", "c")
    bench.prove()
    bench.release(150, "a", "b", "c")
    for name in "abc":
        bench.well(name)
    bench.prove()
    bench.release(NEW, "a", "b")
    bench.ill("a", "b", evidence=MISSING)
    for _ in range(2):
        crossed(bench)
    assert (bench.gets(), bench.announced(Kind.ROLLED_BACK).revision) == (150, NEW)
    bench.load("c", 150, well=True)
    bench.ill("a", "c", evidence=MISSING)
    for _ in range(2):
        crossed(bench)
    assert (bench.gets(), bench.announced(Kind.ROLLED_BACK).revision) == (OLD, 150)


# ---- the wave ----


def test_after_a_rollback_so_many_are_loaded_at_a_time_as_start_at_a_time() -> None:
    names = [f"s{number}" for number in range(9)]
    bench = VersionBench(*names, rules=replace(RULES, places=2))
    bench.ill_with_new(*names, evidence=MISSING)
    crossed(bench)
    begun = len(bench.reloads)
    crossed(bench)
    moved = bench.reloads[begun:]
    assert len(moved) == 2
    for _ in range(5):
        for name, revision in bench.reloads[begun:]:
            begun += 1
            assert revision == OLD
            bench.load(name, well=True)
    assert {name for name, it in bench.state.members.items() if it.arm.revision == OLD} == {*names}


def test_the_ill_go_first_then_those_of_whom_nothing_is_known() -> None:
    bench = VersionBench("a", "b", "c", "d", "e", "f", rules=replace(RULES, places=1))
    bench.ill_with_new("a", "b", evidence=MISSING)
    bench.release(NEW, "c", "d", "e", "f")
    bench.post(Well("c"))  # silent
    bench.well("d")  # an ack: it works
    bench.ill("e", evidence=MISSING)
    for _ in range(2):
        crossed(bench)
    moved = []
    for _ in range(4):
        name = bench.reloads[-1][0]
        moved.append(name)
        bench.load(name, well=True)
    assert moved[:3] == ["e", "c", "f"]
    assert bench.state.members["d"].arm.revision == NEW


def test_a_deaf_session_is_well_again_when_an_event_came() -> None:
    bench = broken("a", evidence=Evidence.DEAF)
    bench.load("a")
    bench.post(Well("a"))
    bench.post(Acked("a"))
    assert bench.state.members["a"].well_at is None
    bench.post(Heard("a"))
    assert bench.state.members["a"].well_at == bench.now


def test_where_pages_are_deaf_an_ack_proves_nothing() -> None:
    bench = broken("a", "b", evidence=Evidence.DEAF)
    bench.release(NEW, "c")
    bench.post(Well("c"))
    bench.post(Acked("c"))
    confirm(bench)
    confirm(bench)
    assert ("c", OLD) in bench.reloads


def test_who_does_not_get_what_it_should_is_loaded_again_ever_later() -> None:
    bench = rolled_back()
    before = len(bench.reloads)
    bench.load("d", NEW)  # something lies between waguard and the page
    bench.ill("d")
    at = []
    for _ in range(4):
        bench.pass_time(RULES.pause_limit)
        at += [name for name, _ in bench.reloads[before:] if name == "d"]
        before = len(bench.reloads)
    assert 3 <= len(at) <= 8


def test_who_becomes_ill_later_is_loaded_again_then() -> None:
    bench = VersionBench("a", "b", "c")
    bench.ill_with_new("a", "b", evidence=MISSING)
    bench.release(NEW, "c")
    bench.well("c")
    for _ in range(2):
        crossed(bench)
    assert ("c", OLD) not in bench.reloads
    bench.ill("c")
    assert bench.reloads[-1] == ("c", OLD)


# ---- facts that come twice, late or out of turn ----


@pytest.mark.parametrize(
    "fact",
    [
        Ill("x", Evidence.DEAF),
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
        Ill("b", Evidence.UNACKED),
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
    bench.ill("c")
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
