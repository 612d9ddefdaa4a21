"""What webhooks are told of sessions, and what ops are told of webhooks that wait."""

from pathlib import Path

from tests.messaging.gateway import gateway
from tests.messaging.holding import AWAY, until_held
from tests.messaging.receiver import receiving
from tests.messaging.test_webhook_queue import message
from tests.supervision.bench import PHONE, QR_SHOWN, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from waguard.core.conditions import HeldChats, of_held
from waguard.core.incidents.folding import fold
from waguard.core.link import Link
from waguard.daemon.gone_sessions import give_up
from waguard.ports.sessions import REMOVED

HELD = of_held([HeldChats(session="s", chats=3, since=0.0, why="it is disconnected")])
WHY = "received messages of 3 chats wait since 1970-01-01T00:00:00+00:00: it is disconnected"


async def test_a_session_is_connected_when_its_status_says_so(empty: Bench, world: World) -> None:
    assert empty.it.health.connection("s").why_not == "it is not in memory"
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await empty.create()
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    assert empty.it.health.connection("s").why_not == "it is qr_scanning"
    before = world.clock.wall()
    empty.process().report(phone=PHONE)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    now = empty.it.health.connection("s")
    assert (now.why_not, now.phone) == (None, PHONE)
    assert before - 1.0 <= now.since <= world.clock.wall()
    await empty.it.stop()
    assert empty.it.health.connection("s").why_not == "waguard is stopping"


async def test_webhooks_that_wait_for_too_long_are_said_everywhere(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    empty.it.health.report("messages", HELD)
    empty.it.health.report("messages", HELD)
    assert (await empty.it.sessions.view("s")).degraded == WHY
    assert empty.it.health.read().problems == (f"s: {WHY}",)
    await empty.until_written()
    [incident] = fold(await world.store.audit("s"))
    assert (incident.cause, incident.ended) == (WHY, None)
    empty.it.health.report("messages", [])
    await empty.until_written()
    [incident] = fold(await world.store.audit("s"))
    assert incident.result == "its webhooks are delivered again"
    assert (await empty.it.sessions.view("s")).degraded is None
    assert empty.it.health.read().problems == ()


async def test_what_was_stopped_on_purpose_may_wait(empty: Bench) -> None:
    await empty.connected()
    await empty.it.sessions.logout("s")
    empty.it.health.report("messages", HELD)
    assert empty.it.health.read().problems == ()


async def test_what_a_deleted_session_holds_is_shown_and_is_no_alert(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    await empty.it.sessions.delete("s", purge=False)
    empty.it.health.report("messages", HELD)
    now = empty.it.health.read()
    assert [(it.type, it.needs_person) for it in now.conditions] == [("webhooks_held", False)]
    assert now.problems == ()
    [condition] = (await empty.it.sessions.view("s")).conditions
    assert "waguard webhooks drop s" in condition.remedy
    await empty.until_written()
    assert world.audited("webhooks_held") == []


async def test_what_a_session_without_a_row_holds_becomes_dead_letters(
    empty: Bench, world: World, tmp_path: Path
) -> None:
    await empty.connected("kept")
    await empty.connected("gone")
    async with receiving() as receiver, gateway(tmp_path, receiver.url) as it:
        for name in ("kept", "gone"):
            it.connections[name] = AWAY
        it.put(message(1, session="kept"), message(2, session="gone"), message(3, session="gone"))
        await until_held(it, 2)
        await give_up(it.webhooks, empty.it.registry)
        assert await it.dead() == []
        await world.store.soft_delete("gone")
        await empty.it.reconciler.reconcile()
        world.store.down = True
        await give_up(it.webhooks, empty.it.registry)
        assert await it.dead() == [], "unknown is not gone"
        world.store.down = False
        await give_up(it.webhooks, empty.it.registry)
        assert [(one.session_id, one.error) for one in await it.dead()] == [("gone", REMOVED)] * 2
        await until_held(it, 1)
