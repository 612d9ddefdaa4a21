"""Of sessions that spent their restarts, or whose Chromium starts for nobody, one is tried at a time."""

import pytest

from tests.core.engine_bench import LOADING, EngineBench, Script
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED, EXIT_BROWSER_UNUSABLE
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import TRIAL, Cause, Reading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session.facts import StopRequested
from waguard.core.session.probe import Limits
from waguard.core.session.state import Rules

PATIENT = Rules(limits=Limits(start=1e6))


# ---- one at a time ----


def spent(*names: str) -> EngineBench:
    """Up to two sessions that spent their restarts."""
    bench = EngineBench()
    for name in names:
        bench.add(name, rules=PATIENT)
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    bench.start(*names)
    while any(bench.state(name).retries.at is None for name in names):
        bench.pass_time(1)
    bench.script = Script(reports=(LOADING,))
    bench.done.clear()
    return bench


@pytest.mark.parametrize("end", ["it is up", "it fails", "it is stopped", "it is forgotten"])
def test_of_those_that_spent_their_restarts_one_is_tried_at_a_time(end: str) -> None:
    bench = spent("a", "b")
    bench.pass_time(400, step=5)  # both are due
    (first,) = bench.spawned
    (second,) = {"a", "b"} - {first}
    assert bench.lifecycle(second) is State.PARKED
    bench.pass_time(20)
    assert bench.spawned == [first]
    match end:
        case "it is up":
            bench.report(first)
        case "it fails":
            bench.exit(first, EXIT_BROWSER_NOT_STARTED)
        case "it is stopped":
            bench.post(first, StopRequested())
        case _:
            bench.forget(first)
    bench.pass_time(1)
    assert bench.spawned == [first, second]


def test_the_tries_of_others_hold_up_nobody_else() -> None:
    bench = spent("a", "b")
    bench.pass_time(400, step=5)
    bench.add("c")
    (second,) = {"a", "b"} - set(bench.spawned)
    bench.start("c", second)
    assert bench.spawned[1:] == ["c"], "the other place"
    bench.report("c")
    assert bench.spawned[2:] == [second], "a person asked for it"


def test_none_of_them_is_tried_while_the_network_is_away() -> None:
    bench = spent("a")
    for name in ("b", "c"):
        bench.add(name)
        bench.scripts[name] = Script(reports=({"link": Link.OFFLINE},))
    bench.network = NetworkReading(reachable=False, error="refused")
    bench.start("b", "c")
    bench.pass_time(400, step=5)
    assert bench.fleet.network_down
    assert bench.spawned == ["b", "c"]
    bench.network = NetworkReading(reachable=True)
    bench.pass_time(2)
    assert bench.spawned == ["b", "c", "a"]


# ---- a Chromium that starts for nobody ----

LAUNCHING = Script(reports=({"phase": "launching", "link": Link.UNKNOWN},))


def broken(*names: str) -> EngineBench:
    """The first has failed for that, the others have just asked."""
    bench = EngineBench(*names)
    bench.script = Script(exits=EXIT_BROWSER_UNUSABLE)
    bench.start(*names)
    assert bench.spawned == [names[0]]
    return bench


def test_one_tries_it_every_ten_seconds_and_nobody_else() -> None:
    bench = broken("a", "b", "c")
    assert {bench.waits(name) for name in "abc"} == {Cause.EXECUTABLE}
    bench.pass_time(9)
    assert len(bench.spawned) == 1
    bench.pass_time(1)
    assert len(bench.spawned) == 2
    bench.pass_time(10)
    assert len(bench.spawned) == 3
    assert len([why for why in bench.outages("browser_missing") if why]) == 1


def test_when_it_starts_for_the_one_the_others_follow_at_once() -> None:
    bench = broken("a", "b", "c")
    bench.script = LAUNCHING
    bench.pass_time(10)
    trial = bench.spawned[-1]
    assert len(bench.spawned) == 2
    bench.report(trial, Link.UNKNOWN, phase="loading")
    bench.pass_time(1)
    assert len(bench.spawned) == 3
    assert bench.fleet.broken is None
    assert bench.outages("browser_missing")[-1] is None


def test_the_executable_is_missing_until_the_one_that_tries_it_has_it() -> None:
    bench = broken("a")
    bench.script = LAUNCHING
    bench.pass_time(10)
    assert bench.spawned == ["a", "a"]
    bench.pass_time(40)  # nobody waits, and nobody knows
    assert None not in bench.outages("browser_missing")
    bench.report("a")
    bench.pass_time(1)
    assert bench.outages("browser_missing")[-1] is None


def test_a_try_that_began_before_chromium_answered_again_is_not_counted() -> None:
    bench = broken("a", "b")
    bench.script = LAUNCHING
    bench.pass_time(10)
    trial = bench.spawned[-1]
    bench.exit(trial, EXIT_BROWSER_NOT_STARTED)  # it hung, and ``--version`` is well by now
    bench.pass_time(1)
    assert set(bench.spawned[2:]) == {"a", "b"}, "nobody waits any more"
    assert bench.state(trial).counted == ()
    bench.exit(trial, EXIT_BROWSER_NOT_STARTED)
    assert len(bench.state(trial).counted) == 1, "Chromium answers for the others"


def test_one_that_is_missing_is_another_one_when_it_is_there_again() -> None:
    bench = broken("a", "b")
    bench.host = Reading(executable="there is none")
    bench.pass_time(15)
    assert len(bench.spawned) == 1
    bench.host = Reading()
    bench.script = LAUNCHING
    bench.pass_time(1)
    assert len(bench.spawned) == 3, "its failures do not count for the next executable"


def test_when_nobody_wants_to_start_any_more_nothing_is_known_to_be_missing() -> None:
    bench = broken("a")
    bench.pass_time(1)
    assert None not in bench.outages("browser_missing") != []
    bench.post("a", StopRequested())
    bench.pass_time(2 * TRIAL - 2)
    assert None not in bench.outages("browser_missing"), "it may be tried again soon"
    bench.pass_time(2)
    assert bench.outages("browser_missing")[-1] is None
    bench = EngineBench("a")
    bench.host = Reading(unreadable="it is not mounted")
    bench.start("a")
    assert bench.outages("sessions_folder_missing") == ["it is not mounted"]
    bench.post("a", StopRequested())
    assert bench.outages("sessions_folder_missing") == ["it is not mounted", None]
