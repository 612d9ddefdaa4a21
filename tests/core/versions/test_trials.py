"""Which unhealthy session is tried with which version, and when."""

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
    Arm,
    Discarded,
    Evidence,
    Loaded,
)
from waguard.core.versions.state import Member

LIMIT = RULES.trial_limit


# ---- which trial comes first ----


def test_who_seldom_sends_is_waited_for() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.release(NEW, "a")
    bench.pass_time(500)
    bench.unhealthy("a")
    bench.pass_time(1499)
    assert bench.results == []
    bench.pass_time(1)
    assert bench.results == [TrialResult.VOID]


def test_a_long_trial_is_left_for_another_unhealthy_session() -> None:
    bench = VersionBench("a", "b", "c")
    bench.prove()
    bench.release(NEW, "a")
    bench.pass_time(500)
    bench.unhealthy("a")
    for _ in range(2):
        bench.release(NEW, "b")
        bench.unhealthy("b")
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
    bench.unhealthy("b", evidence=MISSING)
    assert bench.state.trial
    assert bench.state.trial.session == "b"
    bench.release(NEW, "c")
    bench.unhealthy("c", evidence=MISSING)
    assert bench.state.trial.session == "b"


def waiting(*names: str) -> VersionBench:
    """Each has NEW for five minutes longer than the next, and it worked. For an hour no trial begins."""
    bench = VersionBench("a", "b", "c")
    bench.prove()
    for name in names:
        bench.release(NEW, name)
        bench.well(name)
        bench.pass_time(300)
    bench.state = replace(bench.state, suspected=NEW, next_trial_at=bench.now + 3600)
    return bench


def tried(bench: VersionBench) -> str:
    """The first of them."""
    bench.pass_time(3600)
    assert bench.state.trial
    return bench.state.trial.session


def test_where_pages_were_open_when_it_broke_who_showed_it_first_comes_first() -> None:
    bench = waiting("a", "b")
    bench.unhealthy("a")
    bench.pass_time(200)
    bench.unhealthy("b")
    assert bench.state.members["b"].unhealthy_after < bench.state.members["a"].unhealthy_after
    assert tried(bench) == "a"


def test_where_pages_break_as_they_load_who_shows_it_soonest_comes_first() -> None:
    bench = waiting("a", "b")
    bench.unhealthy("a")
    bench.load("b")
    bench.unhealthy("b")
    bench.load("a")
    bench.pass_time(100)
    bench.unhealthy("a")
    bench.state = replace(bench.state, members=once_unhealthy(bench))
    assert tried(bench) == "b"


def once_unhealthy(bench: VersionBench) -> dict[str, Member]:
    return {name: replace(it, unhealthy_loads=1) for name, it in bench.state.members.items()}


def test_what_most_show_comes_before_what_one_shows_sooner() -> None:
    bench = waiting("a", "b", "c")
    bench.unhealthy("c")
    bench.pass_time(200)
    bench.unhealthy("a", "b", evidence=Evidence.SEND_THROWS)
    assert tried(bench) == "a"


def test_two_sessions_that_are_unhealthy_with_a_newer_version_come_first() -> None:
    bench = broken("a")
    bench.release(NEWER, "b", "c")
    for _ in range(2):
        bench.unhealthy("b")
        assert bench.state.trial
        assert bench.state.trial.session == "a"
        bench.load("b")
    bench.unhealthy("b", "c")
    assert bench.state.trial
    assert bench.state.trial.bad == Arm(NEWER, WAJS)


# ---- two sessions, one session ----


def test_two_sessions_confirm_each_other() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy_with_new("a", "b")
    confirm(bench)
    confirm(bench)
    assert bench.gets() == OLD


def test_a_fleet_of_one_needs_unhealthy_well_unhealthy() -> None:
    bench = VersionBench("a")
    bench.unhealthy_with_new("a", evidence=MISSING)
    crossed(bench)
    assert bench.results == []
    bench.load("a")
    bench.unhealthy("a", evidence=MISSING)
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
    bench.unhealthy("a", "b")
    assert (bench.reloads, bench.state.trial) == ([], None)


def test_who_was_unhealthy_before_the_version_is_not_tried_with_it() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.unhealthy("a")
    bench.release(NEW, "a")
    bench.unhealthy("a")
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
    bench.unhealthy("a", evidence=Evidence.TOO_OLD)
    assert (bench.results, bench.why) == ([TrialResult.VOID], "WhatsApp refuses the older version")
