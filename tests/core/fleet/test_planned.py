"""Planned replacements come last, and get their slot."""

from tests.core.engine_bench import EngineBench
from tests.core.fleet.test_slots import PATIENT, SHORT, two_are_starting
from waguard.core.exits import EXIT_BROWSER_GONE
from waguard.core.fleet.facts import HostRead
from waguard.core.link import Link
from waguard.core.passkey_link import PasskeyLink, PasskeyStage
from waguard.core.session.facts import Adopted, Moved, RestartRequested, StartRequested


def two_more() -> EngineBench:
    """Both slots are taken; "s" and "low" are connected, and only "s" matters."""
    bench = two_are_starting(rules=PATIENT)
    for name in ("s", "low"):
        bench.add(name, rules=PATIENT)
        bench.post(name, Adopted())
        bench.report(name)
    bench.post("s", Moved(priority=9, active=9.0))
    return bench


def test_who_is_replaced_because_of_its_memory_is_not_held_up_by_the_lack_of_it() -> None:
    bench = two_more()
    bench.host = SHORT
    bench.post("", HostRead(left=SHORT))
    bench.exit("low", EXIT_BROWSER_GONE)
    bench.post("s", RestartRequested(why="it used 3000 MB"))
    bench.pass_time(10)
    bench.report("a")
    bench.pass_time(25)
    bench.report("b")
    bench.report("low")
    bench.pass_time(1)
    assert bench.spawned[2:] == ["low", "s"]


def test_a_restart_by_a_person_does_not_stay_planned() -> None:
    bench = two_more()
    bench.post("s", RestartRequested(why="a newer version"))
    assert bench.fleet.waiting["s"].asked_for.planned
    bench.post("s", StartRequested(restart=True))
    assert not bench.fleet.waiting["s"].asked_for.planned
    bench.exit("low", EXIT_BROWSER_GONE)
    bench.report("a")
    assert bench.spawned[2] == "s"


def test_who_does_not_work_is_not_planned() -> None:
    bench = two_more()
    bench.report("s", Link.OFFLINE)
    while "s" not in bench.fleet.waiting:
        bench.pass_time(10)
    assert not bench.fleet.waiting["s"].asked_for.planned
    bench.exit("low", EXIT_BROWSER_GONE)
    bench.report("a")
    assert bench.spawned[2] == "s"


def test_a_linking_by_passkey_keeps_no_slot_of_a_replacement_that_waits_for_its_end() -> None:
    bench = two_more()
    bench.post("s", RestartRequested(why="a newer version"))
    assert bench.fleet.waiting.keys() == {"s"}
    linking = PasskeyLink(stage=PasskeyStage.ASKED, until=2e9)
    bench.report("s", Link.PASSKEY_REQUIRED, passkey=linking, passkey_left=600.0)
    bench.report("a")
    bench.report("b")
    bench.pass_time(1)
    assert not bench.fleet.starting
    assert bench.spawned == ["a", "b"]
    bench.report("s")
    bench.pass_time(1)
    assert bench.spawned[2:] == ["s"]
