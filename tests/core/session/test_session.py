"""One session: what its worker says, what it waits for, and what is done next."""

from collections.abc import Callable

import pytest

from tests.core.engine_bench import LOADING, EngineBench, Script, at_its_start
from tests.core.session.one_session import ROW, adopting, beat, ending, number, spawning, workers
from waguard.core.backoff import NEVER
from waguard.core.blame import Blame, Failure
from waguard.core.exits import EXIT_BROWSER_GONE
from waguard.core.host.admission import Cause, Reading, Wait
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import LEFT, Status
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import (
    Kill,
    ReleaseSlot,
    RequestSlot,
    ResponsivenessChanged,
    ShowCode,
    Spawn,
    Terminate,
)
from waguard.core.session.facts import (
    Adopted,
    Beat,
    Exited,
    Fact,
    HeldBack,
    Left,
    Moved,
    Reported,
    RulesChanged,
    SlotGranted,
    Spawned,
    SpawnFailed,
    StartRequested,
    Stopped,
    StopRequested,
    Unusable,
)
from waguard.core.session.state import Intent, Rules, Slot
from waguard.core.session.views import conditions
from waguard.core.session.worker import HUNG, NOT_READY

MB = 1 << 20
SHORT = Reading(memory=310 * MB)
NOT_MOUNTED = Reading(unreadable="it is not mounted")
REFUSED = Failure(Blame.HOST, "fork", "the fork was refused")


# ---- facts out of turn ----


def test_what_an_earlier_worker_said_last_is_dropped(bench: EngineBench) -> None:
    old = number(bench)
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    assert number(bench) == old + 1
    before = bench.state("s")
    bench.at += 1.0
    for late in (
        Beat(worker=old, at=bench.at, page_at=bench.at),
        Reported(worker=old, at=bench.at, phase="ready", link=Link.OFFLINE),
        Exited(worker=old, code=1),
        Spawned(worker=old),
        SpawnFailed(worker=old, failure=REFUSED),
        Stopped(worker=old),
        Unusable(worker=old, why="it does not listen"),
    ):
        bench.post("s", late)
    assert bench.state("s") is before


def test_a_worker_is_adopted_only_where_none_runs(bench: EngineBench) -> None:
    before = bench.state("s")
    bench.post("s", Adopted())
    assert bench.state("s") is before
    assert bench.records("s", "adopted") == []


def test_a_slot_that_is_not_wanted_any_more_is_given_back(bench: EngineBench) -> None:
    before = len(bench.effects("s", ReleaseSlot))
    bench.post("s", SlotGranted())
    assert len(bench.effects("s", ReleaseSlot)) == before + 1
    assert bench.state("s").slot is Slot.FREE


def test_a_process_that_is_there_twice_moves_no_deadline() -> None:
    bench = at_its_start()
    before = next_deadline(bench.state("s"))
    bench.at += 5.0
    bench.post("s", Spawned(worker=number(bench)))
    assert next_deadline(bench.state("s")) == before


# ---- unresponsive ----


def test_an_unresponsive_layer_is_shown_until_the_next_beat(bench: EngineBench) -> None:
    bench.at += bench.state("s").rules.limits.notice
    bench.tick()
    assert bench.effects("s", ResponsivenessChanged) == [
        ResponsivenessChanged("the worker does not answer")
    ]
    assert [it.reason for it in conditions(bench.state("s"))] == ["unresponsive"]
    beat(bench, page=False)
    assert bench.effects("s", ResponsivenessChanged)[1:] == [
        ResponsivenessChanged("the page does not answer")
    ]
    beat(bench)
    assert bench.effects("s", ResponsivenessChanged)[2:] == [ResponsivenessChanged(None)]
    assert conditions(bench.state("s")) == ()


def test_a_page_that_still_does_not_answer_is_no_news(bench: EngineBench) -> None:
    bench.at += bench.state("s").rules.limits.notice
    beat(bench, page=False)
    bench.tick()
    assert bench.effects("s", ResponsivenessChanged) == [
        ResponsivenessChanged("the page does not answer")
    ]
    before = bench.worker("s").unresponsive
    bench.at += 1.0
    beat(bench, page=False)
    assert bench.worker("s").unresponsive is before
    assert len(bench.effects("s", ResponsivenessChanged)) == 1


