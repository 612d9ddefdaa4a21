"""Decisions that were wrong once, each as a short story: faults in, what happened out."""

import itertools
from collections.abc import Callable

import pytest

from tests.simulation.chronicle import BEGIN, Chronicle, of_all, own
from tests.simulation.faults import ANOTHER
from tests.simulation.world import World
from waguard.core.fleet.facts import BreakerChanged, CanaryStarted
from waguard.core.lifecycle import State
from waguard.core.page_care import Kind
from waguard.core.row_status import Status
from waguard.core.session import effects as do
from waguard.core.session.state import Intent
from waguard.core.session.views import conditions, lifecycle, parked_for

# ---- adoption ----


def test_an_adoption_announces_nothing_and_writes_nothing() -> None:
    story = Chronicle(of_all("daemon", 1.0)).until(60.0)
    assert story.all_up()
    assert story.recorded("adopted") != []
    assert story.did(do.Publish) == []
    assert story.did(do.WriteStatus) == []


def test_a_worker_that_died_with_its_daemon_is_an_outage_of_its_session_alone() -> None:
    story = Chronicle(of_all("daemon", 10.0), own("kill_worker", "s1", at=5.0)).until(120.0)
    assert story.all_up()
    assert {name for _, name, _ in story.did(do.WriteStatus)} == {"s1"}


def test_workers_outlive_a_database_that_is_away_at_the_start_of_a_daemon() -> None:
    story = Chronicle(of_all("daemon", 5.0), of_all("database", 200.0)).until(300.0)
    assert story.all_up()
    assert story.did(do.Spawn) == []


@pytest.mark.parametrize("kind", ANOTHER)
def test_workers_outlive_another_database_at_the_start_of_a_daemon(kind: str) -> None:
    story = Chronicle(of_all("daemon", 5.0), of_all(kind, 200.0)).until(300.0)
    assert story.all_up()
    assert story.did(do.Spawn) == []


def test_an_upgrade_replaces_two_at_a_time_and_each_serves_until_then() -> None:
    story = Chronicle(of_all("upgrade", 2.0), sessions=12).until(300.0)
    assert story.all_up()
    ends = [at for at, _, _ in story.did(do.Terminate)]
    assert len(ends) == 12
    together = [sum(0.0 <= other - one < 1.0 for other in ends) for one in ends]
    assert max(together) <= 4  # two slots, each of them free again after a second
    assert story.did(do.Publish, None, lambda it: it.event == "session_disconnected")[-1][0] > 6.0


def test_an_old_worker_that_hangs_while_it_waits_for_its_slot_is_no_promise() -> None:
    story = Chronicle(
        of_all("executable", 600.0),
        of_all("upgrade", 2.0, at=5.0),
        own("page_hang", "s0", 500.0, at=20.0),
        sessions=3,
        dense=True,
    ).until(60.0)
    assert [page.alive for page in story.world.pages.values()] == [False, True, True]
    assert story.world.pages["s0"].row.status is Status.DISCONNECTED
    assert story.until(700.0).all_up()


# ---- heartbeats ----


@pytest.mark.parametrize("dense", [False, True])
def test_a_worker_that_says_nothing_is_replaced_after_five_seconds(*, dense: bool) -> None:
    story = Chronicle(own("worker_hang", "s0", 60.0), sessions=12, dense=dense).until(30.0)
    ((at, name, _),) = story.did(do.Kill)
    assert (name, 4.0 <= at < 7.0) == ("s0", True)
    assert story.all_up()


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("sessions", [2, 12])
def test_nobody_is_replaced_where_the_host_lets_all_workers_wait(
    *, sessions: int, dense: bool
) -> None:
    story = Chronicle(of_all("host_stall", 7.0), sessions=sessions, dense=dense).until(60.0)
    assert story.did(do.ResponsivenessChanged) != []
    assert story.did(do.Terminate) == []
    assert story.all_up()


