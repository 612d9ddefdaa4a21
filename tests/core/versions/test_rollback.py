"""From which version on all get an older one, and who is loaded again for it."""

import pytest

from tests.core.version_bench import (
    MISSING,
    NEW,
    NEWER,
    OLD,
    RULES,
    VersionBench,
    broken,
    confirm,
    crossed,
    rolled_back,
)
from waguard.core.replace import replace
from waguard.core.versions.effects import Kind, TrialResult
from waguard.core.versions.facts import (
    Acked,
    Evidence,
    Heard,
    Well,
)

# ---- the boundary ----


def test_the_blame_is_a_boundary() -> None:
    bench = rolled_back()
    bench.release(NEWER)
    assert bench.gets() == OLD
    assert bench.state.good.keys() == {OLD}


def test_the_lowest_version_that_both_were_unhealthy_with_is_the_boundary() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy_with_new("a", evidence=MISSING)
    bench.release(NEWER, "b")
    crossed(bench)
    bench.unhealthy("b", evidence=MISSING)
    crossed(bench)
    assert bench.announced(Kind.ROLLED_BACK).revision == NEW


def test_confirmations_of_different_breaks_do_not_add_up() -> None:
    bench = VersionBench("a", "b", "c", "d")
    bench.unhealthy_with_new("a", evidence=MISSING)
    crossed(bench)
    bench.release(NEW, "c", "d")
    for name in ("c", "d"):
        bench.well(name)
    bench.prove()  # NEW works for the others
    assert NEW in bench.state.good
    bench.release(NEWER, "b")
    bench.unhealthy("b", evidence=MISSING)
    crossed(bench)
    assert (bench.results, bench.state.hold) == ([TrialResult.CONFIRMED] * 2, None)


def test_who_is_unhealthy_with_what_all_were_given_lowers_the_boundary() -> None:
    bench = VersionBench("a", "b", "c")
    bench.prove()
    bench.release(150, "a", "b", "c")
    for name in "abc":
        bench.well(name)
    bench.prove()
    bench.release(NEW, "a", "b")
    bench.unhealthy("a", "b", evidence=MISSING)
    for _ in range(2):
        crossed(bench)
    assert (bench.gets(), bench.announced(Kind.ROLLED_BACK).revision) == (150, NEW)
    bench.load("c", 150, well=True)
    bench.unhealthy("a", "c", evidence=MISSING)
    for _ in range(2):
        crossed(bench)
    assert (bench.gets(), bench.announced(Kind.ROLLED_BACK).revision) == (OLD, 150)


# ---- the wave ----


def test_after_a_rollback_so_many_are_loaded_at_a_time_as_start_at_a_time() -> None:
    names = [f"s{number}" for number in range(9)]
    bench = VersionBench(*names, rules=replace(RULES, places=2))
    bench.unhealthy_with_new(*names, evidence=MISSING)
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


def test_the_unhealthy_go_first_then_those_of_whom_nothing_is_known() -> None:
    bench = VersionBench("a", "b", "c", "d", "e", "f", rules=replace(RULES, places=1))
    bench.unhealthy_with_new("a", "b", evidence=MISSING)
    bench.release(NEW, "c", "d", "e", "f")
    bench.post(Well("c"))  # silent
    bench.well("d")  # an ack: it works
    bench.unhealthy("e", evidence=MISSING)
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


def test_who_did_its_work_with_what_is_held_stays_over_a_restart_of_the_daemon() -> None:
    bench = rolled_back()
    for name in "bc":
        bench.load(name, well=True)
        bench.load(name, NEW, well=True)
    before = len(bench.reloads)
    for _ in range(2):  # the second restart comes before b has shown anything to the first daemon
        bench.restart()
        bench.adopt("c", NEW)
    bench.adopt("b", NEW)
    bench.pass_time(60)
    assert bench.reloads[before:] == []
    bench.adopt("d", NEW)  # nothing is known of it
    assert bench.reloads[before:] == [("d", OLD)]


def test_where_pages_are_deaf_an_ack_before_a_restart_of_the_daemon_proves_nothing() -> None:
    bench = broken("a", "b", evidence=Evidence.DEAF)
    confirm(bench)
    confirm(bench)
    for name in "cd":
        bench.load(name)
        bench.load(name, NEW)
    bench.post(Acked("c"))
    for fact in (Acked("d"), Heard("d")):
        bench.post(fact)
    before = len(bench.reloads)
    bench.restart()
    for name in "cd":
        bench.adopt(name, NEW)
    assert bench.reloads[before:] == [("c", OLD)]


@pytest.mark.parametrize("again", [False, True])
def test_a_page_that_was_loaded_after_a_restart_has_shown_nothing(*, again: bool) -> None:
    bench = rolled_back()
    bench.load("c", well=True)
    bench.load("c", NEW, well=True)
    before = len(bench.reloads)
    bench.restart()
    if again:
        bench.adopt("c", NEW)
        assert bench.reloads[before:] == []
    bench.load("c", NEW)
    assert bench.reloads[before:] == [("c", OLD)]


def test_who_does_not_get_what_it_should_is_loaded_again_ever_later() -> None:
    bench = rolled_back()
    before = len(bench.reloads)
    bench.load("d", NEW)  # something lies between waguard and the page
    bench.unhealthy("d")
    at = []
    for _ in range(4):
        bench.pass_time(RULES.pause_limit)
        at += [name for name, _ in bench.reloads[before:] if name == "d"]
        before = len(bench.reloads)
    assert 3 <= len(at) <= 8


def test_who_becomes_unhealthy_later_is_loaded_again_then() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy_with_new("a", "b", evidence=MISSING)
    bench.release(NEW, "c")
    bench.well("c")
    for _ in range(2):
        crossed(bench)
    assert ("c", OLD) not in bench.reloads
    bench.unhealthy("c")
    assert bench.reloads[-1] == ("c", OLD)
