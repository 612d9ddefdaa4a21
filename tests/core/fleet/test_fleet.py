"""The breaker at work: restarts wait, one session is tried, and the others follow when it is up."""

from tests.core.engine_bench import LOADING, EngineBench, Script
from tests.core.fleet.four import BROKEN, FOUR, NOT_STARTED, break_all, canaries, changes, held
from waguard.core.backoff import NEVER
from waguard.core.blame import Blame, Failure
from waguard.core.exits import (
    EXIT_BROWSER_GONE,
    EXIT_BROWSER_NOT_STARTED,
    EXIT_PAGE_NOT_READY,
    EXIT_PROFILE_HELD,
)
from waguard.core.fleet.facts import BreakerChanged, Closing
from waguard.core.host.admission import Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session import views
from waguard.core.session.facts import Adopted, StopRequested, Unusable
from waguard.core.session.restart import RestartPolicy
from waguard.core.session.state import Intent, Rules


def test_the_breaker_opens_once_and_nobody_is_restarted_or_parked(fleet: EngineBench) -> None:
    break_all(fleet)
    why = str(fleet.fleet.view.breaker)
    assert why.startswith("the fleet breaker is open: 3 of 4 sessions failed alike")
    assert NOT_STARTED in why
    opened = BreakerChanged(opened=True, cause=NOT_STARTED, sessions=("a", "b", "c"))
    assert changes(fleet) == [opened]
    before = len(fleet.spawned)
    fleet.pass_time(50)
    assert len(fleet.spawned) == before
    for name in FOUR:
        assert views.details(fleet.state(name)) == why
        assert views.parked_for(fleet.state(name)) is None
        (condition,) = views.conditions(fleet.state(name))
        assert (condition.reason, condition.message) == (Cause.FLEET, why)


def test_one_canary_at_a_time_and_at_intervals(fleet: EngineBench) -> None:
    break_all(fleet)
    assert canaries(fleet) == ["c"]  # at once, and the most important one
    before = len(fleet.spawned)
    fleet.pass_time(58)
    assert len(fleet.spawned) == before
    fleet.pass_time(1)
    assert canaries(fleet) == ["c", "a"]
    assert fleet.spawned[before:] == ["a"]
    assert held(fleet, "a")
    for _ in range(40):  # more often than the budget of a session would allow
        fleet.pass_time(60, step=5.0)
    assert len(fleet.spawned) == before + 41
    assert canaries(fleet)[:9] == ["c", "a", "b", "d", "c", "a", "b", "d", "c"]
    assert all(held(fleet, name) for name in FOUR)
    assert len(changes(fleet)) == 1


def test_what_failed_while_it_was_open_spends_no_budget(fleet: EngineBench) -> None:
    break_all(fleet)
    spent = {name: fleet.state(name).counted for name in FOUR}
    assert not spent["d"]  # which failed when it was open already
    fleet.pass_time(600, step=5.0)
    assert {name: fleet.state(name).counted for name in FOUR} == spent


def test_the_breaker_closes_when_the_canary_is_up_and_the_others_follow(fleet: EngineBench) -> None:
    break_all(fleet)
    fleet.script = Script(reports=(LOADING,))
    fleet.pass_time(59)
    assert fleet.lifecycle("a") is State.STARTING
    fleet.pass_time(5)
    assert all(held(fleet, name) for name in "bcd")
    fleet.script = Script()
    fleet.report("a", Link.QR_PENDING)
    assert all(fleet.link(name) is Link.CONNECTED for name in "bcd")
    assert [it.opened for it in changes(fleet)] == [True, False]
    assert fleet.fleet.view.breaker is None
    assert fleet.fleet.read_host_at == NEVER
    # what was held and is tried now was never counted when it failed
    assert fleet.records("d", "restart") == [NOT_STARTED]
    assert fleet.state("d").restarts == 1