@pytest.mark.parametrize("dense", [False, True])
def test_workers_that_do_not_come_back_with_the_others_are_replaced(*, dense: bool) -> None:
    hung = (own("worker_hang", "s0", 60.0), own("worker_hang", "s1", 60.0))
    story = Chronicle(of_all("host_stall", 4.0), *hung, dense=dense, sessions=12).until(40.0)
    assert {name for _, name, _ in story.did(do.Kill)} == {"s0", "s1"}
    assert all(9.0 <= at < 12.0 for at, _, _ in story.did(do.Terminate))
    assert story.all_up()


# ---- the host ----


def test_a_missing_executable_spends_no_restart_and_needs_no_person() -> None:
    story = Chronicle(of_all("executable", 600.0), own("kill_worker", "s0", at=10.0)).until(300.0)
    assert parked_for(story.state("s0")) is None
    assert [it.reason for it in conditions(story.state("s0"))] == ["executable"]
    assert [begun for _, begun in story.outages("browser_missing")] == [True]
    story.until(620.0)
    assert story.all_up()
    assert [begun for _, begun in story.outages("browser_missing")] == [True, False]


def test_a_folder_that_is_not_mounted_yet_parks_nobody() -> None:
    story = Chronicle(of_all("orderly", 10.0), of_all("folder", 400.0)).until(300.0)
    states = [story.state(name) for name in story.world.pages]
    assert all(state.intent is Intent.UP and state.worker is None for state in states)
    story.until(430.0)
    assert story.all_up()
    assert story.recorded("parked") == []


def test_a_full_disk_opens_no_breaker_and_spends_no_restart() -> None:
    story = Chronicle(of_all("disk_full", 60.0), sessions=4).until(58.0)
    assert not story.all_up()
    assert all(state.counted == () for state in map(story.state, story.world.pages))
    assert story.did(BreakerChanged) == []
    assert story.until(90.0).all_up()


def test_a_chromium_that_starts_for_nobody_is_tried_by_one_at_a_time() -> None:
    story = Chronicle(of_all("unusable", 300.0), of_all("fleet_kill")).until(290.0)
    tries = [at for at in story.starts() if at > 20.0]
    assert all(later - one >= 9.0 for one, later in itertools.pairwise(tries))
    assert len(tries) > 10
    assert story.recorded("parked") == []
    assert story.until(400.0).all_up()


def test_a_session_that_was_killed_for_its_memory_waits_for_memory() -> None:
    story = Chronicle(of_all("memory_short", 300.0), own("oom_kill", "s0", at=10.0)).until(200.0)
    assert [it.reason for it in conditions(story.state("s0"))] == ["memory"]
    assert story.until(330.0).all_up()


# ---- WhatsApp ----


def test_http_500_spends_no_restart_also_of_one_session() -> None:
    story = Chronicle(own("refused_one", "s0", 1_500.0), own("kill_worker", "s0", at=1.0)).until(
        1_400.0
    )
    state = story.state("s0")
    assert lifecycle(state) is State.RUNNING
    assert Kind.WHATSAPP_REFUSES in state.care.found
    assert len(story.starts("s0")) == 1
    story.until(3_000.0)
    assert story.all_up()
    assert story.recorded("parked") == []


def _asks(story: Chronicle) -> list[float]:
    """When a page was asked for, at the daemon's word."""
    return [at for at, _, _ in story.did(do.Reload)] + story.starts()


def test_a_fleet_that_whatsapp_does_not_serve_does_not_ask_each_minute() -> None:
    """All have lost their workers; ten sessions' pages are refused before that is known."""
    story = Chronicle(
        of_all("whatsapp_500", 7_200.0), of_all("fleet_kill", at=1.0), sessions=40
    ).until(7_190.0)
    late = sorted(at for at in _asks(story) if at > 60.0)
    assert 6 <= len(late) <= 16
    assert all(later - one >= 59.0 for one, later in itertools.pairwise(late))
    assert [begun for _, begun in story.outages("whatsapp_refuses")] == [True]
    story.until(7_200.0 + 1.5 * 900.0 + 300.0)
    assert story.all_up()
    assert [begun for _, begun in story.outages("whatsapp_refuses")] == [True, False]
    assert story.recorded("parked") == []


