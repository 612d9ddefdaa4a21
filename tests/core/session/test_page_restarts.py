"""A page that is loaded again and again: counted against its session, and never with the fleet's other pages."""

from typing import Any

from tests.core.engine_bench import EngineBench, connected
from waguard.core.blame import Blame
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.row_status import ParkCause
from waguard.core.session.effects import Reload, Spawn, Terminate
from waguard.core.session.facts import Reported, StartRequested
from waguard.core.session.page_restarts import APART, SIGN
from waguard.core.session.state import Rules, Stage
from waguard.core.session.views import conditions, parked_for

POLICY = Rules().restart


def load(bench: EngineBench, name: str = "s", *, scripts: int = 0) -> None:
    """Its page is loaded, and is as before a second later. ``scripts``: how many were ended so far."""
    worker = bench.worker(name)
    number, loads = worker.number, worker.loads + 1

    def report(link: Link, loads: int) -> None:
        """Harmless where that worker is gone."""
        said: dict[str, Any] = {"phase": "ready", "scripts_ended": scripts, "loads": loads}
        bench.post(name, Reported(worker=number, at=bench.at, link=link, **said))

    if scripts:  # that is reported first
        report(Link.CONNECTED, loads - 1)
    report(Link.UNKNOWN, loads)
    if scripts:  # the page that is about to be loaded again is read once more
        report(Link.CONNECTED, loads)
        report(Link.UNKNOWN, loads := loads + 1)
    bench.pass_time(1)
    report(Link.CONNECTED, loads)


def loops(
    bench: EngineBench, seconds: float, *names: str, every: float = 5.0, spins: bool = False
) -> None:
    """Each page that is connected is loaded again, all the time."""
    end = bench.at + seconds
    while bench.at < end:
        bench.pass_time(every)
        for name in names or ("s",):
            worker = bench.state(name).worker
            if worker and worker.stage is Stage.READY and worker.link is Link.CONNECTED:
                load(bench, name, scripts=worker.scripts_ended + 1 if spins else 0)


def kinds(bench: EngineBench, name: str = "s") -> list[str]:
    return [it.type for it in conditions(bench.state(name))]


def test_a_page_that_reloads_itself_now_and_then_is_healthy() -> None:
    bench = connected()
    loops(bench, 3_600, every=300)
    assert kinds(bench) == []
    assert bench.effects("s", Terminate) == []


def test_one_that_does_it_all_the_time_is_named_replaced_and_parked() -> None:
    bench = connected()
    loops(bench, 1)
    bench.pass_time(1)
    for _ in range(SIGN - 1):
        bench.pass_time(APART)
        load(bench)
    (condition,) = conditions(bench.state("s"))
    assert (condition.type, condition.blame) == ("page_restarts", Blame.SESSION)
    assert "loaded again 3 times within" in condition.message
    assert condition.degrades
    while parked_for(bench.state("s")) is None:
        assert bench.at < 1_000.0 + 300.0
        loops(bench, 5)
    assert parked_for(bench.state("s")) is ParkCause.RESTART_BUDGET
    assert bench.effects("s", Spawn) == [Spawn(1), Spawn(2)], "another worker was tried once"
    (first,) = bench.records("s", "restart")
    assert first
    assert "its page was loaded again 6 times" in first
    assert "another worker did not help" in str(bench.state("s").failure)


def test_the_next_worker_waits_for_the_backoff() -> None:
    bench = connected()
    while not bench.effects("s", Terminate):
        loops(bench, 5)
    assert bench.lifecycle("s") is State.BACKOFF
    wait = bench.state("s").not_before - bench.at
    assert 0.0 < wait <= min(POLICY.max_delay, POLICY.base_delay * 2.0 ** (POLICY.intensity - 1))


def test_a_script_that_spins_is_named_too() -> None:
    bench = connected()
    while not bench.effects("s", Terminate):
        assert bench.at < 1_000.0 + 300.0
        loops(bench, 20, every=19.0, spins=True)
    (restart,) = bench.records("s", "restart")
    assert restart
    assert "6 times because its script did not end" in restart


def test_a_try_of_the_parked_session_is_given_up_after_one_worker() -> None:
    bench = connected()
    while parked_for(bench.state("s")) is None:
        loops(bench, 5)
    before = len(bench.effects("s", Spawn))
    tries = bench.state("s").retries.tries
    while bench.state("s").retries.tries == tries or parked_for(bench.state("s")) is None:
        loops(bench, 5)
    assert len(bench.effects("s", Spawn)) == before + 1
    bench.post("s", StartRequested())
    assert bench.state("s").care.page_ends == 0, "a person begins a new count"


def test_the_condition_is_over_after_a_period_without_a_load() -> None:
    bench = connected()
    for _ in range(4):
        load(bench)
        bench.pass_time(5)
    assert kinds(bench) == ["page_restarts"]
    bench.pass_time(POLICY.period)
    assert kinds(bench) == []
    assert bench.state("s").care.loads == ()
    assert bench.records("s", "page_restarts_over") == ["it is over"]


def test_loads_that_are_asked_for_and_tries_without_a_network_do_not_count() -> None:
    bench = connected()
    for loads in range(1, 20):
        bench.report("s", Link.OFFLINE, loads=loads)
        bench.pass_time(2)
    assert len(bench.state("s").care.loads) <= 1, "the page that was connected was loaded once"
    bench = connected()
    bench.report("s", update_offered=True)
    bench.pass_time(2)
    assert len(bench.effects("s", Reload)) == 1
    load(bench)
    assert bench.state("s").care.loads == ()


def test_a_build_that_reloads_is_whatsapps_and_costs_nobody_anything() -> None:
    names = tuple("abcd")
    bench = EngineBench(*names)
    bench.start(*names)
    loops(bench, 900, *names)
    assert bench.outages("pages_restart_everywhere")[0]
    for name in names:
        assert bench.effects(name, Terminate) == []
        (condition,) = conditions(bench.state(name))
        assert (condition.type, condition.blame) == ("page_restarts", Blame.WHATSAPP)
    bench.pass_time(POLICY.period + 10)
    assert bench.outages("pages_restart_everywhere")[-1] is None
    assert all(Kind.PAGE_RESTARTS not in bench.state(name).care.found for name in names)


def test_one_of_many_is_not_the_build() -> None:
    names = tuple("abcd")
    bench = EngineBench(*names)
    bench.start(*names)
    while parked_for(bench.state("a")) is None:
        loops(bench, 5, "a")
    assert bench.outages("pages_restart_everywhere") == []
    assert {bench.lifecycle(name) for name in "bcd"} == {State.RUNNING}


def test_the_loads_of_an_unlink_and_a_pairing_are_not_counted() -> None:
    bench = connected()

    def says(link: Link, *, loaded: bool = False) -> None:
        worker = bench.worker("s")
        loads = worker.loads + loaded
        bench.pass_time(APART)
        bench.post(
            "s",
            Reported(worker=worker.number, at=bench.at, phase="ready", link=link, loads=loads),
        )

    for _ in range(SIGN):
        says(Link.UNKNOWN, loaded=True)  # WhatsApp Web loads itself after a logout
        says(Link.QR_PENDING)
        says(Link.SYNCING)
        says(Link.SYNCING, loaded=True)  # its storage is closed, to have the credentials on disk
        says(Link.CONNECTED)
        assert "page_restarts" not in kinds(bench)
    loops(bench, 60)
    assert "page_restarts" in kinds(bench)
