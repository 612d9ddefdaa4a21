"""A worker's reports, missing answers and end: what follows from them."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.core.engine_bench import LOADING, WALL, EngineBench, Script, at_its_start, connected
from waguard.core.blame import Blame, Failure
from waguard.core.exits import (
    EXIT_BROWSER_GONE,
    EXIT_BROWSER_NOT_STARTED,
    EXIT_BROWSER_UNUSABLE,
    EXIT_EXPORTS_MISSING,
    EXIT_PROFILE_HELD,
)
from waguard.core.host.admission import Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import (
    Backfill,
    BrowserStarted,
    Record,
    Recycled,
    ReleaseSlot,
    RequestSlot,
    ResponsivenessChanged,
    Spawn,
    TakeOver,
    Terminate,
    WorkerFailed,
)
from waguard.core.session.facts import (
    Adopted,
    Beat,
    Exited,
    ParkRequested,
    RestartRequested,
    RulesChanged,
    StopRequested,
    Unusable,
)
from waguard.core.session.page_load import FIRST_PAUSE
from waguard.core.session.restart import RestartPolicy
from waguard.core.session.state import Intent, Rules, Slot, Stage
from waguard.core.session.views import conditions, parked_for
from waguard.core.session.worker import HUNG, NOT_READY
from waguard.core.status import DerivedStatus, ParkCause, Reason, Status

ELSEWHERE = "WhatsApp Web is open elsewhere with this device"
LIMITS = Rules().limits


@pytest.fixture
def bench() -> EngineBench:
    """One session that is connected."""
    return connected()


def adopting() -> EngineBench:
    made = EngineBench()
    made.add("s", status=DerivedStatus(Status.CONNECTED))
    made.post("s", Adopted())
    return made


def beat(bench: EngineBench, *, page: bool = True) -> None:
    at = bench.at if page else None
    bench.post("s", Beat(worker=bench.worker("s").number, at=bench.at, page_at=at))


def ended_for(bench: EngineBench) -> list[Failure | None]:
    return [it.why for it in bench.effects("s", Terminate)]


def own(reason: str, cause: str, message: str) -> list[Failure]:
    return [Failure(Blame.SESSION, reason, cause, message)]


# ---- unresponsive ----


@pytest.mark.parametrize("made", [at_its_start, adopting])
def test_one_that_is_not_ready_in_its_time_is_replaced(made: Callable[[], EngineBench]) -> None:
    bench = made()
    bench.at += LIMITS.start - 0.1
    bench.tick()
    assert ended_for(bench) == []
    bench.at += 0.1
    bench.tick()
    why = own("not_ready", NOT_READY, "not ready 60 s after its start")
    assert ended_for(bench) == why
    assert len(bench.state("s").counted) == 1


def test_a_worker_that_is_silent_is_replaced(bench: EngineBench) -> None:
    bench.at += LIMITS.worker
    bench.tick()
    why = own("worker_silent", HUNG, "the worker has not answered for 10 s")
    assert ended_for(bench) == why


@pytest.mark.parametrize(
    ("unrecoverable", "limit"), [(False, LIMITS.page), (True, LIMITS.unrecoverable_page)]
)
def test_a_page_that_is_silent_is_replaced(
    *, unrecoverable: bool, limit: float, bench: EngineBench
) -> None:
    began = bench.at
    for second in range(1, int(limit) + 1):
        assert ended_for(bench) == []
        bench.at = began + second
        bench.post("s", Beat(worker=1, at=bench.at, unrecoverable=unrecoverable))
        bench.tick()
    why = own("page_silent", HUNG, f"the page has not answered for {limit:.0f} s")
    assert ended_for(bench) == why


def test_a_page_that_does_not_say_how_it_stands_is_replaced(bench: EngineBench) -> None:
    bench.pass_time(100)
    bench.report("s", Link.UNKNOWN, evidence="its script waits")
    bench.pass_time(LIMITS.link - 1)
    assert ended_for(bench) == []
    bench.pass_time(1)
    words = "the page has not reported the state of its link to WhatsApp for 60 s: its script waits"
    assert ended_for(bench) == own("link_unknown", HUNG, words)


def test_pages_that_never_say_how_they_stand_spend_the_restarts(bench: EngineBench) -> None:
    """Each waits for its deadline first: that time is no time in which a restart has helped."""
    bench.script = Script(reports=({"phase": "ready", "link": Link.UNKNOWN},))
    bench.report("s", Link.UNKNOWN)
    intensity = RestartPolicy().intensity
    for number in range(intensity):
        bench.pass_time(LIMITS.link)
        assert [why.reason for why in ended_for(bench) if why] == ["link_unknown"] * (number + 1)
        while bench.lifecycle("s") is not State.RUNNING:
            bench.pass_time(1)
    bench.pass_time(LIMITS.link)
    assert bench.lifecycle("s") is State.PARKED
    assert parked_for(bench.state("s")) is ParkCause.RESTART_BUDGET
    [condition] = conditions(bench.state("s"))
    assert condition.message.startswith("5 restarts did not help: the page has not reported")
    bench.pass_time(bench.state("s").not_before - bench.at + LIMITS.link + 1)
    assert bench.lifecycle("s") is State.PARKED, "it was tried once more, and that did not help"
    bench.script = Script()
    bench.pass_time(bench.state("s").not_before - bench.at + 1)
    assert bench.link("s") is Link.CONNECTED


@pytest.mark.parametrize(
    ("report", "limit", "reason"),
    [
        ({"phase": "loading", "link": Link.UNKNOWN}, LIMITS.start, "not_ready"),
        ({"phase": "ready", "link": Link.QR_PENDING, "code": "one"}, LIMITS.code, "no_new_code"),
    ],
)
def test_what_takes_long_to_fail_spends_the_restarts_too(
    report: Mapping[str, Any], limit: float, reason: str, bench: EngineBench
) -> None:
    bench.script = Script(reports=(report,))
    bench.exit("s", EXIT_BROWSER_GONE)
    for _ in range(RestartPolicy().intensity):
        while bench.lifecycle("s") is not State.PARKED and not bench.state("s").worker:
            bench.pass_time(1)
        bench.pass_time(limit)
    assert bench.lifecycle("s") is State.PARKED
    [condition] = conditions(bench.state("s"))
    assert condition.message.startswith("5 restarts did not help")
    assert [why.reason for why in ended_for(bench) if why] == [reason] * RestartPolicy().intensity


def test_time_in_which_it_was_well_lets_restarts_go(bench: EngineBench) -> None:
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.pass_time(RestartPolicy().period - 1)
    assert len(bench.state("s").counted) == 1
    bench.exit("s", EXIT_BROWSER_GONE)
    assert len(bench.state("s").counted) == 2
    bench.pass_time(RestartPolicy().period)
    bench.exit("s", EXIT_BROWSER_GONE)
    assert len(bench.state("s").counted) == 1


def test_a_page_that_shows_no_new_code_is_replaced(bench: EngineBench) -> None:
    bench.report("s", Link.QR_PENDING, code="first")
    bench.pass_time(100)
    bench.report("s", Link.QR_PENDING, code="second")
    bench.pass_time(20)
    bench.report("s", Link.QR_PENDING, code="second")
    bench.report("s", Link.QR_PENDING, code=None)
    bench.pass_time(LIMITS.code - 21)
    assert ended_for(bench) == []
    bench.pass_time(1)
    words = "the page has shown no new QR code for 150 s"
    assert ended_for(bench) == own("no_new_code", HUNG, words)


def test_a_page_that_comes_to_a_code_has_the_whole_time_for_the_next(bench: EngineBench) -> None:
    bench.pass_time(LIMITS.code)
    bench.report("s", Link.QR_PENDING)
    bench.pass_time(LIMITS.code - 1)
    assert ended_for(bench) == []


def test_a_report_is_a_sign_of_life_of_the_worker_and_not_of_its_page(bench: EngineBench) -> None:
    bench.at += LIMITS.notice
    bench.tick()
    bench.report("s", Link.CONNECTED)
    layers = [it.unresponsive for it in bench.effects("s", ResponsivenessChanged)]
    assert layers == ["the worker does not answer", "the page does not answer"]


# ---- reports ----


def test_one_that_is_on_its_way_out_is_ready_no_more(bench: EngineBench) -> None:
    bench.script = Script(obeys=False)
    bench.post("s", StopRequested())
    bench.report("s", Link.CONNECTED)
    assert bench.worker("s").stage is Stage.ENDING
    assert bench.lifecycle("s") is State.STOPPING
    assert len(bench.effects("s", Terminate)) == 1


def test_a_browser_is_up_once() -> None:
    bench = EngineBench("s")
    bench.script = Script(reports=({"phase": "launching", "link": Link.UNKNOWN},))
    bench.start("s")
    assert bench.effects("s", BrowserStarted) == []
    for phase in ("loading", "settling", "ready"):
        bench.report("s", Link.UNKNOWN, phase=phase)
        assert len(bench.effects("s", BrowserStarted)) == 1


def test_the_time_of_its_start_does_not_count_against_its_page() -> None:
    bench = at_its_start()
    bench.at += LIMITS.start - 1
    bench.report("s", Link.UNKNOWN)
    bench.tick()
    bench.pass_time(LIMITS.link - 1)
    assert ended_for(bench) == []
    bench.pass_time(1)
    assert [why.reason for why in ended_for(bench) if why] == ["link_unknown"]


def test_an_adopted_page_counts_its_unknown_link_since_it_was_adopted() -> None:
    bench = adopting()
    bench.pass_time(3)
    bench.report("s", Link.UNKNOWN)
    bench.pass_time(1)
    assert bench.state("s").status == DerivedStatus(Status.CONNECTED), "the row stays as it is"
    bench.pass_time(1)
    assert bench.state("s").status.status is Status.DISCONNECTED
    bench.report("s", Link.UNKNOWN)
    assert bench.state("s").status.status is Status.DISCONNECTED, "that it is ready says nothing"
    assert [it.reason for it in conditions(bench.state("s"))] == ["unknown"]
    bench.report("s", Link.CONNECTED)
    bench.report("s", Link.UNKNOWN)
    assert bench.state("s").status.status is Status.CONNECTED, "a new doubt has its own time"


def test_a_row_keeps_its_word_while_a_link_is_unknown_for_a_moment(bench: EngineBench) -> None:
    bench.pass_time(100)
    bench.report("s", Link.UNKNOWN)
    bench.pass_time(29)
    assert bench.state("s").status == DerivedStatus(Status.CONNECTED)
    bench.pass_time(1)
    assert bench.state("s").status.reason is Reason.UNKNOWN


def test_a_phone_number_is_kept_and_a_code_casts_doubt_on_it(bench: EngineBench) -> None:
    bench.report("s", Link.CONNECTED, phone="49")
    bench.report("s", Link.OFFLINE)
    state = bench.state("s")
    assert (state.phone, state.showed_code) == ("49", False)
    bench.report("s", Link.QR_PENDING, code="a code")
    bench.report("s", Link.CONNECTED)
    state = bench.state("s")
    assert (state.phone, state.showed_code) == ("49", True)
    bench.report("s", Link.CONNECTED, phone="43")
    state = bench.state("s")
    assert (state.phone, state.showed_code) == ("43", False)


def test_what_came_in_meanwhile_is_asked_for_once_after_each_load(bench: EngineBench) -> None:
    before = bench.effects("s", Backfill)
    assert before == [Backfill(1, 0)]
    bench.report("s", Link.CONNECTED)
    assert bench.effects("s", Backfill) == before
    bench.report("s", Link.OFFLINE, loads=1)
    assert bench.effects("s", Backfill) == before
    bench.report("s", Link.CONNECTED, loads=1)
    assert bench.effects("s", Backfill) == [*before, Backfill(1, 1)]


def test_a_page_that_still_loads_is_asked_for_nothing() -> None:
    bench = at_its_start()
    bench.report("s", Link.CONNECTED, phase="loading")
    assert bench.effects("s", Backfill) == []


@pytest.mark.parametrize("link", [Link.OFFLINE, Link.QR_PENDING, Link.CONNECTED, Link.SYNCING])
def test_a_try_has_helped_when_the_page_says_how_it_stands(link: Link) -> None:
    bench = EngineBench("s", rules=None)
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    bench.start("s")
    while parked_for(bench.state("s")) is None:
        bench.pass_time(1)
    bench.script = Script(reports=(LOADING,))
    bench.at = next_deadline(bench.state("s"))
    bench.tick()
    bench.report("s", Link.UNKNOWN)
    assert bench.state("s").retries.running
    bench.report("s", link)
    retries = bench.state("s").retries
    assert (retries.tries, retries.running) == (1, False), "the next pause is longer all the same"


@pytest.mark.parametrize(
    ("link", "forgotten"),
    [(Link.CONNECTED, True), (Link.QR_PENDING, True), (Link.OFFLINE, False), (Link.UNKNOWN, False)],
)
def test_why_it_was_started_is_over_when_it_is_up(*, link: Link, forgotten: bool) -> None:
    bench = at_its_start()
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.tick()
    bench.report("s", link)
    assert (bench.state("s").failure is None) is forgotten


# ---- another client ----


def test_a_session_that_is_open_elsewhere_is_parked(bench: EngineBench) -> None:
    bench.report("s", Link.CONFLICT)
    assert parked_for(bench.state("s")) is ParkCause.CONFLICT
    failure = Failure(Blame.OPERATOR, "conflict", "conflict", ELSEWHERE)
    assert bench.state("s").failure == failure


def test_it_is_taken_back_three_times_in_ten_minutes(bench: EngineBench) -> None:
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


def test_one_that_was_not_wanted_yet_can_be_parked() -> None:
    bench = EngineBench()
    bench.add("s", status=DerivedStatus(Status.CONNECTED))
    bench.post("s", ParkRequested(cause=ParkCause.BLOCKED, details="it is blocked"))
    assert bench.state("s").status == DerivedStatus(Status.FAILED, Reason.ERROR, "it is blocked")


# ---- its end ----


def test_whoever_is_ended_is_silent_no_more(bench: EngineBench) -> None:
    bench.script = Script(obeys=False)
    bench.at += LIMITS.worker
    bench.tick()
    assert bench.worker("s").unresponsive is None
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


def test_its_own_failures_spend_its_restarts(bench: EngineBench) -> None:
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
