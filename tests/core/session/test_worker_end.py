"""A worker that is parked, that ends, and what its end costs."""

import datetime as dt

import pytest

from tests.core.engine_bench import LOADING, WALL, EngineBench, Script, at_its_start
from tests.core.session.one_session import adopting, ended_for, spend
from waguard.core.blame import Blame, Failure
from waguard.core.exits import (
    EXIT_BROWSER_GONE,
    EXIT_BROWSER_NOT_STARTED,
    EXIT_BROWSER_UNUSABLE,
    EXIT_EXPORTS_MISSING,
    EXIT_PROFILE_HELD,
)
from waguard.core.host.admission import Cause, Reading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import DerivedStatus, ParkCause, Reason, Status
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import (
    Record,
    Recycled,
    ReleaseSlot,
    RequestSlot,
    ResponsivenessChanged,
    Spawn,
    TakeOver,
    WorkerFailed,
)
from waguard.core.session.facts import (
    Adopted,
    Exited,
    Left,
    ParkRequested,
    RestartRequested,
    RulesChanged,
    StopRequested,
    Unusable,
)
from waguard.core.session.page_load import FIRST_PAUSE
from waguard.core.session.restart import RestartPolicy
from waguard.core.session.state import Intent, Rules, Slot
from waguard.core.session.views import conditions, parked_for

LIMITS = Rules().limits
ELSEWHERE = "WhatsApp Web is open elsewhere with this device"


# ---- another client ----


def test_a_session_that_is_open_elsewhere_is_parked(bench: EngineBench) -> None:
    bench.report("s", Link.CONFLICT)
    assert parked_for(bench.state("s")) is ParkCause.CONFLICT
    failure = Failure(Blame.OPERATOR, "conflict", "conflict", ELSEWHERE)
    assert bench.state("s").failure == failure


def test_a_session_is_taken_back_three_times_in_ten_minutes(bench: EngineBench) -> None:
    bench.post("s", RulesChanged(Rules(takeover=True)))
    began = bench.at
    bench.report("s", Link.CONFLICT)
    bench.report("s", Link.CONFLICT)
    assert bench.effects("s", TakeOver) == [TakeOver(1)], "the page has 5 s"
    bench.pass_time(10)
    assert bench.state("s").takeovers == (began, began + 5, began + 10)
    bench.pass_time(5)
    assert bench.records("s", "taken_over") == [ELSEWHERE] * 3
    assert bench.state("s").failure == Failure(
        Blame.OPERATOR,
        "conflict",
        "conflict",
        f"{ELSEWHERE}: it was taken back 3 times in 10 min",
    )


def test_what_was_taken_back_long_ago_does_not_count(bench: EngineBench) -> None:
    bench.post("s", RulesChanged(Rules(takeover=True)))
    for _ in range(5):
        bench.report("s", Link.CONFLICT)
        bench.report("s", Link.CONNECTED)
        bench.pass_time(300)
    assert len(bench.records("s", "taken_over")) == 5
    assert len(bench.state("s").takeovers) == 2


# ---- parked ----


def test_one_that_is_parked_says_since_when_and_why(bench: EngineBench) -> None:
    bench.pass_time(10)
    bench.post("s", ParkRequested(cause=ParkCause.PROFILE_MISSING, details="there is none"))
    kept = [it for it in bench.effects("s", Record) if it.kind == "parked"]
    assert kept == [
        Record("parked", reason="profile_missing", evidence={"details": "there is none"})
    ]
    (condition,) = conditions(bench.state("s"))
    assert (condition.reason, condition.since) == ("profile_missing", bench.at)
    assert bench.state("s").intent is Intent.PARKED


