"""One session: what people ask for while it runs, ends, or is parked."""

import pytest

from tests.core.engine_bench import LOADING, EngineBench, Script, at_its_start
from tests.core.session.one_session import ROW, ending, number, spawning, spend, workers
from waguard.core.backoff import NEVER
from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_BROWSER_NOT_STARTED, EXIT_EXPORTS_MISSING
from waguard.core.host.admission import Reading as HostReading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import REQUESTED, STOPPED, DerivedStatus, ParkCause, Reason, Status
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import RequestSlot, TakeOver, Terminate
from waguard.core.session.facts import (
    Fact,
    Moment,
    ParkRequested,
    RestartRequested,
    RulesChanged,
    StartRequested,
    StopRequested,
    Unusable,
)
from waguard.core.session.restart import Retries
from waguard.core.session.session import advance
from waguard.core.session.state import Rules
from waguard.core.session.views import conditions, details, parked_for

# ---- somebody asks for a start ----


def test_who_starts_it_renews_its_restarts(bench: EngineBench) -> None:
    spend(bench)
    bench.script = Script(reports=(LOADING,))
    bench.start("s")
    state = bench.state("s")
    assert (state.counted, state.retries, parked_for(state), state.failure) == (
        (),
        Retries(),
        None,
        None,
    )
    assert [(it.reason, it.since) for it in conditions(state)] == [("starting", bench.at)]


@pytest.mark.parametrize(("asked", "pause"), [(True, 300.0), (False, 600.0)])
def test_who_starts_one_that_was_tried_in_vain_renews_its_pauses_and_a_restore_does_not(
    *, asked: bool, pause: float, bench: EngineBench
) -> None:
    bench.chance = 0.0
    spend(bench)
    bench.at = next_deadline(bench.state("s"))
    bench.tick()
    bench.start("s", asked=asked)
    while parked_for(bench.state("s")) is None:
        bench.pass_time(1)
    assert round(bench.state("s").not_before - bench.at) == pause


def test_until_its_start_is_answered_it_starts_since_it_was_asked_for(bench: EngineBench) -> None:
    bench.post("s", StopRequested())
    asked = advance(bench.state("s"), StartRequested(), Moment(at=5_000.0)).state
    assert [(it.reason, it.since) for it in conditions(asked)] == [("starting", 5_000.0)]


def test_a_restore_renews_nothing(bench: EngineBench) -> None:
    for _ in range(2):
        bench.exit("s", EXIT_BROWSER_GONE)
        bench.pass_time(1)
    before = bench.state("s").counted
    bench.post("s", StopRequested(daemon_stopping=True))
    bench.start("s", asked=False)
    assert bench.state("s").counted == before != ()


def test_a_try_that_is_ended_for_a_move_that_fails_renews_no_restart(bench: EngineBench) -> None:
    spend(bench)
    bench.script = Script(reports=(LOADING,))
    bench.pass_time(next_deadline(bench.state("s")) - bench.at)
    assert bench.state("s").retries.running
    bench.post("s", StopRequested(daemon_stopping=True, moves=True))
    assert bench.lifecycle("s") is State.STOPPED
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    bench.at += 3600.0  # no restart counts any more
    before = workers(bench)
    bench.start("s", asked=False)
    while parked_for(bench.state("s")) is None:
        bench.pass_time(1)
    assert workers(bench) == before + 1


def test_a_start_of_one_that_is_up_changes_nothing_but_who_asked(bench: EngineBench) -> None:
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    before = bench.state("s").counted
    bench.start("s")
    assert bench.state("s").counted == before != ()
    assert workers(bench) == 2
    assert bench.lifecycle("s") is State.RUNNING


def test_a_start_renews_the_takeovers(bench: EngineBench) -> None:
    bench.post("s", RulesChanged(Rules(takeover=True)))
    bench.report("s", Link.CONFLICT)
    bench.pass_time(30)
    assert parked_for(bench.state("s")) is ParkCause.CONFLICT
    assert len(bench.effects("s", TakeOver)) == 3
    bench.start("s")
    bench.report("s", Link.CONFLICT)
    assert len(bench.effects("s", TakeOver)) == 4


