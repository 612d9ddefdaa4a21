"""Every Chromium needs a slot before it is started; the others wait and say why."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from tests.core.engine_bench import LOADING, EngineBench, Script
from waguard.core.backoff import NEVER
from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_BROWSER_KILLED, EXIT_BROWSER_NOT_STARTED
from waguard.core.fleet import fleet as fleets
from waguard.core.fleet.facts import Closing, FleetFact, FleetRules, FleetRulesChanged, HostRead
from waguard.core.fleet.state import FleetState
from waguard.core.host.admission import Cause, Reading, Wait
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import ParkCause
from waguard.core.session import views
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import Held, ReleaseSlot, RequestSlot
from waguard.core.session.facts import (
    Adopted,
    HeldBack,
    Left,
    Moment,
    ParkRequested,
    SlotGranted,
    StartRequested,
    StopRequested,
)
from waguard.core.session.probe import Limits
from waguard.core.session.state import Rules

MB = 1 << 20
SHORT = Reading(memory=310 * MB)
AMPLE = Reading(memory=8_000 * MB)
FULL = "2 sessions are starting, the limit is 2"
PATIENT = Rules(limits=Limits(start=1e6))


def two_are_starting(*others: str, rules: Rules | None = None) -> EngineBench:
    """``a`` and ``b`` hold the two slots; the others are down."""
    bench = EngineBench()
    for name in ("a", "b", *others):
        bench.add(name, rules=rules)
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    assert bench.spawned == ["a", "b"]
    return bench


def places(bench: EngineBench, number: int) -> FleetRules:
    limits = bench.fleet.rules.limits
    return replace(
        bench.fleet.rules,
        limits=type(limits)(
            places=number,
            session_memory=limits.session_memory,
            memory_reserve=limits.memory_reserve,
            memory_pressure=limits.memory_pressure,
        ),
    )


def test_one_beyond_the_slots_waits_and_says_why() -> None:
    bench = two_are_starting("c")
    bench.start("c")
    assert (bench.lifecycle("c"), bench.waits("c")) == (State.STARTING, Cause.PLACE)
    assert views.details(bench.state("c")) == FULL
    assert bench.waits("a") is None
    bench.report("a", Link.QR_PENDING, phase="settling")  # its browser is up: it needs no core
    assert bench.spawned == ["a", "b", "c"]
    assert bench.waits("c") is None


@pytest.mark.parametrize("end", ["exits", "is parked", "is stopped", "is ready", "is forgotten"])
def test_a_slot_is_given_back(end: str) -> None:
    bench = two_are_starting("c")
    bench.start("c")
    match end:
        case "exits":
            bench.exit("a", EXIT_BROWSER_NOT_STARTED)
            assert bench.waits("a") is Cause.PLACE
        case "is parked":
            bench.post("a", ParkRequested(cause=ParkCause.CONFLICT, details="a test"))
        case "is stopped":
            bench.post("a", StopRequested())
        case "is forgotten":
            bench.forget("a")
        case _:
            bench.report("a")
    assert bench.spawned == ["a", "b", "c"]


def test_one_that_comes_later_knows_at_once_that_it_waits_for_a_slot() -> None:
    bench = two_are_starting("c", rules=PATIENT)
    bench.pass_time(60)  # nobody has read the host meanwhile
    bench.start("c")
    assert bench.waits("c") is Cause.PLACE


def test_a_restart_waits_for_a_slot_too_and_the_important_one_goes_first() -> None:
    bench = EngineBench("a", "b", "low")
    bench.add("high", priority=5)
    bench.start("low", "high")
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    for name in ("low", "high"):
        bench.exit(name, EXIT_BROWSER_GONE)
        assert (bench.lifecycle(name), bench.waits(name)) == (State.STARTING, Cause.PLACE)
    said = bench.state("high").status
    assert (said.status, said.details) == ("disconnected", FULL)
    bench.report("a")
    assert bench.spawned[-1] == "high"
    assert bench.spawned.count("low") == 1
    bench.report("b")
    assert bench.spawned[-1] == "low"


@pytest.mark.parametrize("how", ["stop", "delete", "park", "daemon"])
def test_one_that_is_stopped_while_it_waits_is_never_spawned(how: str) -> None:
    bench = two_are_starting("c")
    bench.start("c")
    match how:
        case "stop":
            bench.post("c", StopRequested())
            assert bench.lifecycle("c") is State.STOPPED
        case "delete":
            bench.post("c", Left())
            bench.post("c", StopRequested())
            assert bench.waits("c") is None
            bench.forget("c")
        case "park":
            bench.post("c", ParkRequested(cause=ParkCause.CONFLICT, details="a test"))
            assert bench.lifecycle("c") is State.PARKED
        case _:
            bench.post("", Closing())
    if how != "daemon":
        assert "c" not in bench.fleet.waiting
    if how in {"stop", "park"}:
        assert bench.waits("c") is None
    bench.report("a")
    bench.report("b")
    bench.pass_time(600)
    assert bench.spawned == ["a", "b"]


def test_one_that_is_stopped_and_started_again_at_once_is_spawned_once() -> None:
    bench = two_are_starting("c")
    bench.start("c")
    bench.post("c", StopRequested())
    bench.start("c")
    bench.post("c", StartRequested(restart=True))
    assert bench.lifecycle("c") is State.STARTING
    bench.scripts["c"] = Script()
    bench.report("a")
    bench.report("b")
    assert bench.link("c") is Link.CONNECTED
    assert bench.spawned == ["a", "b", "c"]


def test_no_deadline_runs_while_it_waits() -> None:
    bench = two_are_starting("c", rules=PATIENT)
    bench.add("c")  # with the limits of every day
    bench.start("c")
    before = next_deadline(bench.state("c"))
    bench.pass_time(120)
    assert next_deadline(bench.state("c")) >= before + 120 - 1, "its heartbeats move it"
    assert bench.lifecycle("c") is State.STARTING
    bench.report("a")
    bench.pass_time(4)
    assert bench.lifecycle("c") is State.STARTING
    assert bench.spawned == ["a", "b", "c"]


def test_short_memory_holds_a_session_back_until_there_is_some() -> None:
    bench = EngineBench("s")
    bench.host = SHORT
    bench.start("s")
    assert bench.waits("s") is Cause.MEMORY
    assert "memory: 310 MB available" in str(views.details(bench.state("s")))
    bench.pass_time(30)
    assert bench.spawned == []
    bench.host = AMPLE
    bench.pass_time(1)
    assert bench.link("s") is Link.CONNECTED


def test_the_host_is_read_once_a_second_and_only_where_somebody_waits_for_it() -> None:
    bench = EngineBench("s", "other")
    assert bench.fleet.read_host_at == NEVER
    bench.host = SHORT
    bench.start("s")
    read_at = bench.fleet.host_at
    assert (read_at, bench.fleet.read_host_at) == (bench.at, bench.at + 1.0)
    bench.host = AMPLE
    bench.at += 0.5
    bench.start("other")  # as the host was half a second ago
    assert (bench.waits("other"), bench.fleet.host_at) == (Cause.MEMORY, read_at)
    bench.pass_time(0.5)
    assert bench.link("s") is bench.link("other") is Link.CONNECTED
    assert bench.fleet.read_host_at == NEVER


def test_where_all_slots_are_taken_the_host_is_not_read() -> None:
    bench = two_are_starting("c", rules=PATIENT)
    bench.start("c")
    assert bench.fleet.read_host_at == NEVER


def test_other_numbers_are_no_news() -> None:
    bench = EngineBench("s")
    bench.host = SHORT
    bench.start("s")
    before = len(bench.done)
    bench.host = Reading(memory=280 * MB)
    bench.pass_time(10)
    assert bench.done[before:] == []
    assert len(bench.effects("s", Held)) == 1
    bench.host = Reading(memory=8_000 * MB, pressure=90.0)
    bench.pass_time(1)
    assert [it.wait.cause for it in bench.effects("s", Held)] == [Cause.MEMORY, Cause.PRESSURE]


def test_one_whose_browser_died_comes_back_on_a_host_that_is_short() -> None:
    bench = EngineBench("s")
    bench.start("s")
    bench.host = SHORT
    bench.pass_time(1)
    bench.exit("s", EXIT_BROWSER_GONE)
    assert bench.link("s") is Link.CONNECTED
    assert bench.spawned == ["s", "s"]


def test_one_that_was_killed_for_its_memory_waits_for_some() -> None:
    bench = EngineBench("s")
    bench.start("s")
    bench.host = SHORT
    bench.pass_time(1)
    bench.exit("s", EXIT_BROWSER_KILLED)
    assert bench.waits("s") is Cause.MEMORY
    assert bench.spawned == ["s"]


def test_an_adopted_worker_needs_no_slot() -> None:
    bench = EngineBench("a", "b")
    bench.post("", FleetRulesChanged(places(bench, 1)))
    bench.host = SHORT
    for name in ("a", "b"):
        bench.post(name, Adopted())
        bench.report(name)
    assert bench.link("a") is bench.link("b") is Link.CONNECTED
    assert (bench.spawned, bench.effects("a", RequestSlot), bench.fleet.waiting) == ([], [], {})


def test_a_reload_of_the_slots_counts_at_once() -> None:
    bench = two_are_starting("c")
    bench.start("c")
    bench.post("", FleetRulesChanged(places(bench, 3)))
    assert bench.spawned == ["a", "b", "c"]


def test_of_those_that_start_at_once_each_counts_for_the_memory() -> None:
    """The second one would have what the first one has not taken yet."""
    bench = EngineBench("a", "b")
    bench.host = Reading(memory=600 * MB)
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    assert (bench.spawned, bench.waits("b")) == (["a"], Cause.MEMORY)


# ---- the slots alone, whatever happens in any order ----

NAMES = st.sampled_from("abcdef")


class Slots(RuleBasedStateMachine):
    """Who asked is in ``asked`` until it is granted a slot, and then in ``starting``."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.host = Reading()
        self.closed = False
        self.asked: set[str] = set()
        self.starting: set[str] = set()
        self.why: dict[str, Wait] = {}
        self.fleet = FleetState()

    def handle(self, name: str, fact: FleetFact) -> None:
        self.advance(name, fact)
        while self.fleet.read_host_at <= self.now:
            self.advance("", HostRead(left=self.host))

    def advance(self, name: str, fact: FleetFact) -> None:
        self.fleet, posted, _ = fleets.advance(self.fleet, name, fact, Moment(self.now))
        for to, news in posted:
            match news:
                case SlotGranted():
                    self.asked.remove(to)  # nobody who has not asked, or withdrew
                    self.why.pop(to, None)
                    self.starting.add(to)
                case HeldBack(wait):
                    assert to in self.asked
                    self.why[to] = wait
                case _:
                    raise AssertionError(news)

    @rule(name=NAMES, priority=st.integers(0, 2))
    def ask(self, name: str, priority: int) -> None:
        if name in self.starting or self.closed:
            return
        self.asked.add(name)
        self.handle(name, RequestSlot(asked=True, priority=priority))

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        """It gives its slot back, or does not want one any more."""
        self.asked.discard(name)
        self.starting.discard(name)
        self.why.pop(name, None)
        self.handle(name, ReleaseSlot())

    @rule(short=st.booleans())
    def pass_a_second(self, short: bool) -> None:  # noqa: FBT001 - Hypothesis gives names
        self.now += 1.0
        self.host = SHORT if short else AMPLE
        self.handle("", HostRead(left=self.host))

    @rule()
    def close(self) -> None:
        self.closed = True
        self.handle("", Closing())
        self.asked.clear()

    @invariant()
    def never_more_than_the_limit(self) -> None:
        assert self.fleet.starting == self.starting
        assert len(self.starting) <= self.fleet.rules.limits.places

    @invariant()
    def the_fleet_knows_who_waits(self) -> None:
        assert self.fleet.waiting.keys() == self.asked

    @invariant()
    def nobody_waits_in_vain_or_without_a_word(self) -> None:
        assert self.why.keys() >= self.asked
        if self.host != SHORT and self.asked:
            assert len(self.starting) == self.fleet.rules.limits.places


TestSlots = Slots.TestCase
