"""What is held back is tried by canaries; what an operator asks for, too; mode guard tries each new version."""

import pytest

from tests.core.version_bench import (
    MISSING,
    NEW,
    NEWER,
    OLD,
    RULES,
    VersionBench,
    crossed,
    rolled_back,
)
from waguard.core.replace import replace
from waguard.core.versions.effects import Kind, TrialResult
from waguard.core.versions.facts import (
    Captured,
    Evidence,
    Pin,
    Refused,
    Try,
    Unpin,
    Unreachable,
    Well,
)
from waguard.core.versions.policy import decode, encode, refusal
from waguard.core.versions.state import TrialStage

AFTER, FOR, LIMIT = RULES.canary_after, RULES.canary_for, RULES.trial_limit
GUARD = replace(RULES, mode="guard")


def held() -> VersionBench:
    """All four were unhealthy with NEW, and have OLD now."""
    bench = rolled_back()
    for name in "abcd":
        bench.load(name, well=True)
    assert {it.arm.revision for it in bench.state.members.values()} == {OLD}
    return bench


def canary(bench: VersionBench) -> str:
    """Who is one."""
    trial = bench.state.trial
    assert trial
    assert trial.stage in {TrialStage.CANARY, TrialStage.ASKED}
    return trial.session


def passes(bench: VersionBench) -> str:
    name = canary(bench)
    bench.load(name, well=True)
    bench.pass_time(FOR)
    return name


def due(bench: VersionBench) -> float:
    """Seconds until the next canary; 0: one runs."""
    return 0.0 if bench.state.trial else bench.state.canary.at - bench.now


# ---- held back ----


def test_after_an_hour_one_session_that_was_unhealthy_tries_the_newest() -> None:
    bench = held()
    bench.pass_time(AFTER - 60)
    assert bench.state.trial is None
    bench.pass_time(60)
    name = canary(bench)
    assert bench.reloads[-1] == (name, None)
    assert (bench.gets(name), bench.gets()) == (None, OLD)


def test_an_unhealthy_canary_gets_back_what_all_have_and_the_next_one_waits_twice_as_long() -> None:
    bench = held()
    waits = []
    for _ in range(6):
        bench.pass_time(due(bench))
        name = canary(bench)
        bench.load(name)
        bench.unhealthy(name)
        assert bench.results[-1] is TrialResult.FAILED
        assert bench.reloads[-1] == (name, OLD)
        bench.load(name, well=True)
        waits.append(round(due(bench) / AFTER))
    assert waits == [2, 4, 8, 12, 12, 12]
    assert bench.gets() == OLD


def test_two_canaries_that_are_well_release_it_and_nobody_is_loaded_again() -> None:
    bench = held()
    bench.release(NEWER)
    bench.pass_time(due(bench))
    first = passes(bench)
    assert bench.kinds[-1] is Kind.ROLLED_BACK
    second = passes(bench)
    it = bench.announced(Kind.RELEASED)
    assert (it.revision, it.sessions, bench.gets()) == (NEWER, (first, second), None)
    assert first != second
    before = len(bench.reloads)
    bench.pass_time(10 * AFTER)
    assert len(bench.reloads) == before


def test_a_restart_during_a_canary_begins_no_other_at_once() -> None:
    """The next one waits as after a canary without a result."""
    bench = held()
    bench.pass_time(due(bench))
    first = canary(bench)
    bench.load(first)
    bench.state = decode(encode(bench.state), RULES, now=bench.now)
    for name in "abcd":
        bench.load(name, well=True)
    assert bench.state.trial is None
    assert due(bench) > AFTER - 60
    bench.pass_time(due(bench))
    assert canary(bench)