def test_who_starts_it_forgets_how_often_whatsapp_failed(bench: EngineBench) -> None:
    bench.script = Script(exits=EXIT_EXPORTS_MISSING)
    bench.exit("s", EXIT_EXPORTS_MISSING)
    first = next_deadline(bench.state("s")) - bench.at
    bench.pass_time(first)
    assert bench.state("s").spared == 2
    bench.post("s", StopRequested())
    bench.start("s")
    assert next_deadline(bench.state("s")) - bench.at == first


def test_where_no_credentials_are_a_code_is_what_comes_next() -> None:
    bench = EngineBench("s")
    bench.script = Script(reports=(LOADING,))
    bench.post("s", StartRequested(expects_qr=True))
    assert bench.state("s").status == DerivedStatus(Status.QR_SCANNING)
    bench.post("s", StopRequested())
    bench.start("s")
    assert bench.state("s").status == DerivedStatus(Status.QR_SCANNING), "that is known since"
    bench.report("s")
    bench.post("s", StopRequested())
    bench.start("s")
    assert bench.state("s").status.status is Status.DISCONNECTED, "it was paired meanwhile"


@pytest.mark.parametrize(("asked", "words"), [(True, REQUESTED), (False, STOPPED)])
def test_who_was_stopped_by_the_daemon_starts_again_without_an_error(
    *, asked: bool, words: str, bench: EngineBench
) -> None:
    bench.post("s", StopRequested(daemon_stopping=True))
    assert bench.state("s").status.reason is Reason.INSTANCE_RESTART
    bench.script = Script(reports=(LOADING,))
    bench.start("s", asked=asked)
    assert bench.state("s").status == DerivedStatus(
        Status.DISCONNECTED, Reason.INSTANCE_RESTART, words
    )
    assert conditions(bench.state("s"))[0].message == f"the worker is starting: {words}"
    bench.exit("s", EXIT_BROWSER_GONE)
    assert bench.state("s").status.reason is Reason.ERROR


def test_who_was_stopped_by_a_person_starts_without_an_error(bench: EngineBench) -> None:
    bench.post("s", StopRequested())
    assert bench.state("s").status.reason is Reason.USER_INITIATED
    bench.script = Script(reports=(LOADING,))
    bench.start("s")
    assert bench.state("s").status == DerivedStatus(
        Status.DISCONNECTED, Reason.INSTANCE_RESTART, REQUESTED
    )


def test_who_waits_for_its_start_after_an_orderly_stop_has_no_error(bench: EngineBench) -> None:
    bench.post("s", StopRequested(daemon_stopping=True))
    bench.host = HostReading(executable="no such file")
    bench.at += 60.0  # it was read as there was a worker
    bench.start("s", asked=False)
    state = bench.state("s")
    assert state.held_back
    assert state.status.reason is Reason.INSTANCE_RESTART
    assert state.status.details == state.held_back.words


# ---- a start or a restart while it ends ----


def test_one_that_is_stopped_is_not_started_by_a_restart(bench: EngineBench) -> None:
    """What its last worker reports, or what it uses, may be known after the stop was asked for."""
    ending(bench)
    bench.post("s", RestartRequested(why="the memory it uses"))
    assert bench.lifecycle("s") is State.STOPPING
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.post("s", RestartRequested(why="the memory it uses"))
    assert bench.lifecycle("s") is State.STOPPED
    assert workers(bench) == 1


def test_one_that_is_wanted_again_while_it_stops_starts_at_once(bench: EngineBench) -> None:
    ending(bench)
    bench.start("s")
    assert bench.lifecycle("s") is State.RECYCLING
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    assert workers(bench) == 2
    assert bench.state("s").counted == ()
    assert bench.records("s", "restart") == []


@pytest.mark.parametrize(("restart", "counted"), [(True, 0), (False, 1)])
def test_a_restart_that_somebody_asks_for_while_it_ends_is_no_crash(
    *, restart: bool, counted: int, bench: EngineBench
) -> None:
    ending(bench, Unusable(worker=1, why="it does not listen"))
    bench.post("s", StartRequested(restart=restart))
    bench.exit("s", 0)
    assert len(bench.state("s").counted) == counted