def test_an_unhealthy_canary_does_not_keep_the_others_down() -> None:
    story = Chronicle(
        own("refused_one", "s0", 9_000.0),
        of_all("whatsapp_500", 400.0),
        *(own("kill_worker", f"s{number}", at=1.0) for number in range(6)),
        sessions=6,
    ).until(2_400.0)
    assert [name for name in story.world.pages if not story.up(name)] == ["s0"]
    assert story.outages("whatsapp_refuses")[-1][1] is False
    story.until(9_000.0 + 1_400.0)
    assert story.all_up()


@pytest.mark.parametrize("seed", [2, 6, 7, 8])
def test_a_start_that_is_refused_after_all_were_closes_no_others(seed: int) -> None:
    """WhatsApp serves again; the start of one session is refused for a cause of its own."""
    story = Chronicle(
        own("refused_one", "s0", 9_000.0),
        of_all("whatsapp_500", 600.0),
        of_all("fleet_kill", at=1.0),
        sessions=40,
        seed=seed,
    ).until(600.0)
    while not (over := [at for at, begun in story.outages("whatsapp_refuses") if not begun]):
        story.until(story.world.t - BEGIN + 30.0)
    story.until(over[0] + 60.0)
    assert {name for name in story.world.pages if not story.up(name)} <= {"s0"}
    assert [begun for _, begun in story.outages("whatsapp_refuses")] == [True, False]


def test_a_person_who_restarts_the_session_that_asks_for_all_is_not_kept_waiting() -> None:
    crash = own("crash", "s0")
    [asked_at] = Chronicle(crash, seed=7).until(100.0).starts()
    assert asked_at > 60.0, "its page is unknown to wa-js, which counts as a refusal"
    restart = own("operator_restart", "s0", at=asked_at + 0.3)
    story = Chronicle(crash, restart, seed=7).until(100.0)
    assert len(story.starts("s0")) == 2
    assert story.all_up()


def test_a_session_that_alone_is_refused_is_asked_for_ever_and_holds_no_start_up() -> None:
    story = Chronicle(
        own("refused_one", "s0", 40_000.0),
        own("kill_worker", "s0", at=1.0),
        own("kill_worker", "s1", at=20_000.0),
    ).until(20_000.0 + 120.0)
    assert story.up("s1")
    story.until(39_900.0)
    asks = story.recorded("reloaded", "s0")
    assert len(asks) > 25
    assert max(b - a for a, b in itertools.pairwise(asks)) < 1.5 * 900.0 + 120.0
    story.until(40_000.0 + 1_400.0)
    assert story.all_up()


def test_retry_after_is_honoured_by_all() -> None:
    story = Chronicle(
        of_all("whatsapp_429", 5_000.0), of_all("fleet_kill", at=1.0), sessions=8
    ).until(4_900.0)
    late = sorted(at for at in _asks(story) if at > 60.0)
    assert len(late) >= 2
    assert all(later - one >= 1_200.0 for one, later in itertools.pairwise(late))
    assert late[0] >= 1_200.0


def test_a_newer_version_of_the_page_is_met_by_reloads_and_then_by_a_condition() -> None:
    story = Chronicle(own("update", "s0", 20_000.0), seed=7)
    story.world.draw = _never_cured(story.world)  # type: ignore[method-assign]
    story.until(15_000.0)
    assert len(story.recorded("reloaded", "s0")) == 2
    assert Kind.UPDATE_PERSISTS in story.state("s0").care.found
    assert story.did(do.Terminate) == []
    assert story.all_up()


def _never_cured(world: World) -> Callable[..., float]:
    right = world.draw
    return lambda *what: 0.99 if what[0] == "updated" else right(*what)


# ---- the network ----


def test_one_phone_that_is_off_since_yesterday_hides_no_outage() -> None:
    phone, away = own("phone_off", "s0", 90_000.0), of_all("network_unsure", 700.0, at=80_000.0)
    story = Chronicle(phone, away, sessions=6).until(80_600.0)
    assert [begun for _, begun in story.outages("network_down")] == [True]
    assert {name for _, name, _ in story.did(do.Reload)} == {"s0"}