def test_one_that_left_and_is_wanted_again_says_that_it_is_parked(bench: EngineBench) -> None:
    """Its row came back without its profile: an older database was put back after the session was deleted."""
    bench.post("s", Left())
    bench.post("s", StopRequested())
    bench.post("s", ParkRequested(cause=ParkCause.PROFILE_MISSING, details="there is none"))
    (condition,) = conditions(bench.state("s"))
    assert (condition.reason, condition.degrades) == ("profile_missing", True)
    said = bench.state("s").status
    assert said == DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "there is none")


def test_one_that_left_is_not_parked_for_what_its_worker_reported_last(bench: EngineBench) -> None:
    bench.post("s", Left())
    bench.post("s", ParkRequested(cause=ParkCause.BLOCKED, details="it is blocked"))
    assert conditions(bench.state("s")) == ()


def test_one_that_was_not_wanted_yet_can_be_parked() -> None:
    bench = EngineBench()
    bench.add("s", status=DerivedStatus(Status.CONNECTED))
    bench.post("s", ParkRequested(cause=ParkCause.BLOCKED, details="it is blocked"))
    assert bench.state("s").status == DerivedStatus(Status.FAILED, Reason.ERROR, "it is blocked")


# ---- its end ----


FULL = Failure(Blame.HOST, "disk_full", "the disk of paths.sessions (/s) is full", place="/s")
QUOTA = Failure(Blame.HOST, "disk_unwritable", "paths.sessions (/s) cannot be written", place="/s")


@pytest.mark.parametrize("code", [None, 1, 10, 12, 13, 16, 18, 20, 21, 22, -7, -9])
def test_what_the_host_lacks_decides_before_the_exit_code_does(
    code: int | None, bench: EngineBench
) -> None:
    """However often it fails: no budget is spent, and the remedy is the one that helps."""
    for _ in range(20):
        bench.post("s", Exited(worker=bench.worker("s").number, code=code, host=QUOTA))
        state = bench.state("s")
        (condition,) = conditions(state)
        assert (condition.blame, condition.reason) == (Blame.HOST, "disk_unwritable")
        assert "write /s:" in condition.remedy
        bench.pass_time(state.rules.held_retry)
    assert (bench.state("s").counted, bench.state("s").restarts) == ((), 0)
    assert parked_for(bench.state("s")) is None
    assert bench.state("s").status.status is Status.CONNECTED


def test_a_disk_that_is_full_is_waited_for_and_the_start_follows_within_a_second(
    bench: EngineBench,
) -> None:
    bench.pass_time(10)
    bench.host = Reading(disk=FULL)
    bench.post("s", Exited(worker=1, code=1, host=FULL))
    bench.pass_time(600)
    assert bench.waits("s") is Cause.DISK
    (condition,) = conditions(bench.state("s"))
    assert (condition.blame, condition.reason) == (Blame.HOST, "disk_full")
    assert "the disk of /s" in condition.remedy
    assert bench.outages("disk_unusable") == [str(FULL)]
    assert bench.effects("s", Spawn) == [Spawn(1)]
    bench.host = Reading()
    bench.pass_time(1)
    assert bench.link("s") is Link.CONNECTED
    assert bench.outages("disk_unusable") == [str(FULL), None]


def test_what_the_host_lacks_decides_why_a_worker_was_ended(bench: EngineBench) -> None:
    bench.script = Script(obeys=False, dies=False)
    bench.hear_nobody(LIMITS.worker)
    assert bench.state("s").failure
    bench.post("s", Exited(worker=1, code=0, host=QUOTA))
    assert (bench.state("s").failure, bench.state("s").counted) == (QUOTA, ())


def test_a_planned_end_is_nobodys_fault_whatever_the_host_lacks(bench: EngineBench) -> None:
    bench.scripts["s"] = Script(obeys=False)
    bench.post("s", RestartRequested(why="the memory it uses"))
    bench.scripts["s"] = Script()
    bench.post("s", Exited(worker=1, code=-9, host=FULL))
    assert bench.lifecycle("s") is State.RUNNING
    assert bench.effects("s", WorkerFailed) == []


