"""A worker's reports and missing answers: what follows from them."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.core.engine_bench import LOADING, EngineBench, Script, at_its_start
from tests.core.session.one_session import adopting, ended_for
from waguard.core.blame import Blame, Failure
from waguard.core.exits import (
    EXIT_BROWSER_GONE,
    EXIT_BROWSER_NOT_STARTED,
    EXIT_EXPORTS_MISSING,
)
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import DerivedStatus, ParkCause, Reason, Status
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import (
    Backfill,
    BrowserStarted,
    CheckAnswer,
    ResponsivenessChanged,
    Terminate,
)
from waguard.core.session.facts import Beat, RulesChanged, StopRequested
from waguard.core.session.page_load import FIRST_PAUSE
from waguard.core.session.restart import RestartPolicy
from waguard.core.session.state import Rules, Stage
from waguard.core.session.views import conditions, parked_for
from waguard.core.session.worker import HUNG, NOT_READY

LIMITS = Rules().limits


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


def test_one_that_says_that_it_still_loads_has_no_more_time_for_that() -> None:
    bench = at_its_start()
    for _ in range(6):
        assert ended_for(bench) == []
        bench.at += LIMITS.start / 6
        bench.report("s", Link.UNKNOWN, phase="loading")
        bench.tick()
    assert ended_for(bench) == own("not_ready", NOT_READY, "not ready 60 s after its start")


def test_a_worker_that_is_silent_is_replaced(bench: EngineBench) -> None:
    bench.hear_nobody(LIMITS.worker)
    why = own("worker_silent", HUNG, "the worker has not answered for 5 s")
    assert ended_for(bench) == why
    assert bench.effects("s", CheckAnswer) == [CheckAnswer(1)], "a loop that hangs closes nothing"


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
    condition = conditions(bench.state("s"))[0]
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


def test_time_in_which_it_hung_ends_some_time(bench: EngineBench) -> None:
    bench.post("s", RulesChanged(Rules(stable_after=1e6)))
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.pass_time(1)
    bench.hear_nobody(LIMITS.worker)
    assert len(bench.state("s").counted) == 2
    bench.pass_time(RestartPolicy().period + LIMITS.worker, step=5.0)
    bench.exit("s", EXIT_BROWSER_GONE)
    assert len(bench.state("s").counted) == 1, "those are long ago"


def test_a_worker_that_takes_long_to_die_at_its_start_spends_the_restarts() -> None:
    """As one whose start has no end."""
    bench = EngineBench("s")
    bench.chance = 1.0
    bench.script = Script(reports=(LOADING,))
    bench.start("s")
    for _ in range(RestartPolicy().intensity + 1):
        while not bench.state("s").worker:
            bench.pass_time(1)
        bench.pass_time(LIMITS.start - 1)
        bench.exit("s", EXIT_BROWSER_NOT_STARTED)
    assert parked_for(bench.state("s")) is ParkCause.RESTART_BUDGET


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


def test_a_link_that_is_known_ends_the_long_pauses_after_whatsapps_failures(
    bench: EngineBench,
) -> None:
    bench.chance = 0.0
    for _ in range(3):
        bench.exit("s", EXIT_EXPORTS_MISSING)
        assert bench.state("s").not_before - bench.at == FIRST_PAUSE
        bench.pass_time(FIRST_PAUSE)
        assert bench.link("s") is Link.CONNECTED


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