def test_no_default_route_is_no_evidence() -> None:
    story = Chronicle(of_all("no_route", 3_000.0), own("stuck_offline", "s0", at=10.0)).until(
        2_000.0
    )
    assert story.outages("network_down") == []
    assert story.all_up()


def test_a_network_that_is_away_costs_nobody_a_reload_or_a_restart() -> None:
    story = Chronicle(of_all("network", 3_600.0)).until(3_500.0)
    assert len(story.outages("network_down")) == 1
    assert story.did(do.Reload) == []
    assert story.until(3_700.0).all_up()
    assert story.did(do.Terminate) == []


# ---- links that do not move ----


def test_a_link_that_does_not_move_has_its_page_loaded_and_then_its_worker_replaced() -> None:
    for kind, limit in (
        ("stuck_offline", 180.0),
        ("stuck_pairing", 600.0),
        ("stuck_syncing", 900.0),
    ):
        story = Chronicle(own(kind, "s0"))
        story.world.draw = _only_a_worker_helps(story.world)  # type: ignore[method-assign]
        story.until(2.5 * limit)
        (reloaded,), (replaced,) = story.recorded("reloaded"), story.recorded("recycled")
        assert limit <= reloaded < limit + 5.0
        assert 2 * limit <= replaced < 2 * limit + 10.0
        assert story.all_up()


def _only_a_worker_helps(world: World) -> Callable[..., float]:
    right = world.draw
    return lambda *what: 0.0 if what[0] == "cure" else right(*what)


def test_a_phone_that_is_off_ends_in_advice_and_is_tried_again_each_hour() -> None:
    story = Chronicle(own("phone_off", "s0", 10_000.0)).until(9_900.0)
    assert Kind.LINK_STUCK in story.state("s0").care.found
    reloads = story.recorded("reloaded", "s0")
    assert len(reloads) == len(story.recorded("recycled", "s0")) == 3
    assert all(b - a > 3_600.0 for a, b in itertools.pairwise(reloads))
    story.until(10_100.0)
    assert story.all_up()
    assert conditions(story.state("s0")) == ()


def test_what_was_tried_against_one_link_is_not_held_against_the_next() -> None:
    story = Chronicle(own("stuck_offline", "s0"), own("stuck_syncing", "s0", at=500.0))
    story.world.draw = _only_a_worker_helps(story.world)  # type: ignore[method-assign]
    story.until(500.0 + 2 * 900.0 + 30.0)
    assert story.all_up()
    assert len(story.recorded("reloaded")) == len(story.recorded("recycled")) == 2


def test_a_replacement_that_waits_for_a_slot_is_given_up_when_the_link_moves() -> None:
    story = Chronicle(
        own("phone_off", "s0", 400.0), of_all("executable", 500.0, at=200.0), sessions=2
    ).until(900.0)
    assert story.all_up()
    assert story.did(do.Terminate) == []


def test_a_timer_under_an_unsure_network_does_not_spin() -> None:
    story = Chronicle(
        own("stuck_offline", "s0"), of_all("network_unsure", 2_000.0, at=20.0), sessions=4
    )
    assert story.until(2_500.0).all_up()
    assert len(story.recorded("reloaded", "s0")) == 1


# ---- the breaker ----


def test_a_session_that_is_unhealthy_for_its_own_reasons_keeps_nobody_else_down() -> None:
    story = Chronicle(
        of_all("fleet_crash", 300.0), own("crash_loop", "s0", 3_000.0), sessions=6, seed=2
    ).until(480.0)
    assert [name for name in story.world.pages if not story.up(name)] == ["s0"]
    assert len({effect.session for _, _, effect in story.did(CanaryStarted)}) > 1


def test_a_canary_is_chosen_only_when_it_can_start() -> None:
    story = Chronicle(of_all("fleet_crash", 400.0), sessions=6, seed=2).until(390.0)
    assert len(story.did(CanaryStarted)) > 5
    for at, _, canary in story.did(CanaryStarted):
        starts = story.starts(canary.session)
        assert any(at <= started < at + 1.0 for started in starts), canary
