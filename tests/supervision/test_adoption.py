"""While a worker of an earlier daemon is taken over, nothing is known of it, and nothing is claimed."""

import asyncio
import copy
from collections.abc import Collection

import pytest

from tests.supervision.bench import CONNECTED, LOADING, PHONE, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.reports import qr
from tests.supervision.sessions import until
from tests.supervision.world import LeftBehind, World
from tests.waiting import DEADLINE, wait_until
from waguard.core.incidents.kinds import BEGUN
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import DerivedStatus, Status
from waguard.ports.process import Swept
from waguard.ports.store import StatusWritten

LATER = Script(reports=(LOADING,))


@pytest.fixture
def writes(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Status]:
    """Every status that is written to a row."""
    written: list[Status] = []
    plain = world.store.write_status

    async def write(
        session_id: str, generation: int, derived: DerivedStatus, *, phone_number: str | None
    ) -> StatusWritten:
        written.append(derived.status)
        return await plain(session_id, generation, derived, phone_number=phone_number)

    monkeypatch.setattr(world.store, "write_status", write)
    return written


async def begun(bench: Bench, world: World, script: Script) -> tuple[asyncio.Task[str], LeftBehind]:
    """A restore under way, whose session was connected."""
    await bench.row("s")
    world.store.accounts["s"].phone_number = PHONE
    world.spawn.scripts["s"] = script
    left = await world.left_behind("s")
    restoring = await bench.restoring((left.record, left.process))
    assert bench.session().runner.process is left.process, "it is adopted"
    return restoring, left


async def test_an_adoption_is_no_event_and_no_write(
    bench: Bench, world: World, writes: list[Status]
) -> None:
    restoring, left = await begun(bench, world, LATER)
    before = copy.copy(world.store.accounts["s"])
    connected_at = (await bench.it.sessions.view("s")).connected_at
    reported = await bench.it.sessions.view("s")
    assert (reported.status, reported.lifecycle, reported.link) == (
        "connected",
        "adopting",
        "unknown",
    )
    assert bench.it.health.read().connected == 1
    why_not = bench.it.health.connection("s").why_not
    assert why_not == "its row says connected, its worker has not confirmed it yet"
    await wait_until(lambda: left.process.connected, "they talk")
    left.process.report(phone=PHONE)
    assert await restoring == "restored 1"
    reported = await bench.it.sessions.view("s")
    assert (reported.status, reported.lifecycle, reported.link) == (
        "connected",
        "running",
        "connected",
    )
    assert bench.it.health.connection("s").why_not is None
    await bench.until_written()
    assert writes == []
    assert world.names() == []
    assert world.store.accounts["s"] == before
    assert (await bench.it.sessions.view("s")).connected_at == connected_at
    assert world.audited("status") == []
    assert len(world.audited("adopted")) == 1
    assert world.audited(BEGUN) == []


async def test_what_is_news_is_reported(bench: Bench, world: World, writes: list[Status]) -> None:
    restoring, left = await begun(bench, world, LATER)
    await wait_until(lambda: left.process.connected, "they talk")
    left.process.report("offline")
    await until(bench.session(), lambda s: s.link is Link.OFFLINE)
    left.process.report(phone=PHONE)
    await restoring
    await bench.until_written()
    assert writes[-1] is Status.CONNECTED
    assert world.names("session_disconnected", "session_ready") == [
        "session_disconnected",
        "session_ready",
    ]


async def test_another_row_than_connected_keeps_its_word_too(
    bench: Bench, world: World, writes: list[Status]
) -> None:
    world.spawn.scripts["s"] = LATER
    await bench.row("s", status="qr_scanning")
    left = await world.left_behind("s")
    restoring = await bench.restoring((left.record, left.process))
    await wait_until(lambda: left.process.connected, "they talk")
    reported = await bench.it.sessions.view("s")
    assert (reported.status, reported.lifecycle) == ("qr_scanning", "adopting")
    left.process.report("qr_pending", qr=qr())
    assert await restoring == "needs QR 1"
    assert writes == []


