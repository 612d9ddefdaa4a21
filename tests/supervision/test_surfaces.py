"""Each surface shows the same conditions, whatever is wrong."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import AsyncMock

import pytest

from tests.messaging.gateway import IMPATIENT, QUICK
from tests.messaging.receiver import event
from tests.supervision.bench import CONNECTED, QR_SHOWN, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.reports import message
from tests.supervision.sessions import heard, until
from tests.supervision.surfaces import AWAY, Found, Surfaces, surfaces
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core import conditions
from waguard.core.conditions import LATE_AFTER
from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_BROWSER_NOT_STARTED
from waguard.core.fleet.ack_watch import Late
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import Reading
from waguard.core.incidents.folding import fleet_condition
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.messages.sentinel import Result
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause
from waguard.core.session.facts import ParkRequested
from waguard.core.versions.facts import Evidence
from waguard.core.versions.state import Hold, Loss
from waguard.core.webhooks.delivery import UNIDENTIFIED_AFTER, Cause
from waguard.errors import DatabaseUnfitError
from waguard.host.memory.wajs_store import WajsStore, digest
from waguard.messaging.database_backlog import JournalLimits
from waguard.ports.process import BrowserFile
from waguard.ports.webhooks import Endpoint
from waguard.supervision.fleet.disk_reserve import DiskReserve
from waguard.supervision.session import application_events as translate
from waguard.supervision.session.actor import SessionActor
from waguard.wire.events import LoggedOut

NAMES: Final = ("a", "b", "c")
CHAT: Final = "7000001@lid"
BUNDLE: Final = b"/*! wppconnect-team/wa-js v4.7.0 */ WPP"


@pytest.fixture
async def shown(bench: Bench, world: World, tmp_path: Path) -> AsyncIterator[Surfaces]:
    """Three sessions that are up."""
    world.change("restart", base_delay=0.01)
    world.spawn.script = Script(reports=(CONNECTED,))
    for number, name in enumerate(NAMES):
        world.spawn.scripts[name] = Script(reports=({**CONNECTED, "phone": f"628{number}"},))
        await bench.row(name)
    assert await bench.restore() == "restored 3"
    world.spawn.scripts.clear()
    async with surfaces(bench, tmp_path) as made:
        yield made
        made.receiver.free.set()
    world.host, world.spawn.script = Reading(), Script(reports=(CONNECTED,))


async def tick(it: Surfaces, seconds: int = 1) -> None:
    """With workers and pages that are heard."""
    for _ in range(seconds):
        it.bench.world.clock.advance(1.0)
        for session in it.bench.it.registry.sessions:
            heard(session)
        await it.bench.it.watchdog.watch()
        await asyncio.sleep(0)


async def say(it: Surfaces, name: str, link: str, **said: Any) -> None:
    it.bench.process(name).report(link, **said)
    await until(it.bench.session(name), lambda s: s.link is Link(link))


# ---- troubles ----


async def receiver_down(it: Surfaces) -> Found:
    it.receiver.troubles.extend([500] * 100_000)
    await it.gateway.stored(*(event(number, session=str(number)) for number in range(3)))
    await wait_until(
        lambda: "*" in it.gateway.webhooks.queues and it.gateway.queue().state.down,
        "the circuit is open",
    )
    return {("webhooks_down", None)}


async def own_receiver_down(it: Surfaces) -> Found:
    it.receiver.troubles.extend([503] * 100_000)
    it.gateway.configure(url=None, allow_private=True)
    await it.gateway.webhooks.endpoints.put(
        Endpoint(session_id="a", url=it.receiver.url, secret=None)
    )
    await it.gateway.stored(event(1))
    await wait_until(
        lambda: "a" in it.gateway.webhooks.queues and it.gateway.queue("a").state.down, "it is open"
    )
    return {("webhooks_down", "a")}


async def receiver_slow(it: Surfaces) -> Found:
    it.receiver.free.clear()
    await it.gateway.stored(event(1))
    await wait_until(lambda: it.receiver.arrived, "it is on its way")
    it.wall[0] += LATE_AFTER
    return {("webhooks_late", None)}


async def dead_letters(it: Surfaces) -> Found:
    it.receiver.troubles.append(404)
    it.gateway.policy = IMPATIENT
    await it.gateway.stored(event(1))
    assert await it.gateway.drained()
    it.gateway.policy = QUICK
    return {("dead_letters", None)}


async def held(it: Surfaces) -> Found:
    it.gateway.connections["a"] = AWAY
    await it.gateway.stored(event(2))
    await wait_until(it.gateway.webhooks.queues.held, "it waits")
    it.wall[0] += it.gateway.settings.hold_limit
    return {("webhooks_held", "a")}


async def unidentified(it: Surfaces) -> Found:
    inbound = message(1, id=f"false_{CHAT}_1", chat=CHAT, sender=CHAT)
    row = it.bench.session("a").row
    it.gateway.journal.put(translate.received(row, inbound, it.wall[0]), lambda _: None)
    assert await it.gateway.journal.flushed(10.0)
    it.wall[0] += UNIDENTIFIED_AFTER
    return {("numbers_unknown", "a")}


async def database_away(it: Surfaces) -> Found:
    it.bench.world.store.down = True
    await it.bench.it.reconciler.reconcile()
    return {("database_down", None)}


async def database_unfit(it: Surfaces) -> Found:
    unfit = AsyncMock(side_effect=DatabaseUnfitError("there is no column is_active"))
    it.bench.world.store.sessions_of_all_hosts = unfit  # type: ignore[method-assign]
    await it.bench.it.reconciler.reconcile()
    return {("database_unfit", None)}


async def begin_failed(it: Surfaces) -> Found:
    it.bench.it.fleet.outages.update("begin_failed", "there is no table whatsapp_accounts")
    return {("begin_failed", None)}


async def database_behind(it: Surfaces) -> Found:
    it.gateway.journal.backlog._queue.bytes = JournalLimits().behind_bytes
    return {("database_behind", None)}


async def disk_low(it: Surfaces) -> Found:
    world = it.bench.world
    DiskReserve(
        it.bench.it.fleet.outages,
        world.clock,
        reserve=lambda: 200,
        folders=(world.folder,),
        free=lambda _: 1 << 20,
    ).check()
    return {("disk_low", None)}


async def network_down(it: Surfaces) -> Found:
    it.bench.world.network = NetworkReading(reachable=False, error="refused")
    for name in NAMES:
        await say(it, name, "offline")
    await tick(it)
    return {("network_down", None), *(("link", name) for name in NAMES)}


async def breaker_open(it: Surfaces) -> Found:
    it.bench.world.spawn.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    for name in NAMES:
        it.bench.process(name).exit(EXIT_BROWSER_NOT_STARTED)
    for name in NAMES:
        await until(it.bench.session(name), lambda s: s.lifecycle is State.BACKOFF)
    await wait_until(lambda: it.bench.it.mailbox.fleet.breaker.opening, "it is open")
    return {("fleet_breaker_opened", None), *(("start", name) for name in NAMES)}


async def _waits(it: Surfaces, host: Reading) -> Found:
    it.bench.world.host = host
    it.bench.process("a").exit(EXIT_BROWSER_GONE)
    await until(it.bench.session("a"), lambda s: s.state.held_back is not None)
    return {("start", "a")}


async def chromium_missing(it: Surfaces) -> Found:
    found = await _waits(it, Reading(executable="/x/chromium does not exist"))
    return {("browser_missing", None), *found}


async def _updates(it: Surfaces, *, refused: str | None = None) -> None:
    browsers, path = it.bench.world.browsers, Path("/x/chromium")
    browsers.there, browsers.refused = BrowserFile(path=path, build="new"), refused
    for name in NAMES:
        browser = it.bench.process(name).pid + 1
        browsers.run[browser] = BrowserFile(path=path, build="old", version="1.0.0.0")
    await it.bench.it.watchdog.measure()


async def chromium_outdated(it: Surfaces) -> Found:
    await _updates(it)
    return {("browser_outdated", None)}


async def chromium_update_failed(it: Surfaces) -> Found:
    await _updates(it, refused="/x/chromium --version failed: exit code 127")
    return {("browser_update_failed", None)}


async def sessions_folder_missing(it: Surfaces) -> Found:
    found = await _waits(it, Reading(unreadable="paths.sessions (/x) cannot be read"))
    return {("sessions_folder_missing", None), *found}


async def memory_short(it: Surfaces) -> Found:
    it.bench.world.host = Reading(memory=1 << 20)
    await it.bench.create("e")
    return {("start", "e")}


async def parked(it: Surfaces) -> Found:
    it.bench.session("a").post(ParkRequested(cause=ParkCause.CONFLICT, details="elsewhere"))
    await until(it.bench.session("a"), lambda s: s.lifecycle is State.PARKED)
    return {("parked", "a")}


async def unlinked(it: Surfaces) -> Found:
    """On the phone."""
    it.bench.process("a").event(LoggedOut(reason="unknown_companion"))
    await say(it, "a", "qr_pending", qr=QR_SHOWN["qr"])
    return {("unlinked", "a")}


async def acks_late(it: Surfaces) -> Found:
    it.bench.session("a").traffic.acks.late = Late(2, 61.0)
    return {("acks_late", "a")}


async def sends_throw(it: Surfaces) -> Found:
    it.bench.session("a").traffic.throws.threw("c", "TypeError: x is not a function")
    return {("sends_throw", "a")}


async def deaf(it: Surfaces) -> Found:
    it.bench.session("a").traffic.deaf.deaf_at = it.bench.world.clock.monotonic()
    return {("deaf", "a")}


async def sentinel_failed(it: Surfaces) -> Found:
    it.bench.world.change("sentinel", sessions=("a",))
    it.bench.session("a").traffic.sentinel.result = Result(at=it.wall[0], seconds=1.0, error="no")
    return {("sentinel_failed", "a")}


async def whatsapp_refuses(it: Surfaces) -> Found:
    it.bench.world.network = NetworkReading(reachable=True)
    for name in NAMES:
        await say(it, name, "offline", refused=True, details="HTTP status 500")
    await tick(it)
    return {("whatsapp_refuses", None), *(("whatsapp_refuses", name) for name in NAMES)}


async def version_held(it: Surfaces) -> Found:
    it.bench.it.versions.state = replace(
        it.bench.it.versions.state,
        hold=Hold(
            boundary=1023,
            since=it.wall[0],
            evidence=Evidence.SEND_THROWS,
            affected=("a", "b"),
            confirmed=("a", "b"),
            reported_at=it.bench.world.clock.wall(),
        ),
    )
    await tick(it)
    return {("version_held", None)}


async def version_refused(it: Surfaces) -> Found:
    it.bench.it.versions.state = replace(
        it.bench.it.versions.state, newest=1023, refused=1023, refused_at=it.wall[0]
    )
    await tick(it)
    return {("version_refused", None)}


async def bundle_rolled_back(it: Surfaces) -> Found:
    world = it.bench.world
    WajsStore(world.config.paths.state).add(BUNDLE, digest(BUNDLE))
    await it.bench.it.operators.refresh_bundles()
    rejected = {digest(BUNDLE): it.wall[0]}
    versions = it.bench.it.versions
    versions.state = replace(versions.state, rejected=rejected)
    await tick(it)
    return {("bundle_rolled_back", None)}


async def versions_lost(it: Surfaces) -> Found:
    versions = it.bench.it.versions
    loss = Loss(it.wall[0], str(it.bench.world.config.paths.state / "versions.json.corrupt"))
    versions.state = replace(versions.state, lost=loss)
    await tick(it)
    return {("versions_lost", None)}


async def profile_without_row(it: Surfaces) -> Found:
    it.bench.world.profile("old")
    await it.bench.it.reconciler.reconcile()
    return {("profile_without_row", "old")}


async def stored_unknown(it: Surfaces) -> Found:
    it.gateway.settings = replace(it.gateway.settings, stored="chats.whatsapp_message_id")
    return {("stored_unknown", None)}


async def alerts_undeliverable(it: Surfaces) -> Found:
    found = fleet_condition("alerts_undeliverable", "it answered 500", since=it.wall[0])
    it.bench.it.health.report("alerts", [found])
    return {("alerts_undeliverable", None)}


async def row_disputed(it: Surfaces) -> Found:
    since = it.bench.world.clock.wall()
    it.bench.it.health.report("rows", [conditions.row_disputed("a", since=since)])
    return {("row_disputed", "a")}


async def bug(it: Surfaces) -> Found:
    def broken(_: SessionActor) -> None:
        raise LookupError

    with pytest.MonkeyPatch.context() as patch, it.bench.session("a").faults.alone("watch"):
        patch.setattr(SessionActor, "tick", broken)
        it.bench.session("a").tick()
    return {("supervision_failed", "a")}


Trouble = Callable[[Surfaces], Awaitable[Found]]
TROUBLES: Final[tuple[Trouble, ...]] = (
    *(receiver_down, own_receiver_down, receiver_slow, dead_letters, held, unidentified),
    *(database_away, database_unfit, begin_failed, database_behind, disk_low, network_down),
    breaker_open,
    *(chromium_outdated, chromium_update_failed),
    *(chromium_missing, sessions_folder_missing, memory_short, parked, unlinked, acks_late),
    *(sends_throw, deaf, sentinel_failed, whatsapp_refuses, profile_without_row, bug),
    *(version_held, version_refused, bundle_rolled_back, versions_lost),
    *(stored_unknown, row_disputed),
    alerts_undeliverable,
)


async def compare(it: Surfaces, expected: Found) -> None:
    await it.check()
    for surface, found in (await it.all()).items():
        assert found == expected, surface
    assert await it.counted() == Counter(type_ for type_, _ in expected)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_each_surface_shows_it(shown: Surfaces, trouble: Trouble) -> None:
    await compare(shown, await trouble(shown))
    assert (await shown.get("/health"))["status"] == "degraded"
    assert "waguard_degraded 1.0\n" in await shown.get("/metrics")


async def test_each_surface_shows_many_at_once(shown: Surfaces) -> None:
    together = (dead_letters, held, disk_low, parked, acks_late, profile_without_row, bug)
    expected = Found()
    for trouble in together:
        expected |= await trouble(shown)
    await compare(shown, expected)


async def test_a_wait_for_a_scan_is_shown_and_degrades_nothing(shown: Surfaces) -> None:
    await compare(shown, set())
    assert (await shown.get("/health"))["status"] == "healthy"
    shown.bench.world.spawn.scripts["new"] = Script(reports=(QR_SHOWN,))
    await shown.bench.create("new")
    await until(shown.bench.session("new"), lambda s: s.link is Link.QR_PENDING)
    await compare(shown, {("link", "new")})
    assert (await shown.get("/health"))["status"] == "healthy"
    assert "waguard_degraded 0.0\n" in await shown.get("/metrics")


async def test_what_a_person_decided_is_no_trouble(shown: Surfaces) -> None:
    shown.gateway.connections["a"] = AWAY
    await shown.gateway.stored(event(1))
    await wait_until(shown.gateway.webhooks.queues.held, "it waits")
    assert (
        await shown.gateway.webhooks.dead_letters.add_session(
            "a", "discarded", before=shown.wall[0] + 1
        )
        == 1
    )
    assert [letter.cause for letter in await shown.gateway.dead()] == [Cause.OTHER_NUMBER]
    await compare(shown, set())


async def test_what_is_over_is_shown_nowhere_and_is_an_incident(shown: Surfaces) -> None:
    await compare(shown, await receiver_down(shown))
    shown.receiver.troubles.clear()
    assert await shown.gateway.drained()
    await compare(shown, set())
    await wait_until(lambda: shown.bench.world.audited("webhooks_up"), "both are on the trail")
    _, why = await shown.command("why")
    [incident] = why["incidents"]
    assert (
        "the receiver accepts no webhooks (the receiver answered 500; its own log says why)"
        in incident["cause"]
    )
    assert incident["result"].startswith("the receiver accepted webhooks again")