@pytest.mark.parametrize("reason", ["browser_hangs", "sandbox_missing", "browser_unusable"])
def test_a_chromium_that_starts_for_nobody_is_tried_by_one_session(reason: str) -> None:
    bench = EngineBench("a", "b", "c")
    bench.script = Script(held=True, reports=())
    bench.start("a", "b", "c")
    why = Failure(Blame.HOST, reason, "it does not start", place="/c")
    for _ in range(30):
        for name in "abc":
            worker = bench.state(name).worker
            if worker:
                bench.runs(name)
                bench.post(name, Exited(worker=worker.number, code=10, host=why))
        bench.pass_time(1)
    assert bench.state("a").counted == bench.state("b").counted == ()
    assert len([it for name in "abc" for it in bench.effects(name, Spawn)]) <= 2 + 4, "each 10 s"
    kind = "browser_missing" if reason == "browser_unusable" else reason
    assert kind in bench.fleet.outages


def test_whoever_is_ended_is_silent_no_more(bench: EngineBench) -> None:
    bench.script = Script(obeys=False, dies=False)
    bench.hear_nobody(LIMITS.worker)
    assert bench.worker("s").unresponsive is None
    assert not bench.worker("s").late
    assert bench.lifecycle("s") is State.RECYCLING
    assert next_deadline(bench.state("s")) == bench.at + bench.state("s").rules.stop_grace
    assert conditions(bench.state("s"))[0].since == bench.at


def test_a_planned_replacement_is_on_the_trail_and_costs_nothing(bench: EngineBench) -> None:
    bench.pass_time(10)
    slots = len(bench.effects("s", ReleaseSlot))
    bench.scripts["s"] = Script(obeys=False)
    bench.post("s", RestartRequested(why="the memory it uses"))
    state = bench.state("s")
    assert (state.recycled_at, bench.records("s", "recycled")) == (bench.at, ["the memory it uses"])
    assert len(bench.effects("s", Recycled)) == 1
    assert state.failure == Failure(Blame.OPERATOR, "recycled", "the memory it uses")
    bench.scripts["s"] = Script(reports=(LOADING,))
    bench.exit("s", -9)
    assert bench.effects("s", Spawn) == [Spawn(1), Spawn(2)]
    assert len(bench.effects("s", ReleaseSlot)) == slots, "the next one has its slot"
    assert bench.state("s").slot is Slot.HELD
    assert bench.effects("s", WorkerFailed) == []
    assert (bench.state("s").counted, bench.state("s").restarts) == ((), 0)


@pytest.mark.parametrize(("code", "known"), [(EXIT_BROWSER_GONE, True), (-9, False)])
def test_what_a_killed_browser_had_may_not_be_there_any_more(
    *, code: int, known: bool, bench: EngineBench
) -> None:
    bench.pass_time(10)
    bench.exit("s", code)
    assert bench.effects("s", RequestSlot)[-1].ended_at == (bench.at if known else None)


def test_one_that_was_killed_because_it_did_not_end_gave_its_memory_back(
    bench: EngineBench,
) -> None:
    bench.script = Script(obeys=False)
    bench.post("s", Unusable(worker=1, why="it does not listen"))
    bench.pass_time(12)
    assert bench.effects("s", RequestSlot)[-1].ended_at == bench.at


def test_the_workers_own_explanation_of_its_end_counts(bench: EngineBench) -> None:
    bench.report("s", Link.CONNECTED, details="its page said so")
    bench.post("s", Exited(worker=1, code=EXIT_BROWSER_GONE, details="it crashed"))
    assert bench.records("s", "restart") == ["it crashed"]


def test_what_its_page_reported_last_explains_its_end(bench: EngineBench) -> None:
    bench.report("s", Link.CONNECTED, details="its page said so")
    bench.exit("s", EXIT_BROWSER_GONE)
    assert bench.records("s", "restart") == ["its page said so"]