def test_a_canary_whose_page_hangs_does_not_keep_the_others_down_for_ever(
    fleet: EngineBench,
) -> None:
    break_all(fleet)
    fleet.scripts["a"] = Script(reports=(LOADING,))
    fleet.pass_time(59)
    assert fleet.lifecycle("a") is State.STARTING
    fleet.script = Script()
    fleet.pass_time(120)
    assert fleet.link("b") is Link.CONNECTED
    assert [it.opened for it in changes(fleet)] == [True, False]


def test_browsers_that_were_all_killed_at_once_are_back_at_once(fleet: EngineBench) -> None:
    """The first canary does not wait for its interval."""
    fleet.script = Script(held=True)
    for name in FOUR:
        fleet.exit(name, EXIT_BROWSER_GONE)
    assert [it.opened for it in changes(fleet)] == [True]
    fleet.script = Script()
    for name in list(fleet.starting):  # those that were started before it opened
        fleet.runs(name)
    assert all(fleet.link(name) is Link.CONNECTED for name in FOUR)
    assert fleet.fleet.view.breaker is None


def test_a_restart_that_was_under_way_when_it_opened_waits_too(fleet: EngineBench) -> None:
    """It is tried to its end, and that end is not counted."""
    fleet.script = Script(held=True)
    fleet.exit("a", EXIT_BROWSER_NOT_STARTED)
    assert fleet.starting == {"a"}
    fleet.script = BROKEN
    for name in "bcd":
        fleet.exit(name, EXIT_BROWSER_NOT_STARTED)
    assert fleet.fleet.view.breaker
    counted = fleet.state("a").counted
    fleet.runs("a")
    assert held(fleet, "a")
    assert fleet.state("a").counted == counted
    assert fleet.records("a", "restart") == [NOT_STARTED]  # the one that was under way


def test_one_that_waits_for_its_delay_when_it_opens_is_held_when_that_has_passed(
    fleet: EngineBench,
) -> None:
    slow = Rules(restart=RestartPolicy(base_delay=20.0))
    fleet.add("e", rules=slow, counted=(fleet.at,))
    fleet.script = Script()
    fleet.start("e")
    fleet.engine.sessions["e"] = fleet.state("e")
    fleet.script = BROKEN
    fleet.exit("e", EXIT_BROWSER_NOT_STARTED)
    break_all(fleet)
    before = len(fleet.spawned)
    fleet.pass_time(30)
    assert held(fleet, "e")
    assert len(fleet.spawned) == before


def test_what_a_person_asks_for_is_started_all_the_same(fleet: EngineBench) -> None:
    break_all(fleet)
    fleet.scripts["b"] = Script(reports=(LOADING,))
    fleet.start("b")
    assert fleet.lifecycle("b") is State.STARTING
    assert fleet.waits("b") is None
    assert all(held(fleet, name) for name in "acd")


def test_what_a_restore_asks_for_waits(fleet: EngineBench) -> None:
    break_all(fleet)
    fleet.add("new")
    fleet.start("new", asked=False)
    assert (fleet.lifecycle("new"), fleet.waits("new")) == (State.STARTING, Cause.FLEET)


def test_those_that_are_stopped_while_they_are_held_are_never_spawned(fleet: EngineBench) -> None:
    break_all(fleet)
    before = len(fleet.spawned)
    for name in FOUR:
        fleet.post(name, StopRequested())
    assert fleet.fleet.view.breaker is None  # there is nothing left to find out
    assert [it.opened for it in changes(fleet)] == [True, False]
    fleet.pass_time(120)
    assert len(fleet.spawned) == before
    assert {fleet.lifecycle(name) for name in FOUR} == {State.STOPPED}


def test_different_failures_are_no_fleet(fleet: EngineBench) -> None:
    fleet.script = Script()
    codes = (EXIT_BROWSER_NOT_STARTED, EXIT_PAGE_NOT_READY, EXIT_BROWSER_GONE, -9)
    for name, code in zip(FOUR, codes, strict=True):
        fleet.exit(name, code)
        assert fleet.link(name) is Link.CONNECTED
    assert changes(fleet) == []


