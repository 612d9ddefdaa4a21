"""What concerns all: breaker, acks, network, and who waits."""

import pytest

from tests.core.engine_bench import LOADING, EngineBench, Script
from tests.core.fleet.four import FOUR, NOT_STARTED, break_all, changes
from waguard.core import remedies
from waguard.core.backoff import NEVER
from waguard.core.blame import Blame, Failure
from waguard.core.fleet.ack_watch import Late
from waguard.core.fleet.facts import AcksSeen, Closing, FleetOutage, FleetRules
from waguard.core.fleet.network import Reading
from waguard.core.fleet.state import Member
from waguard.core.host.admission import Reading as HostReading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session.effects import MemberChanged, RequestSlot, WorkerFailed
from waguard.core.session.facts import RestartRequested, StopRequested
from waguard.core.session.views import conditions

# ---- what concerns all ----


def test_the_breaker_says_for_whom_it_opened_and_closed(fleet: EngineBench) -> None:
    break_all(fleet)
    fleet.script = Script()
    fleet.pass_time(1)
    fleet.pass_time(60)
    opened, closed = changes(fleet)
    assert (opened.opened, closed.opened) == (True, False)
    assert opened.cause == closed.cause == NOT_STARTED
    assert opened.sessions == closed.sessions == ("a", "b", "c"), "in order"


def test_the_words_of_the_breaker_reach_every_session(fleet: EngineBench) -> None:
    fleet.add("e")
    break_all(fleet)
    views_ = [fleet.state(name).fleet for name in (*FOUR, "e")]
    assert views_[0].breaker is not None
    assert views_ == [views_[0]] * 5
    fleet.add("f")
    assert fleet.state("f").fleet == views_[0], "and those that come later"


def test_whoever_is_forgotten_leaves_nothing_behind(fleet: EngineBench) -> None:
    fleet.post("a", AcksSeen(acked_at=1.0))
    fleet.post("a", RestartRequested(why="memory"))
    fleet.forget("a")
    held_ = fleet.fleet
    kept = (held_.members, held_.waiting, held_.acks, held_.recycled_at, held_.memory_in_vain)
    assert all("a" not in it for it in kept)
    assert "a" not in held_.starting
    assert "b" in held_.members


def test_a_session_that_is_not_connected_can_have_no_acks(fleet: EngineBench) -> None:
    late = Late(2, 1.0)
    seen = AcksSeen(late=late, overdue=True, in_vain=True, on_trial=True, acked_at=1.0)
    fleet.post("a", seen)
    fleet.report("a", Link.OFFLINE)
    assert fleet.fleet.acks["a"] == AcksSeen(in_vain=True, on_trial=True, acked_at=1.0)
    fleet.post("a", AcksSeen())
    assert "a" not in fleet.fleet.acks


def test_the_network_is_evaluated_when_the_host_was_read_and_an_outage_begins_and_ends_once() -> (
    None
):
    bench = EngineBench("a", "b")
    bench.start("a", "b")
    bench.network = Reading(reachable=False, error="refused")
    bench.report("a", Link.OFFLINE)
    bench.pass_time(3)
    assert bench.outages("network_down") == [], "b is connected"
    bench.report("b", Link.OFFLINE)
    bench.pass_time(3)
    why = "WhatsApp cannot be reached from this host: refused"
    assert bench.outages("network_down") == [why]
    (outage,) = [it for it in bench.of_fleet if isinstance(it, FleetOutage)]
    assert outage.evidence == {"offline": 2}
    assert [bench.state(name).fleet.network_down for name in ("a", "b")] == [why, why]
    bench.report("a", Link.CONNECTED)
    came = bench.at
    assert bench.outages("network_down") == [why, None]
    assert bench.state("b").fleet.network_since == came
    bench.pass_time(5)
    assert bench.state("b").fleet.network_since == came


def test_a_fleet_that_does_not_watch_the_network_reads_only_its_sessions() -> None:
    bench = EngineBench("a", "b", "c", rules=FleetRules(watch_network=False))
    bench.start("a", "b", "c")
    bench.network = Reading(reachable=False, error="refused")
    bench.report("a", Link.OFFLINE)
    bench.forget("b")
    bench.forget("c")
    bench.pass_time(3)
    assert bench.outages("network_down") == [], "one alone proves nothing"


def test_nobody_reads_the_host_where_nobody_waits_for_it() -> None:
    bench = EngineBench("a")
    bench.start("a")
    assert bench.fleet.read_host_at == NEVER
    bench.report("a", Link.OFFLINE)
    assert bench.fleet.read_host_at == bench.at + 1.0
    bench.pass_time(1)
    assert bench.fleet.read_host_at == bench.at + 1.0
    bench.report("a", Link.CONNECTED)
    assert bench.fleet.read_host_at == NEVER


def test_a_wait_keeps_its_turn_however_often_it_is_asked_for() -> None:
    bench = EngineBench("a")
    bench.script = Script(reports=(LOADING,))
    bench.host = HostReading(memory=1)
    bench.start("a")
    began = bench.fleet.waiting["a"].at
    bench.pass_time(5)
    bench.post("a", RequestSlot(asked=True, priority=3))
    assert bench.fleet.waiting["a"].at == began
    assert bench.fleet.waiting["a"].asked_for.priority == 3


def test_what_failed_is_in_backoff_for_the_fleet_before_it_says_so(fleet: EngineBench) -> None:
    why = Failure(Blame.SESSION, "browser_gone", "Chromium died")
    fleet.post("a", WorkerFailed(why))
    assert fleet.fleet.members["a"] == Member(State.BACKOFF, Link.UNKNOWN, fleet.at)


def test_a_link_counts_since_it_is_so_whatever_the_worker_does(fleet: EngineBench) -> None:
    since = fleet.fleet.members["a"].link_since
    fleet.pass_time(5)
    fleet.post("a", MemberChanged(State.RUNNING, Link.CONNECTED, Link.CONNECTED))
    assert fleet.fleet.members["a"].link_since == since
    fleet.report("a", Link.SYNCING)
    assert fleet.fleet.members["a"].link_since == fleet.at


def test_the_words_of_an_outage_follow_what_is_read() -> None:
    bench = EngineBench("a")
    bench.start("a")
    bench.network = Reading(route=False, reachable=False, error="refused")
    bench.report("a", Link.OFFLINE)
    bench.pass_time(3)
    bench.network = Reading(route=True, reachable=False, error="refused")
    bench.pass_time(3)
    why = "WhatsApp cannot be reached from this host: refused"
    assert bench.outages("network_down") == [f"{why}; the host has no default route", why]
    [condition] = conditions(bench.state("a"))
    assert condition.remedy == remedies.text(remedies.FLEET["network_down"]), "as status has it"


@pytest.mark.parametrize("kind", ["network_down", "browser_missing"])
def test_an_orderly_stop_ends_no_outage(kind: str) -> None:
    bench = EngineBench("a", "b")
    bench.start("a")
    bench.network = Reading(reachable=False, error="refused")
    bench.report("a", Link.OFFLINE)
    bench.host = HostReading(executable="no such file")
    bench.pass_time(3)
    bench.start("b", asked=False)
    bench.pass_time(3)
    before = bench.outages(kind)
    assert before
    bench.post("", Closing())
    for name in "ab":
        bench.post(name, StopRequested(daemon_stopping=True))
    bench.pass_time(3)
    assert bench.outages(kind) == before