@pytest.mark.parametrize(
    ("code", "pause"), [(EXIT_PROFILE_HELD, 10.0), (EXIT_BROWSER_UNUSABLE, 0.0)]
)
def test_what_is_the_hosts_is_tried_again_and_costs_nothing(
    code: int, pause: float, bench: EngineBench
) -> None:
    bench.script = Script(reports=(LOADING,))
    bench.exit("s", code)
    state = bench.state("s")
    assert state.not_before == bench.at + pause
    assert (state.counted, state.restarts, bench.records("s", "restart")) == ((), 0, [])
    assert [it.failure.blame for it in bench.effects("s", WorkerFailed)] == [Blame.HOST]


def test_a_failure_leaves_its_slot_to_others_and_is_nobodys_wish() -> None:
    bench = at_its_start()
    bench.at += 5.0
    bench.exit("s", EXIT_PROFILE_HELD)
    assert bench.state("s").slot is Slot.FREE
    assert conditions(bench.state("s"))[0].since == bench.at
    bench.pass_time(10)
    assert [it.asked for it in bench.effects("s", RequestSlot)] == [True, False]


def test_what_is_whatsapps_is_tried_ever_more_rarely_and_spends_nothing(
    bench: EngineBench,
) -> None:
    bench.chance = 0.0
    bench.script = Script(exits=EXIT_EXPORTS_MISSING)
    bench.exit("s", EXIT_EXPORTS_MISSING)
    for times in range(1, 5):
        state = bench.state("s")
        assert (state.spared, state.restarts, state.counted) == (times, times, ())
        assert state.not_before - bench.at == FIRST_PAUSE * 2 ** (times - 1)
        bench.at = state.not_before
        bench.tick()
    entry = next(it for it in bench.effects("s", Record) if it.kind == "restart")
    assert entry.evidence == {"delay": FIRST_PAUSE, "blame": "whatsapp"}


def test_one_that_ended_by_itself_in_order_comes_back_at_once_and_then_with_pauses(
    bench: EngineBench,
) -> None:
    bench.chance = 0.0
    bench.script = Script(reports=(LOADING,))
    bench.exit("s", 0)
    assert bench.state("s").not_before == bench.at
    bench.tick()
    bench.exit("s", 0)
    assert bench.state("s").not_before == bench.at + 2 * FIRST_PAUSE


def test_a_sessions_own_failures_spend_its_restarts(bench: EngineBench) -> None:
    bench.chance = 0.9
    began = bench.at
    bench.script = Script(reports=(LOADING,))
    bench.exit("s", EXIT_BROWSER_GONE)
    assert (bench.state("s").counted, bench.state("s").restarts) == ((began,), 1)
    bench.tick()
    bench.exit("s", EXIT_BROWSER_GONE)
    assert bench.state("s").not_before == bench.at + 0.9
    entry = [it for it in bench.effects("s", Record) if it.kind == "restart"][-1]
    assert entry.evidence == {"delay": 0.9, "blame": "session"}


def test_what_is_too_long_ago_does_not_count() -> None:
    policy = RestartPolicy(intensity=2, period=100.0)
    bench = EngineBench("s", rules=None)
    bench.post("s", RulesChanged(Rules(restart=policy, stable_after=1e6)))
    bench.start("s")
    for _ in range(6):
        bench.exit("s", EXIT_BROWSER_GONE)
        bench.pass_time(60)
    assert bench.lifecycle("s") is State.RUNNING
    assert len(bench.state("s").counted) == 2


def test_one_that_spent_its_restarts_says_when_it_is_tried_again(bench: EngineBench) -> None:
    bench.chance = 0.0
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    bench.exit("s", EXIT_BROWSER_GONE)
    while parked_for(bench.state("s")) is None:
        bench.pass_time(0.5, step=0.5)
    state = bench.state("s")
    assert state.failure
    at = dt.datetime.fromtimestamp(WALL + bench.at + 300.0, dt.UTC)
    words = f"5 restarts did not help: Chromium did not start; it is tried again at {at:%H:%M} UTC"
    assert state.failure.message == words
    assert state.not_before == state.retries.at == bench.at + 300.0
    assert bench.records("s", "parked") == ["restart_budget"]
    bench.at = state.not_before
    bench.tick()
    failure = bench.state("s").failure
    assert failure
    assert failure.message.startswith("another try did not help: Chromium did not start; it is")


