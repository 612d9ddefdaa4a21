"""One session, "s", in a state that several files begin with, and what is asked of it there."""

from typing import Any

from tests.core.engine_bench import EngineBench, Script
from waguard.core.blame import Failure
from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_BROWSER_NOT_STARTED
from waguard.core.fleet.network import Reading
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.row_status import DerivedStatus, Status
from waguard.core.session.effects import Terminate
from waguard.core.session.facts import Adopted, Beat, Fact, StopRequested
from waguard.core.session.state import Stage
from waguard.core.session.views import parked_for

ROW = DerivedStatus(Status.CONNECTED)
GHOST = "its socket is OPENING, its stream MAIN NORMAL"
AWAY = Reading(reachable=False, error="refused")


def spawning() -> EngineBench:
    """It has no process yet."""
    made = EngineBench("s")
    made.script = Script(held=True)
    made.start("s")
    return made


def adopting() -> EngineBench:
    """With an earlier daemon's worker, not heard yet; the row says connected."""
    made = EngineBench()
    made.add("s", status=ROW)
    made.post("s", Adopted())
    return made


def ending(bench: EngineBench, fact: Fact | None = None) -> EngineBench:
    """It was asked to end, and does not."""
    bench.script = Script(obeys=False)
    bench.post("s", fact or StopRequested())
    assert bench.worker("s").stage is Stage.ENDING
    return bench


def spend(bench: EngineBench) -> EngineBench:
    """It spends its restarts."""
    bench.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    bench.exit("s", EXIT_BROWSER_GONE)
    while parked_for(bench.state("s")) is None:
        bench.pass_time(1)
    return bench


def number(bench: EngineBench) -> int:
    return bench.worker("s").number


def workers(bench: EngineBench) -> int:
    return bench.state("s").workers


def beat(bench: EngineBench, *, page: bool = True) -> None:
    at = bench.at if page else None
    bench.post("s", Beat(worker=number(bench), at=bench.at, page_at=at))


def ended_for(bench: EngineBench) -> list[Failure | None]:
    return [it.why for it in bench.effects("s", Terminate)]


def said(bench: EngineBench, link: Link, **fields: Any) -> None:
    bench.report("s", link, **fields)


def kinds(bench: EngineBench) -> list[Kind]:
    return list(bench.state("s").care.found)


def done(bench: EngineBench) -> tuple[int, int]:
    """Reloads and planned replacements so far."""
    return bench.reloads("s"), len(bench.records("s", "recycled"))
