"""What waguard says of itself."""

from tests.supervision.bench import Bench
from tests.supervision.sessions import until
from tests.supervision.world import World
from waguard.core.conditions import acks_late
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


async def test_what_was_read_last_is_read_again_when_something_was_decided_or_reported(
    empty: Bench, world: World
) -> None:
    await empty.connected("a")
    health = empty.it.health
    before = health.newest()
    assert health.newest() is before
    empty.process("a").report("offline")
    await until(empty.session("a"), lambda s: s.link is Link.OFFLINE)
    assert [it.reason for it in health.newest().conditions] == ["offline"]
    empty.it.fleet.outages.update("network_down", "no route")
    assert "no route" in [it.message for it in health.newest().conditions]
    found = health.newest()
    health.report("messages", [acks_late("a", "2 wait", since=1.0)])
    assert health.newest() is not found


async def test_what_nothing_decided_is_read_within_seconds(empty: Bench, world: World) -> None:
    await empty.connected("a")
    before = empty.it.health.newest()
    world.clock.now += 5.0
    assert empty.it.health.newest() is not before
