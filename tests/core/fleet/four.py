"""What is asked of a fleet of four, and how all of it fails."""

from tests.core.engine_bench import EngineBench, Script
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.fleet.facts import BreakerChanged, CanaryStarted
from waguard.core.host.admission import Cause
from waguard.core.lifecycle import State

FOUR = ("a", "b", "c", "d")
BROKEN = Script(exits=EXIT_BROWSER_NOT_STARTED)
NOT_STARTED = "Chromium did not start"


def changes(fleet: EngineBench) -> list[BreakerChanged]:
    return [it for it in fleet.of_fleet if isinstance(it, BreakerChanged)]


def canaries(fleet: EngineBench) -> list[str]:
    return [it.session for it in fleet.of_fleet if isinstance(it, CanaryStarted)]


def held(fleet: EngineBench, name: str) -> bool:
    return (fleet.lifecycle(name), fleet.waits(name)) == (State.BACKOFF, Cause.FLEET)


def break_all(fleet: EngineBench) -> None:
    """The third failure alike opens it."""
    for name in FOUR:
        fleet.exit(name, EXIT_BROWSER_NOT_STARTED)
    fleet.pass_time(1)  # the delay of those that failed before it opened
    assert all(held(fleet, name) for name in FOUR)