def test_an_offline_session_that_is_tried_gives_way_to_a_crossover() -> None:
    """Nothing would show whether it is healthy for 40 minutes, while others fail."""
    bench = VersionBench("a", "b", "c", "d")
    bench.prove()
    bench.release(NEW, "b", "c")
    bench.post(Try(session="a"))
    bench.load("a")
    bench.post(Unreachable("a"))
    bench.unhealthy("b", "c", evidence=MISSING)
    assert canary(bench) == "a"
    bench.pass_time(LIMIT)
    trial = bench.state.trial
    assert trial
    assert (trial.session in "bc", trial.stage) == (True, TrialStage.CROSSED)


def test_a_session_that_is_tried_and_shows_that_it_works_gives_way_to_nobody() -> None:
    bench = VersionBench("a", "b", "c", "d")
    bench.prove()
    bench.release(NEW, "b", "c")
    bench.post(Try(session="a"))
    bench.load("a", well=True)
    bench.unhealthy("b", "c", evidence=MISSING)
    bench.pass_time(LIMIT)
    assert canary(bench) == "a"


def test_a_silent_canary_proves_nothing() -> None:
    bench = held()
    bench.pass_time(due(bench))
    name = canary(bench)
    bench.load(name)
    bench.post(Well(name))
    bench.pass_time(FOR + LIMIT)
    assert (bench.results[-1], bench.state.canary.passed) == (TrialResult.VOID, ())
    bench.pass_time(due(bench))
    assert canary(bench) != name


def test_a_canary_that_is_unhealthy_after_it_passed_does_not_count() -> None:
    bench = held()
    bench.pass_time(due(bench))
    first = passes(bench)
    bench.unhealthy(first)
    second = passes(bench)
    assert (bench.state.hold is None, bench.state.canary.passed) == (False, (second,))


def test_only_who_was_unhealthy_can_show_that_it_is_over() -> None:
    bench = VersionBench("a", "b", "c", "d")
    bench.unhealthy_with_new("c", "d", evidence=MISSING)
    for _ in range(2):
        crossed(bench)
    for name in "cd":
        bench.load(name, well=True)
    for _ in range(3):
        bench.pass_time(due(bench))
        assert passes(bench) in "cd"
        if bench.state.hold is None:
            break
    assert bench.kinds[-1] is Kind.RELEASED


def test_a_fleet_of_one_is_its_own_second_canary() -> None:
    bench = VersionBench("a")
    bench.unhealthy_with_new("a", evidence=MISSING)
    crossed(bench)
    bench.load("a")
    bench.unhealthy("a", evidence=MISSING)
    bench.load("a", well=True)
    bench.release(NEWER)
    bench.pass_time(due(bench))
    passes(bench)
    passes(bench)
    assert bench.kinds[-1] is Kind.RELEASED


def test_where_nobody_is_well_there_is_no_canary() -> None:
    bench = held()
    bench.unhealthy(*"abcd", evidence=Evidence.UNACKED)
    bench.pass_time(due(bench))
    assert (bench.state.trial, due(bench)) == (None, RULES.pause)


def test_a_person_is_asked_after_14_days_and_again() -> None:
    bench = held()
    for _ in range(2):
        bench.pass_time(RULES.report_held_after)
    assert bench.kinds.count(Kind.HELD) == 2
    it = bench.announced(Kind.HELD)
    assert (it.person, it.revision, it.instead) == (True, NEW, OLD)


# ---- mode guard ----


def guarded() -> VersionBench:
    bench = VersionBench("a", "b", "c", rules=GUARD)
    bench.prove()
    assert bench.gets() == OLD
    return bench


def test_guard_gives_all_the_newest_proven_version() -> None:
    bench = guarded()
    bench.release(NEW)
    bench.post(Captured(NEW))
    bench.load("c")
    assert bench.state.members["c"].arm.revision == OLD


def test_guard_gives_a_new_version_to_all_after_two_canaries() -> None:
    bench = guarded()
    bench.release(NEW)
    bench.pass_time(max(0, due(bench)))
    passes(bench)
    assert bench.gets() == OLD
    passes(bench)
    assert (bench.kinds, bench.gets()) == ([Kind.RELEASED], NEW)


