"""Workers that are late with their heartbeats: one is its own, many together are the host's."""

import pytest

from tests.core.engine_bench import EngineBench
from waguard.core.session.effects import Terminate
from waguard.core.session.facts import Beat
from waguard.core.session.state import Rules

LIMITS = Rules().limits


def up(count: int) -> EngineBench:
    names = [f"s{n}" for n in range(count)]
    bench = EngineBench(*names)
    bench.start(*names)
    bench.pass_time(30)
    return bench


def pass_seconds(bench: EngineBench, seconds: int, *, late: set[str]) -> None:
    """All are heard but these."""
    for _ in range(seconds):
        bench.at += 1
        for name, state in list(bench.engine.sessions.items()):
            if state.worker and name not in late:
                beat = Beat(worker=state.worker.number, at=bench.at, page_at=bench.at)
                bench.post(name, beat)
        bench.tick()


def ended(bench: EngineBench) -> set[str]:
    return {name for name, effect in bench.done if isinstance(effect, Terminate)}


def names(count: int) -> set[str]:
    return {f"s{n}" for n in range(count)}


@pytest.mark.parametrize(
    ("late", "of", "many"),
    [(1, 1, False), (1, 2, False), (2, 2, True), (2, 20, True), (2, 30, False), (3, 30, True)],
)
def test_two_that_are_a_tenth_of_the_fleet_are_many(late: int, of: int, *, many: bool) -> None:
    bench = up(of)
    pass_seconds(bench, 4, late=names(late))
    assert bench.fleet.view.many_late is many
    assert bench.fleet.late == names(late)
    pass_seconds(bench, 1, late=names(late))
    assert ended(bench) == (set() if many else names(late))


def test_many_have_longer_and_not_forever() -> None:
    bench = up(10)
    pass_seconds(bench, 9, late=names(10))
    assert ended(bench) == set()
    pass_seconds(bench, 1, late=names(10))
    assert ended(bench) == names(10)
    assert bench.fleet.late == set()
    assert not bench.fleet.view.many_late


def test_the_last_ones_of_many_have_as_long_as_the_first() -> None:
    """A host that recovers serves one after the other."""
    bench = up(10)
    pass_seconds(bench, 6, late=names(10))
    pass_seconds(bench, 3, late=names(1))
    assert bench.fleet.late == {"s0"}
    assert ended(bench) == set()
    pass_seconds(bench, 1, late=set())
    assert bench.fleet.late == set()
    pass_seconds(bench, 5, late=names(1))
    assert ended(bench) == {"s0"}, "it is over, and this one is alone"


def test_a_daemon_that_was_late_itself_ends_nobody_before_all_lateness_is_known() -> None:
    bench = up(10)
    bench.at += LIMITS.worker + 1
    bench.tick()
    assert ended(bench) == set()
    assert bench.fleet.view.many_late
    bench.tick()
    assert ended(bench) == set()


def test_a_worker_behind_a_page_that_is_silent_falls_silent_too() -> None:
    bench = up(1)
    for _ in range(3):
        bench.at += 1
        bench.post("s0", Beat(worker=1, at=bench.at))
        bench.tick()
    assert bench.worker("s0").unresponsive == "the page does not answer"
    pass_seconds(bench, 3, late={"s0"})
    assert bench.worker("s0").unresponsive == "the worker does not answer"
    pass_seconds(bench, 2, late={"s0"})
    assert ended(bench) == {"s0"}


def test_a_session_that_is_forgotten_is_late_no_more() -> None:
    bench = up(2)
    pass_seconds(bench, 3, late=names(2))
    bench.forget("s0")
    assert bench.fleet.late == {"s1"}
