"""Times and counts of a session, from its states alone."""

from collections.abc import Iterable

import pytest

from tests.core.engine_bench import LOADING, EngineBench, Script
from waguard.core.blame import Blame, Failure
from waguard.core.engine import Outcome
from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_DISK_FULL
from waguard.core.fleet.network import Reading
from waguard.core.link import Link
from waguard.core.metrics.families import DETECT, HEAL, PAGE_LOADS, RESTARTS, SLOT_WAIT, Metric
from waguard.core.metrics.session_times import Addition, Begun, Change, compare
from waguard.core.row_status import DerivedStatus, ParkCause, Status
from waguard.core.session.facts import (
    Adopted,
    Exited,
    Left,
    ParkRequested,
    RestartRequested,
    StopRequested,
)


class Measured(EngineBench):
    """One session, "s", each pair of whose states is compared."""

    def __init__(self) -> None:
        super().__init__("s")
        self.begun, self.found = Begun(), list[Addition]()

    def _perform(self, outcome: Outcome) -> None:
        if before := self.engine.touched.get("s"):
            self.begun, found = compare(self.begun, Change(before, self.state("s"), self.at))
            self.found += found
        super()._perform(outcome)

    def of(self, *metrics: Metric) -> list[Addition]:
        """What was added since the last question."""
        found, self.found = self.found, []
        return [it for it in found if it.metric in metrics]


@pytest.fixture
def bench() -> Measured:
    """It is connected, and was heard half a second ago."""
    made = Measured()
    made.start("s")
    made.pass_time(10)
    made.found.clear()
    made.at += 0.5
    return made


def pairs(found: Iterable[Addition]) -> list[tuple[float, tuple[str, ...]]]:
    return [(it.value, it.label) for it in found]


def test_a_first_start_is_no_trouble_and_waits_for_no_slot() -> None:
    bench = Measured()
    bench.start("s")
    assert bench.link("s") is Link.CONNECTED
    found = bench.of(DETECT, HEAL, RESTARTS, SLOT_WAIT)
    assert found == [Addition(SLOT_WAIT, 0.0)]


def test_a_killed_worker_is_detected_restarted_and_healed(bench: Measured) -> None:
    bench.script = Script(held=True)
    bench.exit("s", -9)
    found = bench.of(DETECT, HEAL, RESTARTS)
    assert found == [
        Addition(RESTARTS, 1, (Blame.SESSION,)),
        Addition(DETECT, 0.5, (Blame.SESSION,)),
    ]
    bench.at += 3
    bench.script = Script(reports=(LOADING,))
    bench.runs("s")
    assert bench.of(HEAL) == []
    bench.at += 2
    bench.report("s")
    assert pairs(bench.of(DETECT, HEAL)) == [(5.0, (Blame.SESSION,))]


def test_a_page_that_does_not_answer_is_detected_once_and_its_restart_is_part_of_it(
    bench: Measured,
) -> None:
    heard = bench.worker("s").heard_at
    bench.at = heard + 2.5
    bench.tick()
    assert bench.worker("s").unresponsive
    assert pairs(bench.of(DETECT, HEAL)) == [(2.5, (Blame.SESSION,))]
    bench.at = heard + 6
    bench.tick()  # it is replaced
    bench.pass_time(60)
    assert bench.link("s") is Link.CONNECTED
    found = bench.of(DETECT, HEAL)
    assert [it.metric for it in found] == [HEAL]
    assert found[0].value >= 3.5


def test_the_blame_is_that_of_the_failure_where_that_explains_more(bench: Measured) -> None:
    bench.at = bench.worker("s").heard_at + 2.5
    bench.tick()
    full = Failure(Blame.HOST, "disk_full", "the disk is full")
    number = bench.worker("s").number
    bench.post("s", Exited(worker=number, code=EXIT_DISK_FULL, host=full))
    bench.pass_time(120)
    assert bench.link("s") is Link.CONNECTED
    found = bench.of(DETECT, HEAL, RESTARTS)
    assert {(it.metric, it.label) for it in found} >= {
        (DETECT, (Blame.SESSION,)),
        (HEAL, (Blame.HOST,)),
    }


def test_a_link_that_is_lost_is_the_networks(bench: Measured) -> None:
    bench.network = Reading(reachable=False, error="refused")
    bench.report("s", Link.OFFLINE)
    bench.at += 7
    bench.report("s")
    assert pairs(bench.of(DETECT, HEAL)) == [
        (pytest.approx(0.5), (Blame.NETWORK,)),
        (7.0, (Blame.NETWORK,)),
    ]


def test_a_planned_replacement_is_the_operators(bench: Measured) -> None:
    bench.post("s", RestartRequested(why="a person asked for it"))
    assert {it.label for it in bench.of(DETECT, HEAL)} == {(Blame.OPERATOR,)}


@pytest.mark.parametrize("fact", [StopRequested(), StopRequested(daemon_stopping=True), Left()])
def test_what_a_person_ends_is_no_trouble(bench: Measured, fact: StopRequested | Left) -> None:
    bench.post("s", fact)
    bench.at += 3_600
    bench.start("s")
    assert bench.of(DETECT, HEAL) == []


def test_a_parked_session_is_healed_when_a_person_has_helped(bench: Measured) -> None:
    bench.post("s", ParkRequested(cause=ParkCause.PROFILE_MISSING, details="it is gone"))
    bench.at += 600
    bench.start("s")
    assert [it.value for it in bench.of(HEAL)] == [600.0]


def test_a_wait_for_a_slot_is_measured_to_its_end() -> None:
    bench = Measured()
    bench.add("t")
    bench.add("u")
    bench.script = Script(reports=(LOADING,))
    bench.start("t", "u", asked=False)  # they have both places
    bench.start("s", asked=False)
    bench.at += 8
    assert bench.of(SLOT_WAIT) == []
    bench.report("t")
    assert bench.of(SLOT_WAIT) == [Addition(SLOT_WAIT, 8.0)]


def test_loads_are_counted_and_those_of_an_earlier_daemon_are_not(bench: Measured) -> None:
    bench.report("s", loads=1)
    bench.report("s", loads=3)
    assert [it.value for it in bench.of(PAGE_LOADS)] == [1, 2]
    bench.script = Script(reports=({"link": Link.CONNECTED, "loads": 1},))
    bench.exit("s", EXIT_BROWSER_GONE)
    assert [it.value for it in bench.of(PAGE_LOADS)] == [1]


def test_an_adopted_worker_is_neither_healed_nor_loaded_by_its_first_report() -> None:
    bench = Measured()
    bench.engine.sessions.clear()
    bench.add("s", status=DerivedStatus(Status.CONNECTED))
    bench.post("s", Adopted())
    bench.report("s", loads=17)
    assert bench.of(DETECT, HEAL, RESTARTS, PAGE_LOADS) == []
    bench.report("s", loads=18)
    assert [it.value for it in bench.of(PAGE_LOADS)] == [1]
