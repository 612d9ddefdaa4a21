"""Decisions that were wrong once, as stories: restarts, acks, memory, people and time."""

import itertools

import pytest

from tests.simulation.chronicle import BEGIN, Chronicle, of_all, own
from tests.simulation.clock import Violation
from tests.simulation.faults import Fault
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.row_status import DerivedStatus, ParkCause, Reason, Status
from waguard.core.session import effects as do
from waguard.core.session.facts import Left, ParkRequested, StartRequested, StopRequested
from waguard.core.session.views import conditions, parked_for

# ---- the budget ----


def test_a_spent_budget_is_tried_again_ever_more_rarely() -> None:
    story = Chronicle(own("crash_loop", "s0", 9_000.0)).until(8_900.0)
    assert parked_for(story.state("s0")) is ParkCause.RESTART_BUDGET
    tries = story.recorded("retried", "s0")
    pauses = [later - one for one, later in itertools.pairwise(tries)]
    assert len(pauses) >= 2
    assert all(1.2 * a < b <= 1.25 * 3_600.0 for a, b in itertools.pairwise(pauses))
    assert story.until(9_000.0 + 1.2 * 3_600.0 + 60.0).all_up()
    assert story.world.persons.total() == 0


# ---- acks ----


def test_two_sessions_without_acks_are_replaced_one_after_the_other() -> None:
    story = Chronicle(own("no_acks", "s0"), own("no_acks", "s1"), sessions=2).until(900.0)
    (first, one, _), (second, other, _) = story.did(do.Terminate)
    assert {one, other} == {"s0", "s1"}
    assert second - first >= 60.0
    assert all(page.deaf_since is None for page in story.world.pages.values())


def test_acks_that_are_missing_everywhere_are_tried_out_by_one_session_each_ten_minutes() -> None:
    story = Chronicle(of_all("acks_everywhere", 3_000.0), sessions=5).until(2_900.0)
    assert [begun for _, begun in story.outages("acks_missing_everywhere")] == [True]
    ends = story.did(do.Terminate)
    assert len({name for _, name, _ in ends}) == len(ends) <= 5
    assert all(b - a >= 179.0 for (a, _, _), (b, _, _) in itertools.pairwise(ends))


def test_acks_that_come_again_cost_nobody_a_worker() -> None:
    story = Chronicle(of_all("acks_everywhere", 880.0), sessions=3).until(870.0)
    before = len(story.did(do.Terminate))
    story.until(1_500.0)
    assert story.outages("acks_missing_everywhere")[-1][1] is False
    assert len(story.did(do.Terminate)) == before


# ---- memory ----


def test_a_session_that_was_stopped_is_measured_again() -> None:
    story = Chronicle(own("memory", "s0", 1_000.0), own("operator_stop", "s0", 20.0, at=400.0))
    story.until(390.0)
    assert Kind.MEMORY_IN_VAIN in story.state("s0").care.found
    story.until(410.0)
    engine = story.world.engine
    assert engine is not None
    assert engine.fleet.memory_in_vain == {}


def test_a_session_that_is_stopped_while_it_is_replaced_leaves_the_turn_to_others() -> None:
    story = Chronicle(
        own("memory", "s0", 1_000.0), own("memory", "s1", 1_000.0), sessions=2, seed=3
    ).until(0.1)
    engine = story.world.engine
    assert engine is not None
    for _ in range(3_000):
        if engine.fleet.recycling:
            break
        story.until(story.world.t - BEGIN + 0.1)
    name = engine.fleet.recycling
    assert name is not None
    story.world.strikes.begin(Fault(story.world.t, "operator_stop", name, story.world.t + 5_000.0))
    story.until(story.world.t - BEGIN + 20.0)
    assert engine.fleet.recycling != name


# ---- people and the application ----


def test_a_session_that_is_taken_back_for_the_fourth_time_is_parked() -> None:
    story = Chronicle(own("conflict", "s1", 600.0)).until(500.0)
    assert len(story.did(do.TakeOver)) == 3
    assert parked_for(story.state("s1")) is ParkCause.CONFLICT
    assert story.until(700.0).all_up()
    assert story.world.persons == {"conflict": 1}


def test_a_page_that_hangs_once_it_is_taken_back_is_not_parked_for_the_conflict_it_reported() -> (
    None
):
    story = Chronicle(own("conflict", "s1", 600.0), own("page_hang", "s1", 14.0, at=33.0))
    assert parked_for(story.until(60.0).state("s1")) is None
    assert story.until(700.0).all_up()


def test_a_row_that_is_removed_and_created_again_a_second_later_lives() -> None:
    story = Chronicle(own("removed", "s0", 1.0)).until(60.0)
    assert story.all_up()


