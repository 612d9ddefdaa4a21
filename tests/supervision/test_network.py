"""The host's network is away: it is told once, nobody is restarted, and all come back by themselves."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.supervision.bench import CONNECTED, LOADING, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import heard, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.fleet.network import Reading
from waguard.core.incidents.folding import fold_fleet
from waguard.core.incidents.sentences import sentences
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.ports.bus import BusEvent
from waguard.supervision.session.actor import SessionActor

FOUR = ("a", "b", "c", "d")
REFUSED = "web.whatsapp.com:443: Connection refused"
AWAY, THERE = Reading(reachable=False, error=REFUSED), Reading(reachable=True)
WHY = f"WhatsApp cannot be reached from this host: {REFUSED}"


@pytest.fixture
async def fleet(bench: Bench, world: World) -> AsyncIterator[Bench]:
    """Four sessions that are up."""
    world.spawn.script = Script(reports=(CONNECTED,))
    for name in FOUR:
        await bench.row(name)
    assert await bench.restore() == "restored 4"
    yield bench
    world.spawn.script = Script(reports=(CONNECTED,))


async def ticks(fleet: Bench, world: World, seconds: int) -> None:
    """With workers and pages that are heard."""
    for _ in range(seconds):
        world.clock.advance(1.0)
        for session in fleet.it.registry.sessions:
            if session.runner.process:
                heard(session)
        await fleet.it.watchdog.watch()


async def lose(fleet: Bench, *names: str) -> None:
    for name in names:
        fleet.process(name).report("offline")
        await until(fleet.session(name), lambda s: s.link is Link.OFFLINE)


async def find(fleet: Bench, *names: str) -> None:
    for name in names:
        fleet.process(name).report("connected")
        await until(fleet.session(name), lambda s: s.link is Link.CONNECTED)


def incidents(world: World) -> list[BusEvent]:
    return [event for event in world.events("incident") if event.session_id is None]


async def reported(world: World, *kinds: str) -> None:
    """All that was told of the fleet so far."""
    await wait_until(lambda: len(incidents(world)) >= len(kinds), "it is told")
    assert [event.data["kind"] for event in incidents(world)] == list(kinds)


async def test_a_host_without_a_way_is_reported_once_and_when_it_is_back(
    fleet: Bench, world: World
) -> None:
    before = {name: fleet.process(name) for name in FOUR}
    world.network = AWAY
    await ticks(fleet, world, 5)
    assert fleet.it.health.read().problems == ()  # every socket is still there
    await lose(fleet, "a")
    await ticks(fleet, world, 1)
    assert fleet.it.mailbox.fleet.network_down is None  # the others are connected
    await lose(fleet, "b", "c", "d")
    await ticks(fleet, world, 1)
    assert fleet.it.health.read().problems[0] == WHY
    view = await fleet.it.sessions.view("a")
    assert (view.status, view.link) == ("disconnected", "offline")
    assert (view.disconnect_reason, view.disconnect_details) == ("timeout", WHY)
    await ticks(fleet, world, 900)
    assert {name: fleet.process(name) for name in FOUR} == before
    world.network = THERE
    await ticks(fleet, world, 5)
    await find(fleet, *FOUR)
    await ticks(fleet, world, 1)
    assert fleet.it.health.read().problems == ()
    await reported(world, "network_down", "network_up")
    await wait_until(lambda: world.audited("network_up"), "it is on the trail")
    (incident,) = fold_fleet(await world.store.audit(None))
    assert sentences(incident) == [
        f"Cause: {WHY}.",
        "Done: no session was restarted for it.",
        "Result: the network was back, and the sessions reconnected by themselves after 902.0 s.",
    ]


async def test_all_that_lose_their_socket_at_once(fleet: Bench, world: World) -> None:
    """Nobody can ask WhatsApp's address, as behind a proxy."""
    await lose(fleet, "a", "b", "c")
    await ticks(fleet, world, 1)
    assert not incidents(world)
    await lose(fleet, "d")
    await ticks(fleet, world, 1)
    await reported(world, "network_down")
    assert incidents(world)[0].data["reason"] == "4 of 4 sessions lost WhatsApp at once"
    await find(fleet, "a")
    await ticks(fleet, world, 1)
    assert fleet.it.mailbox.fleet.network_down is None


async def test_a_start_needs_no_network_and_its_time_begins_when_it_is_back(
    fleet: Bench, world: World
) -> None:
    world.network = AWAY
    await lose(fleet, *FOUR)
    await ticks(fleet, world, 1)
    world.spawn.script = Script(reports=(LOADING,))
    fleet.process("a").exit(13)
    await until(
        fleet.session("a"), lambda s: s.lifecycle is State.STARTING and s.runner.process is not None
    )
    starting = fleet.process("a")
    await ticks(fleet, world, 300)
    assert fleet.process("a") is starting
    world.network = THERE
    await find(fleet, "b", "c", "d")
    await ticks(fleet, world, 50)
    assert fleet.process("a") is starting
    await ticks(fleet, world, 10)
    await until(fleet.session("a"), lambda s: s.runner.process is not starting)


async def test_a_restore_without_a_network_gives_nobody_up(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def until_offline(
        session: SessionActor, condition: Callable[[SessionActor], bool], **_: float
    ) -> bool:
        """Its time is over when it has said so, however slow the machine is."""
        await wait_until(lambda: session.link is Link.OFFLINE, "it is offline")
        return condition(session)

    monkeypatch.setattr(SessionActor, "wait_until", until_offline)
    world.network = AWAY
    world.spawn.script = Script(reports=({"phase": "ready", "link": "offline"},))
    for name in "ab":
        await bench.row(name)
    assert await bench.restore() == "offline 2"
    await ticks(bench, world, 300)
    assert bench.it.health.read().problems[0] == WHY
    assert all(bench.session(name).state.restarts == 0 for name in "ab")


async def test_the_network_watch_can_be_switched_off(fleet: Bench, world: World) -> None:
    """What sessions show remains; WhatsApp's address is not connected to."""
    world.change("fleet", network="off")
    world.network = AWAY
    await lose(fleet, *FOUR)
    await ticks(fleet, world, 30)
    assert fleet.it.mailbox.fleet.network_down == "4 of 4 sessions are without WhatsApp"


async def test_acks_do_not_count_as_missing_while_the_network_is_away(
    fleet: Bench, world: World
) -> None:
    session = fleet.session("a")
    session.traffic.acks.sent("true_c_1", world.clock.monotonic())
    world.network = AWAY
    await lose(fleet, *FOUR)
    await ticks(fleet, world, 100)
    assert not session.traffic.acks.overdue
    world.network = THERE
    await find(fleet, *FOUR)
    await ticks(fleet, world, 60)
    assert not session.traffic.acks.overdue
    await ticks(fleet, world, 2)
    assert session.traffic.acks.overdue


async def test_a_database_that_is_away_is_an_incident_of_all(fleet: Bench, world: World) -> None:
    world.store.down = True
    for _ in range(2):
        await fleet.it.reconciler.reconcile()
    assert [p for p in fleet.it.health.read().problems if "database" in p] == [
        "the database in memory is down"
    ]
    world.store.down = False
    await fleet.it.reconciler.reconcile()
    assert not any("database" in problem for problem in fleet.it.health.read().problems)
    await wait_until(lambda: world.audited("database_up"), "it is on the trail")
    await reported(world, "database_down", "database_up")
