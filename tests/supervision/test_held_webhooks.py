"""What webhooks are told of sessions, and what ops are told of webhooks that wait."""

from tests.supervision.bench import *  # noqa: F403  # fixtures
from tests.supervision.bench import PHONE, QR_SHOWN, Bench
from tests.supervision.fakes import Script, World, until
from waguard.core.incidents import fold, fold_fleet
from waguard.core.link import Link

WHY = {"s": "received messages of 3 chats wait since 01:47: it is disconnected"}


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
    empty.it.health.webhooks_held(WHY)
    empty.it.health.webhooks_held(WHY)
    assert (await empty.it.sessions.view("s")).degraded == WHY["s"]
    problems = empty.it.health.read().problems
    assert any(problem.startswith("s: received messages") for problem in problems)
    await empty.settled()
    [incident] = fold(await world.store.audit("s"))
    assert (incident.cause, incident.ended) == (WHY["s"], None)
    empty.it.health.webhooks_held({})
    await empty.settled()
    [incident] = fold(await world.store.audit("s"))
    assert incident.result == "its webhooks go on"
    assert (await empty.it.sessions.view("s")).degraded is None
    assert empty.it.health.read().problems == ()
    await empty.it.stop()
    [of_all] = fold_fleet(await world.store.audit(None))
    assert of_all.result == "they were delivered, or a person decided"


async def test_what_was_stopped_on_purpose_may_wait(empty: Bench) -> None:
    await empty.connected()
    await empty.it.sessions.logout("s")
    empty.it.health.webhooks_held(WHY)
    assert empty.it.health.read().problems == ()