def test_a_session_that_was_deleted_and_is_wanted_again_is_parked_where_its_profile_is_gone() -> (
    None
):
    story = Chronicle().until(1.0)
    page = story.world.pages["s0"]
    page.desired = False
    for fact in (Left(), StopRequested()):
        story.world.request(page, fact)
    assert not story.until(60.0).up("s0")
    assert conditions(story.state("s0")) == ()
    page.desired = True
    missing = ParkRequested(cause=ParkCause.PROFILE_MISSING, details="there is none")
    story.world.request(page, missing)
    [found] = conditions(story.until(120.0).state("s0"))
    assert (found.reason, found.degrades) == ("profile_missing", True)
    assert page.row == DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "there is none")
    story.world.request(page, StartRequested())
    assert story.until(300.0).all_up()


def test_a_session_that_is_not_wanted_is_not_restored() -> None:
    story = Chronicle(own("desired_down", "s0", 600.0), of_all("daemon", 5.0, at=100.0)).until(
        500.0
    )
    assert story.world.pages["s0"].row.status is Status.DISCONNECTED
    assert not story.world.pages["s0"].alive
    assert story.until(700.0).all_up()


def test_a_phone_number_that_was_cleared_is_written_again() -> None:
    for seed in range(1, 20):
        story = Chronicle(own("row_changed", "s0"), seed=seed).until(3.0)
        if story.world.pages["s0"].phone is None:
            break
    assert story.world.pages["s0"].phone is None
    story.until(60.0)
    assert story.world.pages["s0"].phone == "49"
    assert story.did(do.Publish) == []


def test_an_operators_restart_renews_the_budget() -> None:
    story = Chronicle(own("crash_loop", "s0", 200.0)).until(190.0)
    assert parked_for(story.state("s0")) is ParkCause.RESTART_BUDGET
    story.until(205.0)
    story.world.request(story.world.pages["s0"], StartRequested())
    story.until(220.0)
    assert story.all_up()
    assert story.state("s0").counted == ()


# ---- time ----


def test_a_standstill_of_the_daemon_makes_nobody_unresponsive() -> None:
    story = Chronicle(of_all("standstill", 80.0), dense=True).until(200.0)
    assert story.all_up()
    assert story.did(do.Terminate) == []
    assert story.did(do.ResponsivenessChanged) == []


def test_a_logout_while_the_daemon_stands_still_is_no_unlink() -> None:
    stands_still = of_all("standstill", 64.0, at=20.0)
    story = Chronicle(stands_still, own("logout", "s1", at=80.0)).until(120.0)
    assert "unlinked" not in {it.type for it in conditions(story.state("s1"))}


def test_a_reload_that_was_asked_for_while_a_worker_hung_comes_when_it_goes_on() -> None:
    stuck = own("stuck_offline", "s0")
    story = Chronicle(stuck, own("worker_hang", "s0", 4.6, at=178.0)).until(600.0)
    assert story.all_up()


def test_a_page_that_spins_while_the_daemon_stands_still_is_counted_when_it_goes_on() -> None:
    spins = own("page_spins", "s0", 600.0)
    story = Chronicle(spins, of_all("standstill", 20.0, at=70.0)).until(100.0)
    assert story.did(do.Terminate, "s0")[0][0] >= 90.0


def test_a_step_of_the_wall_clock_changes_nothing() -> None:
    story = Chronicle(of_all("wall_step"), dense=True).until(100.0)
    assert story.effects == []


@pytest.mark.parametrize("seed", [2, 12])
def test_a_worker_that_is_replaced_while_its_chromium_starts_has_the_time_to_close(
    seed: int,
) -> None:
    """What it was about to say of its start comes no more."""
    story = Chronicle(own("kill_worker", "s0"), own("reconnect", "s0", at=0.2), seed=seed)
    story.until(30.0)
    assert len(story.starts("s0")) == 2
    assert story.did(do.Kill) == []
    assert story.all_up()


def test_a_page_that_hangs_is_reported_after_two_seconds_and_replaced_after_ten() -> None:
    story = Chronicle(own("page_hang", "s0", 120.0), dense=True).until(100.0)
    silent = [at for at, _, it in story.did(do.ResponsivenessChanged, "s0") if it.unresponsive]
    assert 1.0 < silent[0] <= 3.0
    assert 9.0 < story.did(do.Terminate, "s0")[0][0] <= 11.0
    assert story.all_up()
    assert story.world.workers.link(story.world.pages["s0"]) is Link.CONNECTED


def test_a_page_that_answers_again_is_silent_no_more() -> None:
    faults = own("page_hang", "s0", 4.0), own("link_unknown", "s0", 1.0, at=2.7)
    story = Chronicle(*faults).until(600.0)
    assert story.all_up()


def test_a_violation_stops_a_world() -> None:
    story = Chronicle()
    try:
        story.world.workers.start(story.world.pages["s0"], 7, waits=False)
    except Violation as found:
        assert "is started beside" in str(found)  # noqa: PT017 - that it is raised is asserted below
        return
    raise AssertionError("a second worker of one profile is nobody's matter")