@pytest.mark.timings(adopt=0.05)
@pytest.mark.parametrize("ready", [False, True])
async def test_a_worker_that_does_not_say_is_not_believed_for_ever(
    bench: Bench, world: World, *, ready: bool
) -> None:
    says = {"phase": "ready", "link": "unknown"} if ready else LOADING
    restoring, left = await begun(bench, world, Script(reports=(says,)))
    if ready:  # its deadlines have no timer
        await until(bench.session(), lambda s: s.lifecycle is State.RUNNING)
        world.clock.advance(0.05)
        await bench.it.watchdog.watch()
    await until(bench.session(), lambda s: s.state.status.status is Status.DISCONNECTED)
    reported = await bench.it.sessions.view("s")
    await wait_until(lambda: left.process.connected, "they talk")
    assert reported.lifecycle in {"starting", "running"}
    assert bench.it.health.read().connected == 0
    await wait_until(lambda: world.names("session_disconnected"), "it is announced")
    left.process.report(phone=PHONE)
    assert await restoring == "restored 1"
    await wait_until(lambda: world.names("session_ready"), "it is announced")
    assert world.names("session_disconnected", "session_ready") == [
        "session_disconnected",
        "session_ready",
    ]
    assert left.process.signals == []


async def test_a_worker_that_ends_while_it_is_adopted_is_no_secret(
    bench: Bench, world: World
) -> None:
    restoring, left = await begun(bench, world, LATER)
    world.spawn.scripts["s"] = Script(reports=(CONNECTED,))
    left.process.exit(None)
    assert await restoring == "restored 1"
    await until(bench.session(), lambda s: s.link is Link.CONNECTED)
    assert bench.process() is not left.process
    assert world.names("session_disconnected", "session_ready") == [
        "session_disconnected",
        "session_ready",
    ]
    because = [event.data["because"] for event in world.events("lifecycle")]
    assert because == ["reported"], "it was starting all the time"


async def test_nobody_waits_for_what_a_dead_instance_left(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for a stray nor for a worker that nobody wants and that hangs."""
    for name in ("adopted", "started", "unwanted"):
        await bench.row(name, up=name != "unwanted")
    left = await world.left_behind("adopted")
    world.spawn.scripts["unwanted"] = Script(obeys=False)
    unwanted = await world.left_behind("unwanted")
    gone, plain = asyncio.Event(), world.spawn.sweep

    async def sweep(*, records: str, profiles: str, kept: Collection[int] = ()) -> Swept:
        if kept:
            await gone.wait()
        return await plain(records=records, profiles=profiles, kept=kept)

    monkeypatch.setattr(world.spawn, "sweep", sweep)
    both = ((one.record, one.process) for one in (left, unwanted))
    restoring = asyncio.create_task(bench.restore(*both))
    await wait_until(
        lambda: all(name in bench.it.registry for name in ("adopted", "started")), "they are loaded"
    )
    for name in ("adopted", "started"):
        await until(bench.session(name), lambda s: s.link is Link.CONNECTED)
    assert not restoring.done(), "it is not through before all of it is gone"
    gone.set()
    async with asyncio.timeout(DEADLINE):
        assert await restoring == "restored 2"
    assert not unwanted.process.alive


async def test_a_daemon_that_leaves_ends_nobody_and_writes_nothing(
    empty: Bench, world: World, writes: list[Status]
) -> None:
    process = await empty.connected()
    await empty.until_written()
    writes.clear()
    async with asyncio.timeout(DEADLINE):
        await empty.it.leave()
    assert (process.signals, process.alive) == ([], True)
    assert (writes, world.store.accounts["s"].status) == ([], "connected")
    assert world.names("session_disconnected") == []
    empty.it = world.supervisor()  # the fixture stops it
    process.kill()


async def test_workers_are_left_before_all_has_ended_that_was_begun_for_them(
    empty: Bench, world: World
) -> None:
    """A call of a database that hangs takes longer to cut off than their lease lasts."""
    process = await empty.connected()
    session, over = empty.session(), asyncio.Event()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await over.wait()

    async def left() -> None:
        assert session.is_forgotten
        over.set()

    session._tasks.begin(hangs(), "hangs")
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        await empty.it.leave(left)
    assert process.alive
    empty.it = world.supervisor()  # the fixture stops it
    process.kill()