def test_a_restart_replaces_a_living_worker_and_is_no_crash(bench: EngineBench) -> None:
    bench.post("s", StartRequested(restart=True))
    assert bench.effects("s", Terminate) == [Terminate(1, None)]
    assert number(bench) == 2
    assert bench.records("s", "restart") == bench.records("s", "recycled") == []


@pytest.mark.parametrize("ask", [StartRequested(restart=True), RestartRequested(why="memory")])
def test_one_that_has_no_process_yet_need_not_be_replaced(ask: Fact) -> None:
    bench = spawning()
    bench.post("s", ask)
    bench.script = Script()
    bench.runs("s")
    assert workers(bench) == 1
    assert bench.lifecycle("s") is State.RUNNING


def test_one_that_is_being_replaced_serves_until_it_has_a_slot(bench: EngineBench) -> None:
    bench.script = Script(reports=(LOADING,))
    for name in ("a", "b"):
        bench.add(name)
    bench.start("a", "b")
    bench.at += 1.0
    bench.post("s", RestartRequested(why="the memory it uses"))
    request = bench.effects("s", RequestSlot)[-1]
    assert (request.asked, request.ended_at) == (True, bench.at)
    assert bench.lifecycle("s") is State.RUNNING
    assert bench.effects("s", Terminate) == []
    bench.report("a")
    assert bench.records("s", "recycled") == ["the memory it uses"]
    assert number(bench) == 2


def test_one_that_is_parked_is_started_by_a_restart(bench: EngineBench) -> None:
    bench.post("s", ParkRequested(cause=ParkCause.PROFILE_MISSING, details="there is none"))
    assert bench.lifecycle("s") is State.PARKED
    bench.post("s", RestartRequested(why="somebody wants it"))
    assert bench.lifecycle("s") is State.RUNNING


@pytest.mark.parametrize("is_parked", [True, False])
def test_a_restart_by_waguard_of_one_that_is_down_is_no_persons_and_renews_nothing(
    *, is_parked: bool, bench: EngineBench
) -> None:
    bench.chance = 0.9
    spend(bench)
    if is_parked:
        bench.at = next_deadline(bench.state("s"))
        bench.tick()
        assert bench.state("s").retries.tries == 1
    else:
        bench.start("s")
        while len(bench.state("s").counted) < 3:
            bench.pass_time(1)
        assert bench.lifecycle("s") is State.BACKOFF
    before, asked = bench.state("s"), bench.records("s", "start_requested")
    bench.script = Script(reports=(LOADING,))
    bench.post("s", RestartRequested(why="a trial", urgent=True))
    after = bench.state("s")
    assert bench.lifecycle("s") is State.STARTING
    assert (after.counted, after.retries.tries) == (before.counted, before.retries.tries)
    assert (after.status.details, bench.records("s", "start_requested")) == ("a trial", asked)
    assert bench.records("s", "retried")[-1] == "a trial"


def test_a_restart_by_waguard_while_it_ends_does_not_make_a_persons_start_its_own(
    bench: EngineBench,
) -> None:
    ending(bench)
    bench.start("s")
    bench.post("s", RestartRequested(why="a trial", urgent=True))
    assert bench.state("s").asked
    assert bench.records("s", "retried") == []


# ---- a stop ----


def test_a_stop_ends_it_and_leaves_no_complaint(bench: EngineBench) -> None:
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.post("s", StopRequested())
    state = bench.state("s")
    assert state.status == DerivedStatus(Status.DISCONNECTED, Reason.USER_INITIATED, None)
    assert (details(state), conditions(state), next_deadline(state)) == (None, (), NEVER)


def test_a_stop_of_one_of_which_nothing_was_wanted_corrects_its_row() -> None:
    bench = EngineBench()
    bench.add("s", status=ROW)
    bench.post("s", StopRequested())
    assert bench.state("s").status == DerivedStatus(
        Status.DISCONNECTED, Reason.USER_INITIATED, None
    )


