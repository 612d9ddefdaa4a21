"""Lives of clusters: a session never runs twice, and never for long nowhere."""

from collections.abc import Callable

import pytest

from tests.seeds import SHARE, share_of
from tests.simulation.clock import Violation
from tests.simulation.cluster.campaign import PLANTED_LIVES, broken, campaign
from tests.simulation.cluster.machine import Machine
from tests.simulation.cluster.planted import PLANTED, Planted
from tests.simulation.cluster.world import World, live, recover

SHORT = range(4)
SEEDS = range(10, 20)
RUNS = range(1_000)
WITHIN = 15.0  # s in which a session without an owner runs again


def test_no_session_runs_twice() -> None:
    for seed in SHORT:
        world = live(seed)
        recover(world)
        assert world.rows.takeovers, "nothing moved"


@pytest.mark.parametrize(
    "planted", [it for it in PLANTED if it.seed is not None], ids=lambda it: it.plant.__name__
)
def test_a_planted_mistake_is_found(planted: Planted) -> None:
    with planted.plant():
        assert any(map(breaks, (planted.seed, *SEEDS)))


def breaks(seed: int) -> bool:
    try:
        live(seed)
    except Violation:
        return True
    return False


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("lasts", [10.0, 60.0])
def test_a_thousand_lives(lasts: float) -> None:
    lives = campaign(share_of(RUNS if lasts == 10.0 else RUNS[:100]), lasts=lasts)
    print(f"{sum(it.takeovers for it in lives)} takeovers in {len(lives)} lives")
    assert broken(lives) == []


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda it: it.plant.__name__)
def test_how_often_a_planted_mistake_is_found(planted: Planted) -> None:
    found = broken(campaign(share_of(range(PLANTED_LIVES)), planted.plant.__name__))
    print(f"{planted.plant.__name__}: {len(found)} of {PLANTED_LIVES}")
    assert len(found) >= planted.least // SHARE


# ---- one thing at a time, on a network that loses nothing ----


def calm(seed: int) -> World:
    world = World(seed, faults=False)
    world.time.run(30.0)
    world.all_run()
    return world


def owner(world: World, session: str = "s0") -> Machine:
    return next(it for it in world.machines if it.runs(session))


def gap(world: World, seconds: float) -> float:
    """The longest time in which a session ran nowhere."""
    since: dict[str, float] = {}
    longest = 0.0
    end = world.time.t + seconds
    while world.time.t < end:
        world.time.run(world.time.t + 0.1)
        for session in world.sessions:
            if any(it.runs(session) for it in world.machines):
                since.pop(session, None)
            else:
                longest = max(longest, world.time.t - since.setdefault(session, world.time.t))
    world.all_run()
    return longest


def power_off(machine: Machine) -> None:
    machine.reboot()


def freeze(machine: Machine) -> None:
    assert machine.daemon
    machine.daemon.frozen = True


def cut(machine: Machine) -> None:
    machine.cut = True


@pytest.mark.parametrize("fail", [power_off, freeze, cut], ids=lambda it: it.__name__)
def test_a_lost_host_s_sessions_run_again(fail: Callable[[Machine], None]) -> None:
    for seed in range(4):
        world = calm(seed)
        fail(owner(world))
        assert gap(world, 40.0) <= WITHIN
        claims = world.rows.claims
        world.time.run(world.time.t + 60.0)
        assert world.rows.claims == claims


@pytest.mark.parametrize(
    ("away", "seconds"),
    [("engine", 3.0), ("database", 30.0)],
    ids=["the engine elects a leader", "the database is away"],
)
def test_no_session_is_stopped(away: str, seconds: float) -> None:
    for seed in range(4):
        world = calm(seed)
        claims = world.rows.claims
        world.for_a_while(getattr(world, away), "away", seconds)
        assert gap(world, seconds + 30.0) == 0.0
        assert world.rows.claims == claims


def test_no_session_moves_while_the_engine_is_away() -> None:
    for seed in range(4):
        world = calm(seed)
        before = {it: owner(world, it).name for it in world.sessions}
        world.for_a_while(world.engine, "away", 30.0)
        world.time.run(world.time.t + 60.0)
        assert {it: owner(world, it).name for it in world.sessions} == before


def test_a_restart_ends_nothing() -> None:
    for seed in range(4):
        world = calm(seed)
        machine = owner(world)
        starts = world.starts
        machine.kill_daemon()
        world.time.after(1.0, machine.start)
        assert gap(world, 60.0) == 0.0
        assert world.starts == starts


def test_a_drained_host_is_empty() -> None:
    for seed in range(4):
        world = calm(seed)
        machine = owner(world)
        machine.drain = True
        assert gap(world, 40.0) <= WITHIN
        room = sum(it.max_sessions for it in world.machines if it is not machine)
        assert not machine.workers or room < len(world.sessions)


def test_a_session_moves_to_the_host_that_was_asked_for() -> None:
    world = calm(1)
    here = owner(world)
    there = next(it for it in world.machines if it is not here)
    there.max_sessions = 4
    world.time.run(world.time.t + 5.0)
    here.move("s0", there.name)
    world.time.run(world.time.t + 15.0)
    assert owner(world) is there