def test_what_is_the_hosts_fault_is_not_the_fleets(fleet: EngineBench) -> None:
    fleet.script = Script(exits=EXIT_PROFILE_HELD)
    for name in FOUR:
        fleet.exit(name, EXIT_PROFILE_HELD)
    assert {fleet.lifecycle(name) for name in FOUR} == {State.BACKOFF}
    fleet.pass_time(600, step=5.0)
    assert changes(fleet) == []
    assert all(not fleet.state(name).counted for name in FOUR)


def test_sessions_that_hang_alike(fleet: EngineBench) -> None:
    fleet.script = Script(reports=(LOADING,))
    for name in FOUR:
        fleet.post(name, Unusable(worker=fleet.worker(name).number, why=f"silent for {name}"))
    (opened,) = changes(fleet)
    assert (opened.opened, opened.cause) == (True, "a worker or its page hung")


def test_a_restore_in_which_all_fail_waits_as_well() -> None:
    """Those that still wait for a slot say nothing about the fleet."""
    ten = "abcdefghij"
    fleet = EngineBench(*ten)
    fleet.script = Script(held=True)
    fleet.start(*ten, asked=False)
    while fleet.fleet.view.breaker is None:
        fleet.exit(min(fleet.starting), EXIT_BROWSER_NOT_STARTED)
    while others := fleet.starting - {*canaries(fleet)}:
        fleet.exit(min(others), EXIT_BROWSER_NOT_STARTED)
    (canary,) = canaries(fleet)
    assert len(changes(fleet)) == 1
    assert len(set(fleet.spawned)) < len(ten)
    waiting = [name for name in ten if fleet.lifecycle(name) is State.STARTING and name != canary]
    assert waiting
    assert {fleet.waits(name) for name in waiting} == {Cause.FLEET}
    fleet.script = Script()
    fleet.runs(canary)
    fleet.pass_time(2)
    assert all(fleet.link(name) is Link.CONNECTED for name in ten)


def test_while_the_daemon_stops_nobody_is_tried(fleet: EngineBench) -> None:
    break_all(fleet)
    before = len(fleet.spawned)
    fleet.post("", Closing())
    for name in FOUR:
        fleet.post(name, StopRequested(daemon_stopping=True))
    fleet.pass_time(120)
    assert len(fleet.spawned) == before
    assert {fleet.state(name).intent for name in FOUR} == {Intent.DOWN}


def test_the_words_of_a_failure_do_not_divide_the_fleet(fleet: EngineBench) -> None:
    """What one session says of its own is not what two have in common."""
    alike = Failure(Blame.SESSION, "worker_unusable", "a worker or its page hung", "a's words")
    assert str(alike) == "a's words"
    for name in "abc":
        fleet.post(name, Unusable(worker=fleet.worker(name).number, why=f"{name}'s words"))
    assert changes(fleet)[0].cause == alike.cause


def test_an_upgrade_whose_new_workers_do_not_start_ends_no_more_old_ones() -> None:
    """A worker of another version serves its phone: it is better than none."""
    ten = "abcdefghij"
    fleet = EngineBench()
    fleet.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    for name in ten:
        fleet.add(name)
        fleet.post(name, Adopted(outdated=True))
    for name in ten:
        if (worker := fleet.state(name).worker) and worker.outdated:
            fleet.report(name)
    fleet.pass_time(300)
    assert fleet.fleet.breaker.opening
    serving = [name for name in ten if fleet.link(name) is Link.CONNECTED]
    assert len(serving) >= len(ten) - 5, "the breaker opened in time"
    assert {fleet.waits(name) for name in serving} == {Cause.FLEET}
    fleet.script = Script()
    fleet.pass_time(300)
    assert all(fleet.link(name) is Link.CONNECTED for name in ten)
    assert not any(fleet.worker(name).outdated for name in ten)