@pytest.mark.parametrize("how", ["parked", "spent"])
def test_a_stop_of_one_that_is_parked_leaves_it_down(how: str, bench: EngineBench) -> None:
    if how == "spent":
        spend(bench)
    else:
        bench.post("s", ParkRequested(cause=ParkCause.BLOCKED, details="it is blocked"))
    bench.post("s", StopRequested())
    state = bench.state("s")
    assert (bench.lifecycle("s"), parked_for(state), details(state)) == (State.STOPPED, None, None)
    bench.pass_time(10_000, step=100)
    assert bench.lifecycle("s") is State.STOPPED


def test_one_that_spent_its_restarts_stays_parked_when_the_daemon_stops(bench: EngineBench) -> None:
    spend(bench)
    before = bench.state("s")
    bench.post("s", StopRequested(daemon_stopping=True))
    state = bench.state("s")
    assert (bench.lifecycle("s"), parked_for(state)) == (State.PARKED, ParkCause.RESTART_BUDGET)
    assert state.status == before.status
    assert next_deadline(state) == NEVER


def test_a_stop_of_the_daemon_keeps_how_often_it_was_tried(bench: EngineBench) -> None:
    spend(bench)
    bench.script = Script()
    bench.at = next_deadline(bench.state("s"))
    bench.tick()
    assert bench.lifecycle("s") is State.RUNNING
    assert bench.state("s").retries.tries == 1
    bench.post("s", StopRequested(daemon_stopping=True))
    assert bench.state("s").retries.tries == 1, "the next daemon goes on from there"
    bench.start("s", asked=False)
    bench.post("s", StopRequested())
    assert bench.state("s").retries.tries == 0, "who stops it by hand renews them"


def test_a_stop_renews_the_pauses_of_one_that_spent_its_restarts(bench: EngineBench) -> None:
    bench.chance = 0.0
    spend(bench)
    bench.at = next_deadline(bench.state("s"))
    bench.tick()
    assert next_deadline(bench.state("s")) - bench.at == 600.0
    bench.post("s", StopRequested())
    bench.script = Script()
    bench.start("s", asked=False)
    spend(bench)
    assert next_deadline(bench.state("s")) - bench.at == 300.0


@pytest.mark.parametrize(
    "fact", [StopRequested(), ParkRequested(cause=ParkCause.CONFLICT, details="a test")]
)
def test_one_that_waits_to_be_replaced_and_is_ended_asks_for_no_slot_any_more(
    fact: Fact, bench: EngineBench
) -> None:
    for name in ("a", "b"):
        bench.add(name)
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    bench.post("s", RestartRequested(why="the memory it uses"))
    assert "s" in bench.fleet.waiting
    ending(bench, fact)
    assert "s" not in bench.fleet.waiting


def test_one_that_is_parked_after_it_spent_its_restarts_keeps_that_reason(
    bench: EngineBench,
) -> None:
    spend(bench)
    bench.post("s", ParkRequested(cause=ParkCause.PROFILE_MISSING, details="there is none"))
    bench.post("s", StopRequested(daemon_stopping=True))
    assert parked_for(bench.state("s")) is ParkCause.PROFILE_MISSING


@pytest.mark.parametrize("how", ["parked", "stopped"])
def test_what_is_down_keeps_its_reason_when_the_daemon_stops(how: str, bench: EngineBench) -> None:
    parked = ParkRequested(cause=ParkCause.BLOCKED, details="it is blocked")
    bench.post("s", parked if how == "parked" else StopRequested())
    before = bench.state("s")
    bench.post("s", StopRequested(daemon_stopping=True))
    assert bench.state("s") is before


def test_what_is_just_being_stopped_is_stopped_by_the_daemon_from_then_on(
    bench: EngineBench,
) -> None:
    ending(bench)
    bench.post("s", StopRequested(daemon_stopping=True))
    assert bench.state("s").status.reason is Reason.INSTANCE_RESTART


def test_the_reason_of_a_failure_is_kept_when_the_daemon_stops(bench: EngineBench) -> None:
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    bench.exit("s", EXIT_BROWSER_GONE)
    failure = bench.state("s").failure
    bench.post("s", StopRequested(daemon_stopping=True))
    assert bench.state("s").failure == failure is not None