@pytest.mark.parametrize("code", [EXIT_EXPORTS_MISSING, EXIT_PROFILE_HELD])
def test_a_try_that_others_spoil_is_none_in_vain(code: int, bench: EngineBench) -> None:
    spend(bench)
    bench.script = Script(exits=code)
    bench.at = bench.state("s").not_before
    bench.tick()
    assert parked_for(bench.state("s")) is None
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    bench.pass_time(bench.state("s").not_before - bench.at)
    assert parked_for(bench.state("s")) is None, "it has its restarts"
    assert bench.records("s", "parked") == ["restart_budget"]


def test_one_that_is_stopped_while_it_is_tried_is_only_stopped() -> None:
    bench = at_its_start()
    bench.script = Script(obeys=False)
    bench.post("s", StopRequested())
    bench.exit("s", EXIT_BROWSER_GONE)
    assert bench.effects("s", WorkerFailed) == []
    assert bench.lifecycle("s") is State.STOPPED


def test_one_that_showed_a_code_is_expected_to_show_the_next_one(bench: EngineBench) -> None:
    bench.report("s", Link.QR_PENDING, code="a code")
    bench.script = Script(reports=(LOADING,))
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    assert bench.state("s").status == DerivedStatus(Status.QR_SCANNING)


def test_one_that_dies_while_it_waits_to_be_replaced_waits_for_nothing_of_that(
    bench: EngineBench,
) -> None:
    bench.script = Script(reports=(LOADING,))
    for name in ("a", "b"):
        bench.add(name)
    bench.start("a", "b")
    bench.post("s", RestartRequested(why="memory"))
    assert bench.waits("s") is Cause.PLACE
    bench.exit("s", EXIT_PROFILE_HELD)
    assert bench.waits("s") is None
    assert [it.reason for it in conditions(bench.state("s"))] == ["profile_held"]
    assert "s" not in bench.fleet.waiting
    bench.scripts["s"] = Script()
    for name in ("a", "b"):
        bench.report(name)
    bench.pass_time(10)
    assert bench.lifecycle("s") is State.RUNNING
    assert bench.records("s", "recycled") == [], "the next one is a new one already"


def test_a_page_that_loads_need_not_answer_yet() -> None:
    bench = at_its_start()
    bench.at += 10.0
    bench.report("s", Link.UNKNOWN, phase="settling")
    assert bench.worker("s").unresponsive is None
    assert bench.effects("s", ResponsivenessChanged) == []


def test_a_doubt_is_over_when_the_link_is_known() -> None:
    bench = adopting()
    bench.pass_time(3)
    bench.report("s", Link.UNKNOWN)
    bench.pass_time(2)
    assert bench.state("s").status.status is Status.DISCONNECTED
    bench.report("s", Link.CONNECTED)
    bench.report("s", Link.UNKNOWN)
    assert bench.state("s").status.status is Status.CONNECTED


def test_one_of_another_version_whose_beats_nobody_understands_is_not_silent() -> None:
    bench = EngineBench()
    patient = Rules(limits=type(LIMITS)(start=1e6))
    for name in ("a", "b"):
        bench.add(name, rules=patient)
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    bench.add("s", status=DerivedStatus(Status.CONNECTED))
    bench.post("s", Adopted(outdated=True))
    bench.at += 3.0
    bench.report("s", Link.CONNECTED)
    for _ in range(100):
        bench.at += 1.0
        bench.tick()
    assert ended_for(bench) == []
    assert bench.lifecycle("s") is State.RUNNING