def test_an_older_answer_of_the_page_does_not_make_a_newer_one_undone(bench: EngineBench) -> None:
    bench.at += 1.0
    beat(bench)
    newest = bench.at
    bench.post("s", Beat(worker=number(bench), at=bench.at, page_at=newest - 1.0))
    assert bench.worker("s").page_at == newest


# ---- the configuration and the row ----


def test_a_reload_of_the_configuration_counts_for_what_is_under_way(bench: EngineBench) -> None:
    ending(bench)
    bench.report("s", phase="closing")
    bench.post("s", RulesChanged(Rules(stop_grace=100.0)))
    assert next_deadline(bench.state("s")) == bench.at + 100.0


def test_those_of_high_priority_and_the_active_ones_start_first() -> None:
    bench = EngineBench("a", "b", "c", "d", "e", rules=None)
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    bench.post("c", Moved(priority=0, active=5.0))
    bench.post("d", Moved(priority=0, active=9.0))
    bench.post("e", Moved(priority=1, active=0.0))
    bench.start("c", "d", "e")
    for name in ("a", "b", "e"):
        bench.report(name)
    assert bench.spawned == ["a", "b", "e", "d", "c"]


# ---- a profile that nobody can see ----


def test_a_profile_that_nobody_saw_is_checked_before_the_spawn_once() -> None:
    bench = EngineBench("s")
    bench.post("s", StartRequested(profile_unknown=True))
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    assert bench.effects("s", Spawn) == [Spawn(1, check_profile=True), Spawn(2)]


@pytest.mark.parametrize(
    ("host", "unknown", "checked"),
    [(NOT_MOUNTED, False, True), (SHORT, False, False), (SHORT, True, True)],
)
def test_whether_its_profile_is_there_may_be_unknown_only_since_it_waits(
    *, host: Reading, unknown: bool, checked: bool
) -> None:
    bench = EngineBench("s")
    bench.host = host
    bench.post("s", StartRequested(profile_unknown=unknown))
    assert bench.spawned == []
    bench.host = Reading()
    bench.pass_time(1)
    assert bench.effects("s", Spawn) == [Spawn(1, check_profile=checked)]


def test_who_asks_again_knows_by_now_whether_the_profile_is_there() -> None:
    bench = EngineBench("s")
    bench.host = SHORT
    bench.post("s", StartRequested(profile_unknown=True))
    bench.post("s", StopRequested())
    bench.host = Reading()
    bench.pass_time(1)
    bench.post("s", StartRequested())
    bench.pass_time(1)
    assert bench.effects("s", Spawn) == [Spawn(1)]


# ---- waiting ----


def test_a_wait_counts_since_its_cause_began() -> None:
    bench = EngineBench("s")
    bench.host = SHORT
    began = bench.at
    bench.start("s")
    bench.pass_time(10)
    assert [(it.reason, it.since) for it in conditions(bench.state("s"))] == [("memory", began)]
    bench.host = NOT_MOUNTED
    bench.pass_time(1)
    assert [(it.reason, it.since) for it in conditions(bench.state("s"))] == [
        ("sessions_folder", bench.at)
    ]


def test_one_that_has_a_slot_or_wants_none_is_not_held_back(bench: EngineBench) -> None:
    before = bench.state("s")
    bench.post("s", HeldBack(Wait(Cause.MEMORY, "memory is short")))
    assert bench.state("s") is before


def test_whoever_waits_after_a_restore_is_evaluated_again_when_somebody_asks() -> None:
    bench = EngineBench("a", "b", "s")
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    bench.start("s", asked=False)
    bench.start("s")
    assert [it.asked for it in bench.effects("s", RequestSlot)] == [False, True]
    bench.start("s")
    assert len(bench.effects("s", RequestSlot)) == 2, "and not each time"


def test_a_session_starts_when_its_pause_is_over_and_not_before(bench: EngineBench) -> None:
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    bench.exit("s", EXIT_BROWSER_GONE)
    at = next_deadline(bench.state("s"))
    assert at == bench.at + 0.5  # half of the second pause, by chance
    bench.at = at - 0.01
    bench.tick()
    assert workers(bench) == 2
    bench.at = at
    bench.tick()
    assert workers(bench) == 3


# ---- logged out or deleted ----


def test_one_that_was_logged_out_stays_so_whatever_its_worker_says(bench: EngineBench) -> None:
    bench.post("s", Left())
    assert bench.state("s").status == LEFT
    bench.report("s", Link.QR_PENDING, code="a code")
    assert bench.state("s").status == LEFT
    assert bench.effects("s", ShowCode) == []
    assert conditions(bench.state("s")) == ()
    bench.start("s")
    assert bench.state("s").status.status is Status.QR_SCANNING