def test_guard_keeps_all_from_a_version_that_makes_its_canary_unhealthy() -> None:
    bench = guarded()
    bench.release(NEW)
    bench.pass_time(max(0, due(bench)))
    name = canary(bench)
    bench.load(name)
    bench.unhealthy(name)
    assert (bench.reloads[-1], bench.gets()) == ((name, OLD), OLD)
    assert due(bench) == 2 * AFTER


def test_guard_asks_ever_more_rarely_where_there_is_nothing_new() -> None:
    bench = guarded()
    bench.pass_time(max(0, due(bench)))
    passes(bench)
    assert (bench.kinds, due(bench)) == ([], 2 * AFTER)


def test_guard_serves_the_newest_as_long_as_nothing_is_proven() -> None:
    bench = VersionBench("a", "b", rules=GUARD)
    assert (bench.gets(), bench.state.trial) == (None, None)


# ---- operators ----


def test_a_pinned_version_is_what_all_get_and_the_unhealthy_are_loaded_with_it() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.release(NEW, "a")
    bench.post(Pin(OLD))
    assert (bench.gets(), bench.reloads) == (OLD, [])
    bench.unhealthy("a")
    assert (bench.reloads, bench.state.trial) == ([("a", OLD)], None)
    bench.post(Unpin())
    assert bench.gets() is None


def test_what_is_not_stored_cannot_be_pinned() -> None:
    bench = VersionBench("a")
    assert refusal(bench.state, Pin(NEW)) == "its document is not stored here"
    bench.post(Pin(NEW))
    assert bench.gets() is None


def test_while_an_operator_pins_a_version_there_are_no_trials() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy_with_new("a")
    bench.post(Pin(NEW))
    assert (bench.state.trial, bench.gets("a")) == (None, NEW)
    bench.pass_time(10 * AFTER)
    assert bench.state.trial is None


def test_a_pin_ends_also_what_waits_for_the_trial_that_runs() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy_with_new("a")
    bench.post(Try(session="b"))
    bench.post(Pin(OLD))
    assert (bench.state.trial, bench.gets("b")) == (None, OLD)


def test_an_operator_can_have_one_session_try_a_version() -> None:
    bench = held()
    bench.post(Try(session="c"))
    assert bench.gets("c") is None
    bench.load("c")
    bench.unhealthy("c")
    assert bench.results[-1] is TrialResult.FAILED
    assert bench.reloads[-1] == ("c", OLD)


def test_what_is_asked_for_waits_for_the_trial_that_runs() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy_with_new("a")
    bench.post(Try(revision=OLD, session="c"))
    assert bench.reloads == [("a", OLD)]
    bench.pass_time(LIMIT)
    assert bench.reloads[-1] == ("c", OLD)


def test_a_try_without_a_session_takes_one_that_is_well() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy("a")
    bench.post(Try(revision=OLD))
    assert bench.reloads == [("b", OLD)]


def test_a_failed_try_of_an_old_version_blames_nothing() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.release(NEW, "a", "b")
    bench.well("a")
    bench.post(Try(revision=OLD, session="a"))
    bench.load("a")
    bench.unhealthy("a")
    assert (bench.results, bench.reloads[-1]) == ([TrialResult.FAILED], ("a", None))
    assert bench.state.trial is None


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Try(revision=NEW), "its document is not stored here"),
        (Try(session="x"), "the session has no page"),
        (Try(wajs="x"), "there is no such bundle"),
        (Try(revision=OLD, wajs="a" * 64), "both at once"),
        (Pin(1), "refuses it as too old"),
    ],
)
def test_what_cannot_be_done_says_why(wish: Try | Pin, why: str) -> None:
    bench = VersionBench("a")
    bench.post(Captured(1))
    bench.post(Refused(1))
    assert why in str(refusal(bench.state, wish))
    before = bench.state
    bench.post(wish)
    assert bench.state == before


def test_off_tries_nothing_for_anybody() -> None:
    bench = VersionBench("a", rules=replace(RULES, mode="off"))
    assert refusal(bench.state, Try()) == "versions.mode is off"