def test_one_that_has_no_process_yet_is_stopped_when_it_is_there() -> None:
    bench = spawning()
    bench.post("s", StopRequested())
    assert bench.lifecycle("s") is State.STOPPING
    assert bench.effects("s", Terminate) == []
    bench.runs("s")
    assert bench.effects("s", Terminate) == [Terminate(1, None)]
    assert bench.lifecycle("s") is State.STOPPED


# ---- it spent its restarts ----


def test_each_try_in_vain_doubles_the_pause(bench: EngineBench) -> None:
    bench.chance = 0.0
    spend(bench)
    pauses = []
    for _ in range(3):
        pauses.append(next_deadline(bench.state("s")) - bench.at)
        bench.at = next_deadline(bench.state("s"))
        bench.tick()
    assert pauses == [300.0, 600.0, 1_200.0]
    assert len(bench.records("s", "retried")) == 3


def test_what_failed_while_the_breaker_was_open_counts_once_when_it_restarts() -> None:
    names = ("a", "b", "c", "s")
    bench = EngineBench(*names)
    bench.start(*names)
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    for name in names:
        bench.exit(name, EXIT_BROWSER_NOT_STARTED)
    bench.pass_time(1)
    assert bench.fleet.breaker.opening
    before = bench.state("s").restarts
    assert bench.records("s", "restart") == []
    bench.script = Script()
    bench.pass_time(120)
    assert bench.lifecycle("s") is State.RUNNING
    assert bench.state("s").restarts == before + 1
    bench.post("s", StartRequested(restart=True))
    assert workers(bench) == 3
    assert bench.state("s").restarts == before + 1, "a planned one is none"


def test_a_start_that_somebody_asks_for_while_the_breaker_is_open_is_no_restart() -> None:
    names = ("a", "b", "c", "s")
    bench = EngineBench(*names)
    bench.start(*names)
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    for name in names:
        bench.exit(name, EXIT_BROWSER_NOT_STARTED)
    bench.script = Script()
    bench.start("s")
    assert bench.lifecycle("s") is State.RUNNING
    assert (bench.state("s").restarts, bench.records("s", "restart")) == (0, [])


# ---- what a link means ----


def test_a_page_that_still_loads_says_nothing_of_other_clients() -> None:
    bench = at_its_start()
    bench.report("s", Link.CONFLICT, phase="loading")
    assert bench.lifecycle("s") is State.STARTING


def test_codes_that_nobody_scanned_park_it(bench: EngineBench) -> None:
    bench.report("s", Link.QR_PENDING, code="the last")
    assert bench.lifecycle("s") is State.RUNNING
    bench.report("s", Link.QR_PENDING, codes_ended=True)
    assert parked_for(bench.state("s")) is ParkCause.QR_EXPIRED
    assert bench.state("s").status.reason is Reason.QR_EXPIRED


def test_whoever_was_connected_for_long_has_all_its_restarts_again(bench: EngineBench) -> None:
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    bench.pass_time(299)
    assert len(bench.state("s").counted) == 1
    bench.pass_time(1)
    assert bench.state("s").counted == ()


@pytest.mark.parametrize(("seconds", "said"), [(2.0, []), (6.0, ["no such file"])])
def test_a_start_that_waited_long_says_for_what(seconds: float, said: list[str]) -> None:
    bench = EngineBench("s")
    bench.host = HostReading(executable="no such file")
    bench.start("s", asked=False)
    bench.pass_time(seconds)
    bench.host = HostReading()
    bench.pass_time(1)
    assert bench.lifecycle("s") is State.RUNNING
    assert bench.records("s", "start_waited") == said


def test_who_starts_what_is_not_connected_is_recorded(bench: EngineBench) -> None:
    first = bench.records("s", "start_requested")
    assert first == [REQUESTED]
    bench.post("s", StartRequested(restart=True))
    assert bench.records("s", "start_requested") == first, "it was connected"
    spend(bench)
    bench.start("s")
    assert bench.records("s", "start_requested") == [*first, REQUESTED]
    bench.post("s", StopRequested())
    bench.start("s", asked=False)
    assert len(bench.records("s", "start_requested")) == 2, "a restore is nobody's request"