def test_one_of_which_nothing_was_wanted_yet_can_be_logged_out() -> None:
    bench = EngineBench()
    bench.add("s", status=ROW)
    bench.post("s", Left())
    assert bench.state("s").status == LEFT


# ---- processes ----


def test_a_process_that_the_host_refuses_is_tried_again_and_costs_nothing() -> None:
    bench = spawning()
    bench.post("s", SpawnFailed(worker=1, failure=REFUSED))
    assert bench.state("s").counted == ()
    assert next_deadline(bench.state("s")) == bench.at + 10.0
    bench.pass_time(10)
    assert bench.effects("s", Spawn) == [Spawn(1), Spawn(2)]


def test_a_process_that_was_long_in_coming_has_its_whole_time_to_start() -> None:
    bench = spawning()
    assert next_deadline(bench.state("s")) == NEVER
    bench.at += 50.0
    bench.script = Script(reports=(LOADING,))
    bench.runs("s")
    assert next_deadline(bench.state("s")) == bench.at + bench.state("s").rules.limits.start
    assert conditions(bench.state("s"))[0].since == bench.at


@pytest.mark.parametrize("made", [at_its_start, adopting, None])
def test_a_worker_that_was_stopped_by_a_signal_is_killed_at_once(
    made: Callable[[], EngineBench] | None, bench: EngineBench
) -> None:
    bench = made() if made else bench
    bench.post("s", Stopped(worker=1))
    assert bench.effects("s", Kill) == [Kill(1)]
    assert [it.why.reason for it in bench.effects("s", Terminate) if it.why] == ["stopped"]
    assert len(bench.state("s").counted) == 1, "it is the session's own"
    bench.tick()
    assert workers(bench) == 2


@pytest.mark.parametrize(
    ("made", "cause"), [(at_its_start, NOT_READY), (adopting, NOT_READY), (None, HUNG)]
)
def test_a_worker_of_no_use_is_asked_to_end(
    made: Callable[[], EngineBench] | None, cause: str, bench: EngineBench
) -> None:
    bench = made() if made else bench
    bench.post("s", Unusable(worker=1, why="it does not listen"))
    why = Failure(Blame.SESSION, "worker_unusable", cause, "it does not listen")
    assert bench.effects("s", Terminate) == [Terminate(1, why)]
    assert bench.records("s", "restart") == ["it does not listen"], "why it was ended, not how"


@pytest.mark.parametrize("fact", [Stopped(worker=1), Unusable(worker=1, why="it does not listen")])
def test_one_that_is_not_there_yet_is_left_alone(fact: Fact) -> None:
    bench = spawning()
    before = bench.state("s")
    bench.post("s", fact)
    assert bench.state("s") is before


def test_one_that_does_not_listen_while_it_ends_is_left_alone(bench: EngineBench) -> None:
    before = ending(bench).state("s")
    bench.post("s", Unusable(worker=1, why="it does not listen"))
    assert bench.state("s") is before


def test_one_that_does_not_end_is_killed_again_and_again(bench: EngineBench) -> None:
    ending(bench)
    bench.report("s", phase="closing")
    bench.script = Script(obeys=False, dies=False)
    grace = bench.state("s").rules.stop_grace
    for count in range(1, 4):
        assert next_deadline(bench.state("s")) == bench.at + grace
        bench.at += grace
        bench.tick()
        assert bench.effects("s", Kill) == [Kill(1)] * count


# ---- adoption ----


def test_an_adopted_worker_is_wanted_up_and_the_row_keeps_its_word() -> None:
    bench = adopting()
    state = bench.state("s")
    assert (state.intent, state.status, number(bench)) == (Intent.UP, ROW, 1)
    assert bench.records("s", "adopted") == [None]
    bench.report("s")
    assert bench.state("s").status == ROW
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    assert number(bench) == 2


def test_one_of_another_version_is_replaced_as_planned_when_it_has_a_slot() -> None:
    bench = EngineBench("a", "b")
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    bench.add("s", status=ROW)
    bench.post("s", Adopted(outdated=True))
    assert number(bench) == 1
    assert bench.lifecycle("s") is State.STARTING
    bench.report("a")
    assert number(bench) == 2
    assert bench.records("s", "recycled") == ["its worker was of another version"]
    assert bench.state("s").counted == ()
