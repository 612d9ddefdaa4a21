"""What waguard says of itself."""

from tests.supervision.bench import Bench
from tests.supervision.sessions import until
from tests.supervision.world import World
from waguard.core.link import Link
from waguard.supervision.fleet.readiness import status_line


async def test_sessions_that_nobody_has_read_are_not_none(bench: Bench) -> None:
    await bench.row("a")
    bench.it.fleet.outages.update("database_unknown", "it is another one")
    health = bench.it.health.read()
    assert (health.total, health.known) == (0, False)
    assert status_line(health) == "the number of sessions is unknown; it is another one"
    bench.it.fleet.outages.update("database_unknown", None)
    await bench.restore()
    health = bench.it.health.read()
    assert (health.total, health.known) == (1, True)


async def test_health_counts_and_names(empty: Bench, world: World) -> None:
    await empty.connected("a")
    await empty.connected("b")
    await empty.connected("gone")
    await empty.it.sessions.logout("gone")
    empty.process("b").report("offline")
    await until(empty.session("b"), lambda s: s.link is Link.OFFLINE)
    health = empty.it.health.read()
    assert (health.total, health.connected, health.disconnected) == (3, 1, 2)
    assert health.supervising
    assert health.database
    assert health.restored
    (condition,) = health.conditions  # one that is not wanted is no problem
    assert (condition.session, condition.type, condition.reason) == ("b", "link", "offline")
    assert health.problems == ("b: the phone or the network is away",)
