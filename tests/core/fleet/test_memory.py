"""Sessions that use more memory than their limit: one is replaced at a time, and never in a loop."""

from tests.core.engine_bench import LOADING, EngineBench, Script
from waguard.core.backoff import NEVER
from waguard.core.fleet.facts import Closing, FleetRules, FleetRulesChanged, Measured
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.passkey_link import PasskeyLink, PasskeyStage
from waguard.core.recycle import APART, IDLE
from waguard.core.session.effects import Recycled
from waguard.core.session.facts import StopRequested

MB = 1 << 20
LIMIT = FleetRules(memory_limit=400 * MB)
WHY = "it used 500 MB, worker.memory_limit is 400 MB"


def up(*names: str) -> EngineBench:
    bench = EngineBench(*names, rules=LIMIT)
    bench.start(*names)
    return bench


def uses(bench: EngineBench, memory: int, name: str = "s", *, idle: float | None = IDLE) -> None:
    bench.post(name, Measured(memory=memory * MB, idle=idle))


def replaced(bench: EngineBench, name: str = "s") -> int:
    return len(bench.effects(name, Recycled))


def conditions(bench: EngineBench, name: str = "s") -> list[Kind]:
    return list(bench.state(name).care.found)


def test_one_above_its_limit_is_replaced_when_it_is_idle() -> None:
    bench = up("s")
    uses(bench, 500, idle=IDLE - 1)
    uses(bench, 500, idle=None)  # a call is under way
    assert (bench.spawned, replaced(bench)) == (["s"], 0)
    uses(bench, 500)
    assert bench.link("s") is Link.CONNECTED
    assert (bench.spawned, bench.records("s", "recycled")) == (["s", "s"], [WHY])
    assert (bench.state("s").restarts, bench.records("s", "restart")) == (0, [])


def test_one_far_above_its_limit_is_replaced_at_once() -> None:
    bench = up("s")
    uses(bench, 601, idle=None)
    assert (bench.link("s"), replaced(bench)) == (Link.CONNECTED, 1)


def test_a_transfer_is_cut_off_only_far_above_the_limit_and_not_when_it_is_repeated() -> None:
    """Who sends one large file after the other does not hold it off."""
    bench = up("s")

    def transfers(memory: int) -> int:
        bench.post("s", Measured(memory=memory * MB, idle=IDLE, transferring=True))
        return replaced(bench)

    assert [transfers(500), transfers(600), transfers(601)] == [0, 0, 1]
    assert [transfers(601), transfers(300)] == [1, 1]
    assert (bench.link("s"), conditions(bench)) == (Link.CONNECTED, [])
    bench.pass_time(APART + 100, step=5.0)
    assert transfers(601) == 2


def test_one_is_replaced_after_the_other() -> None:
    bench = up("a", "b")
    bench.scripts["a"] = Script(reports=(LOADING,))
    uses(bench, 500, "a")
    assert (bench.lifecycle("a"), replaced(bench, "a")) == (State.STARTING, 1)
    uses(bench, 500, "b")
    assert replaced(bench, "b") == 0
    bench.report("a")
    uses(bench, 500, "b")
    assert (bench.link("b"), replaced(bench, "b")) == (Link.CONNECTED, 1)


def test_without_a_limit_nothing_is_replaced() -> None:
    bench = up("s")
    bench.post("", FleetRulesChanged(FleetRules(memory_limit=0)))
    uses(bench, 9_000)
    assert replaced(bench) == 0


def test_only_a_session_that_runs_is_evaluated_and_none_while_the_daemon_stops() -> None:
    bench = up("s")
    bench.script = Script(reports=(LOADING,))
    bench.post("s", StopRequested())
    bench.start("s")
    uses(bench, 900)
    assert replaced(bench) == 0
    bench.report("s")
    bench.post("", Closing())
    uses(bench, 900)
    assert (replaced(bench), bench.fleet.read_host_at) == (0, NEVER)


def test_one_that_waits_for_a_passkey_is_left_alone() -> None:
    """A replacement would end its linking."""
    bench = up("s")
    linking = PasskeyLink(stage=PasskeyStage.OFFERED, until=2e9)
    bench.report("s", Link.PASSKEY_REQUIRED, passkey=linking, passkey_left=600.0)
    uses(bench, 900)
    assert (bench.lifecycle("s"), replaced(bench)) == (State.RUNNING, 0)


def test_what_is_large_again_is_reported_and_is_no_loop() -> None:
    bench = up("s")
    uses(bench, 900)
    assert (replaced(bench), conditions(bench)) == (1, [])
    for _ in range(200):
        bench.pass_time(60.0, step=5.0)
        uses(bench, 900)
    assert (replaced(bench), conditions(bench)) == (1, [Kind.MEMORY_IN_VAIN])
    (why,) = bench.records("s", "memory_in_vain")
    assert why
    assert "recycling does not help: it uses 900 MB again" in why
    uses(bench, 300)
    assert conditions(bench) == []
    assert len(bench.records("s", "memory_in_vain_over")) == 1


def test_what_doubles_after_a_replacement_in_vain_gets_another_one() -> None:
    bench, times = up("s"), 0
    for used, helps in ((900, True), (900, False), (1_801, True), (1_801, False)):
        bench.pass_time(APART + 100 if helps else 1, step=5.0)
        uses(bench, used)
        times += helps
        assert (replaced(bench), bench.link("s")) == (times, Link.CONNECTED)
    bench.pass_time(APART + 100, step=5.0)
    uses(bench, 1_801)
    assert replaced(bench) == times, "it has not doubled since"
    assert conditions(bench) == [Kind.MEMORY_IN_VAIN]


def test_one_that_is_no_more_leaves_the_turn_to_others_and_nobody_else_does() -> None:
    bench = up("a", "b", "c")
    bench.scripts["a"] = Script(reports=(LOADING,))
    uses(bench, 500, "a")
    bench.forget("c")
    uses(bench, 500, "b")
    assert replaced(bench, "b") == 0, "a is on its way"
    bench.forget("a")
    uses(bench, 500, "b")
    assert replaced(bench, "b") == 1
