"""A canary is one that may start: those that spent their restarts wait for their turn."""

from tests.core.engine_bench import EngineBench, Script
from tests.core.fleet.four import BROKEN, FOUR, break_all, canaries, changes
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.link import Link
from waguard.core.session.facts import StopRequested

SPENT = ("0", "1")  # canaries are chosen by name


def with_spent() -> EngineBench:
    """The breaker is open for ``FOUR``; two that spent their restarts before want to be tried, "1" for longer."""
    bench = EngineBench(*SPENT, *FOUR)
    bench.scripts = dict.fromkeys(SPENT, BROKEN)
    bench.start(*FOUR)
    for name in reversed(SPENT):
        bench.start(name)
        while bench.state(name).retries.at is None:
            bench.pass_time(1)
    assert not changes(bench)
    bench.script = BROKEN
    break_all(bench)
    while not bench.fleet.waiting.keys() >= {*SPENT, *FOUR}:
        bench.pass_time(1)
    bench.done.clear()
    bench.of_fleet.clear()
    return bench


def test_one_that_spent_its_restarts_is_no_canary_while_others_are_held() -> None:
    bench = with_spent()
    bench.script = Script()
    while bench.fleet.breaker.opening:
        bench.pass_time(1)
    (canary,) = canaries(bench)
    assert canary in FOUR
    assert bench.spawned[0] == canary


def test_where_no_others_are_held_it_is_the_one_whose_turn_it_is() -> None:
    bench = with_spent()
    for name in FOUR:
        bench.post(name, StopRequested())
    while not canaries(bench):
        bench.pass_time(1)
    assert canaries(bench) == bench.spawned == ["1"]


def test_no_canary_is_spent_while_none_may_start() -> None:
    bench = with_spent()
    bench.network = NetworkReading(reachable=False, error="refused")
    bench.scripts |= dict.fromkeys(("x", "y"), Script(reports=({"link": Link.OFFLINE},)))
    for name in ("x", "y"):
        bench.add(name)
    bench.start("x", "y")
    for name in FOUR:
        bench.post(name, StopRequested())
    while not bench.fleet.network_down:
        bench.pass_time(1)
    bench.of_fleet.clear()
    bench.pass_time(120)
    assert not canaries(bench)
    assert not changes(bench)
    bench.network = NetworkReading(reachable=True)
    while not canaries(bench):
        bench.pass_time(1)
    assert bench.spawned[-1:] == canaries(bench)
