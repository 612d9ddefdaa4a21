"""Where only a place is missing the worker is started, and its Chromium waits for the start slot."""

import pytest
from msgspec.structs import replace

from tests.core.engine_bench import EngineBench, Script
from tests.core.fleet.test_slots import AMPLE, PATIENT, places, two_are_starting
from waguard.core.blame import Blame, Failure
from waguard.core.exits import EXIT_BROWSER_GONE
from waguard.core.fleet.facts import AcksSeen, FleetRulesChanged, HostRead
from waguard.core.fleet.slots import AHEAD
from waguard.core.host.admission import Cause, Reading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session.effects import Spawn, StartBrowser, Terminate
from waguard.core.session.facts import (
    Adopted,
    Beat,
    Fact,
    Moved,
    RestartRequested,
    SpecChanged,
    StartRequested,
    Stopped,
    StopRequested,
    Unusable,
)
from waguard.core.session.state import Slot


def ahead(*others: str) -> EngineBench:
    """``c`` waits with a worker, while ``a`` and ``b`` hold the two slots."""
    bench = two_are_starting("c", *others, rules=PATIENT)
    bench.add("c")  # with the limits of every day
    bench.start("c")
    assert [it.waits for it in bench.effects("c", Spawn)] == [True]
    assert bench.worker("c").waits
    return bench


def began(bench: EngineBench) -> int:
    return len(bench.effects("c", StartBrowser))


def test_its_chromium_starts_with_the_slot() -> None:
    bench = ahead()
    assert (bench.state("c").slot, bench.waits("c"), began(bench)) == (
        Slot.REQUESTED,
        Cause.PLACE,
        0,
    )
    bench.report("a")
    assert (bench.state("c").slot, bench.waits("c"), began(bench)) == (Slot.HELD, None, 1)
    assert bench.fleet.starting == {"b", "c"}


def test_one_that_needs_no_chromium_gives_its_request_back() -> None:
    bench = ahead()
    bench.report("c")
    assert bench.link("c") is Link.CONNECTED
    assert (bench.state("c").slot, "c" in bench.fleet.waiting) == (Slot.FREE, False)


def test_with_the_slot_the_time_of_its_start_begins() -> None:
    bench = ahead()
    bench.script = Script(reports=())
    bench.scripts["c"] = Script(reports=(), obeys=False)
    bench.pass_time(500)
    bench.report("a")
    bench.pass_time(59)
    assert bench.effects("c", Terminate) == []
    bench.pass_time(2)
    assert [it.why and it.why.reason for it in bench.effects("c", Terminate)] == ["not_ready"]


def test_one_that_says_nothing_while_it_waits_is_ended() -> None:
    bench = ahead()
    bench.at += 61
    bench.tick()
    assert [it.why and it.why.reason for it in bench.effects("c", Terminate)] == ["not_ready"]


def test_one_that_stands_still_while_it_waits_is_ended() -> None:
    bench = ahead()
    bench.post("c", Stopped(worker=bench.worker("c").number))
    assert [it.why and it.why.reason for it in bench.effects("c", Terminate)] == ["stopped"]


@pytest.mark.parametrize("again", [False, True])
def test_a_stop_while_it_waits(again: bool) -> None:  # noqa: FBT001 - a parameter of the test
    bench = ahead()
    bench.post("c", StopRequested())
    assert [it.why for it in bench.effects("c", Terminate)] == [None]
    assert "c" not in bench.fleet.waiting
    assert bench.lifecycle("c") is State.STOPPED
    if again:
        bench.start("c")
        assert bench.worker("c").waits
    bench.report("a")
    assert began(bench) == int(again)


def test_one_that_dies_while_it_waits_is_replaced_and_waits_again() -> None:
    bench = ahead()
    bench.exit("c", -9)
    bench.pass_time(5)
    assert [it.waits for it in bench.effects("c", Spawn)] == [True, True]
    bench.report("a")
    assert began(bench) == 1


def test_one_whose_daemon_was_not_connected_is_let_start_when_it_says_that_it_waits() -> None:
    bench = ahead()
    bench.scripts["c"] = Script(held=True)
    bench.report("a")
    bench.report("c", Link.UNKNOWN, phase="launching", waits=True)
    assert began(bench) == 2
    bench.report("c", Link.UNKNOWN, phase="loading")
    bench.report("c")
    assert began(bench) == 2
    assert bench.fleet.starting == {"b"}


def test_an_adopted_one_that_waits_requests_a_slot() -> None:
    bench = two_are_starting("c")
    bench.scripts["c"] = Script(held=True)
    bench.post("c", Adopted())
    bench.report("c", Link.UNKNOWN, phase="launching", waits=True)
    assert (bench.state("c").slot, began(bench)) == (Slot.REQUESTED, 0)
    bench.report("a")
    assert began(bench) == 1
    assert bench.fleet.starting == {"b", "c"}
    bench.report("c", Link.UNKNOWN, phase="loading")
    assert bench.fleet.starting == {"b", "c"}, "its start uses a core"
    bench.report("c")
    assert bench.fleet.starting == {"b"}


def test_a_restart_changes_nothing_while_it_waits() -> None:
    bench = ahead()
    bench.post("c", RestartRequested(why="a test"))
    bench.post("c", StartRequested(restart=True))
    bench.report("a")
    assert (began(bench), bench.effects("c", Terminate)) == (1, [])


def test_one_that_was_started_for_what_is_over_is_replaced_and_keeps_its_slot() -> None:
    bench = ahead()
    bench.scripts["c"] = Script(held=True)
    bench.report("a")
    bench.post("c", SpecChanged(worker=bench.worker("c").number))
    assert [it.why for it in bench.effects("c", Terminate)] == [None]
    assert [it.waits for it in bench.effects("c", Spawn)] == [True, False]
    assert bench.fleet.starting == {"b", "c"}
    assert (bench.state("c").counted, bench.state("c").restarts) == ((), 0)
    assert bench.records("c", "restart") == []


def test_a_page_that_is_there_was_started_for_what_held() -> None:
    bench = ahead()
    bench.report("a")
    bench.report("c")
    bench.post("c", SpecChanged(worker=bench.worker("c").number))
    assert bench.effects("c", Terminate) == []


def test_a_persons_start_is_requested_although_a_worker_waits() -> None:
    """Neither a breaker that opens nor the order of a restore may delay it."""
    bench = two_are_starting("c")
    bench.start("c", asked=False)
    assert not bench.fleet.waiting["c"].asked_for.asked
    bench.start("c")
    assert bench.fleet.waiting["c"].asked_for.asked
    assert len(bench.effects("c", Spawn)) == 1


def test_no_more_than_some_are_ahead() -> None:
    names = [f"s{number:02}" for number in range(AHEAD + 5)]
    bench = two_are_starting(*names)
    bench.start(*names)
    with_worker = [name for name in names if bench.effects(name, Spawn)]
    assert with_worker == names[:AHEAD]
    bench.report("a")
    assert [name for name in names if bench.effects(name, Spawn)] == names[: AHEAD + 1]


def rolling(asks: Fact, others: int = AHEAD) -> EngineBench:
    """``a`` and ``b`` hold the two slots, ``others`` sessions that work are to be replaced, and ``s`` works."""
    names = [f"r{number:02}" for number in range(others)]
    bench = two_are_starting(rules=PATIENT)
    for name in (*names, "s"):
        bench.add(name, rules=PATIENT)
        bench.post(name, Adopted())
        bench.report(name)
    for name in names:
        bench.post(name, Moved(priority=9, active=9.0))
        bench.post(name, asks)
    assert all(bench.waits(name) is Cause.PLACE for name in names)
    assert all(bench.link(name) is Link.CONNECTED for name in names)
    return bench


@pytest.mark.parametrize(
    "asks", [RestartRequested(why="a test"), StartRequested(restart=True)], ids=["planned", "asked"]
)
def test_who_is_to_be_replaced_takes_nobodys_room_ahead(asks: Fact) -> None:
    bench = rolling(asks)
    bench.exit("s", EXIT_BROWSER_GONE)
    assert bench.waits("s") is Cause.PLACE
    assert [it.waits for it in bench.effects("s", Spawn)] == [True]


def test_a_crash_comes_before_planned_work() -> None:
    bench = rolling(RestartRequested(why="a test"), others=3)
    bench.exit("s", EXIT_BROWSER_GONE)
    bench.report("a")
    assert bench.spawned[2:] == ["s"]
    bench.report("s")
    assert len(bench.spawned) == 4, "and then the planned ones"


def test_one_that_dies_before_its_planned_replacement_is_started_ahead() -> None:
    bench = rolling(RestartRequested(why="a test"), others=1)
    bench.exit("r00", EXIT_BROWSER_GONE)
    assert [it.waits for it in bench.effects("r00", Spawn)] == [True]


def test_one_that_is_restarted_while_it_ends_is_started_ahead() -> None:
    bench = rolling(RestartRequested(why="a test"), others=1)
    bench.scripts["r00"] = Script(obeys=False)
    bench.post("r00", Unusable(worker=1, why="a test"))
    bench.post("r00", StartRequested(restart=True))
    bench.exit("r00", 0)
    assert [it.waits for it in bench.effects("r00", Spawn)] == [True]


def test_while_only_those_wait_that_work_nothing_is_decided_again() -> None:
    bench = rolling(RestartRequested(why="a test"))
    before = bench.fleet.waiting
    bench.post("a", AcksSeen())
    assert bench.fleet.waiting is before


@pytest.mark.parametrize(
    "host",
    [
        Reading(memory=310 << 20),
        Reading(pids=10),
        Reading(lease="the lease is running out"),
        Reading(disk=Failure(Blame.HOST, "disk_full", "a disk is full")),
        Reading(executable="there is no Chromium"),
        Reading(unreadable="it is not mounted"),
    ],
    ids=["memory", "pids", "lease", "disk", "executable", "folder"],
)
def test_none_is_ahead_where_more_than_a_place_is_missing(host: Reading) -> None:
    bench = two_are_starting("c")
    bench.host = host
    bench.post("", HostRead(left=host))
    bench.start("c")
    assert (bench.waits("c"), bench.effects("c", Spawn)) == (Cause.PLACE, [])
    bench.host = AMPLE
    bench.post("", HostRead(left=AMPLE))
    assert [it.waits for it in bench.effects("c", Spawn)] == [True]


def test_more_places_let_it_start() -> None:
    bench = ahead()
    bench.post("", FleetRulesChanged(places(bench, 3)))
    assert began(bench) == 1


def test_a_heartbeat_while_it_waits_is_heard() -> None:
    bench = ahead()
    worker = bench.worker("c")
    bench.post("c", Beat(worker=worker.number, at=bench.at + 5))
    assert replace(worker, heard_at=bench.at + 5) == bench.worker("c")


def test_a_burst_needs_no_slot_for_its_forks() -> None:
    names = ("a", "b", "c", "d")
    bench = EngineBench(*names, "e", "f", "g", "h", "i")  # so many that the breaker stays closed
    bench.start(*names, "e", "f", "g", "h", "i")
    bench.script = Script(held=True)
    for name in names:
        bench.exit(name, -9)
    bench.pass_time(2)
    assert [len(bench.effects(name, Spawn)) for name in names] == [2, 2, 2, 2]
    assert len(bench.fleet.starting) == 2
