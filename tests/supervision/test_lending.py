"""A worker lives until when its daemon says: as the lease allows, and never by heartbeats."""

import pytest

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import KILLED
from tests.supervision.sessions import connected, crash, until, up
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.host.admission import Cause, Reading
from waguard.core.session import views
from waguard.host.clock import since_boot
from waguard.wire.heartbeat_slots import (
    LENT,
    NAME,
    SlotBeat,
    SlotFile,
    SlotLoan,
    decode_loan,
    encode,
)
from waguard.wire.protocol import PROTOCOL

OBEYS = {"link": "connected", "obeys": True}
FAR = 3_600.0  # s


async def test_the_deadline_of_a_worker_is_armed_at_its_start_and_moved_by_what_is_lent(
    bench: Bench, world: World
) -> None:
    world.spawn.script.reports = (OBEYS,)
    world.lent_until = first = since_boot() + FAR
    session = await bench.add()
    process = await up(session)
    assert process.spec.lent_until == first  # type: ignore[union-attr]
    assert process.greeting
    assert process.greeting.lends
    await wait_until(lambda: process.lent == [first], "what was lent comes with its first report")
    process.beat()
    world.lent_until = second = first + 5.0
    session.runner.lend()
    await wait_until(lambda: process.lent == [first, second], "it is moved on")
    assert not session.runner.is_unprotected


async def test_who_reads_what_is_lent_gets_no_message_until_it_does_not(
    bench: Bench, world: World
) -> None:
    """Each message wakes a worker."""
    world.spawn.script.reports = (OBEYS,)
    world.lent_until = first = since_boot() + FAR
    session = await bench.add()
    process = await up(session)
    await wait_until(lambda: process.lent == [first], "what was lent comes with its first report")
    assert process.greeting
    assert process.greeting.slot is not None
    number, generation = process.greeting.slot, process.spec.generation
    folder = world.config.paths.runtime
    folder.mkdir(parents=True, exist_ok=True)

    async def beat(obeys: float) -> None:
        world.clock.advance(1)
        now = world.clock.monotonic()
        said = SlotBeat(process.pid, generation, now, now, obeys=obeys)
        SlotFile(folder / NAME).write(number, encode(said))
        await bench.it.watchdog.watch()

    def lend(until: float) -> SlotLoan | None:
        world.lent_until = until
        session.runner.lend()
        return decode_loan(SlotFile(folder / LENT).read(number))

    await beat(first)
    assert lend(first + 2) == SlotLoan(process.pid, generation, first + 2)
    await beat(first + 2)
    assert lend(first + 4) == SlotLoan(process.pid, generation, first + 4)
    await beat(first + 2)  # it has not read it
    lend(first + 6)
    await wait_until(lambda: len(process.lent) > 1, "a message says it")
    await beat(first + 6)
    (folder / LENT).unlink()
    (folder / LENT).mkdir()
    lend(first + 8)
    await wait_until(lambda: len(process.lent) > 2, "nothing could be written")
    assert process.lent == [first, first + 6, first + 8]


async def test_without_a_standby_nobody_is_lent_anything(bench: Bench, world: World) -> None:
    world.spawn.script.reports = (OBEYS,)
    process = await up(await bench.add())
    assert process.greeting
    assert not process.greeting.lends, "what an earlier daemon lent is over"
    assert process.spec.lent_until is None  # type: ignore[union-attr]
    assert process.lent == []


async def test_one_of_an_earlier_version_is_left_alone_and_known_to_be_unprotected(
    bench: Bench, world: World
) -> None:
    world.lent_until = since_boot() + FAR
    world.spawn.script.reports = ({"link": "connected"},)
    session = await bench.add()
    left = await world.left_behind("s")
    session.adopt(left.process, left.record)
    await until(session, connected)
    session.runner.lend()
    left.process.beat()
    await until(session, lambda s: s.runner.is_unprotected)
    assert left.process.lent == [], "it would hang up"
    assert left.record.protocol == PROTOCOL


async def test_one_that_the_kernel_ended_with_the_lease_costs_its_session_nothing(
    bench: Bench, world: World
) -> None:
    world.spawn.script.reports = (OBEYS,)
    session = await bench.add()
    process = await up(session)
    world.lent_until = since_boot() - 1.0
    world.host = Reading(lease="the lease was not renewed for 70 s")
    process.exit(KILLED)
    await until(session, lambda s: bool(s.state.held_back))
    assert session.state.held_back
    assert session.state.held_back.cause is Cause.LEASE
    [shown] = views.conditions(session.state)
    assert "lease" in shown.message
    world.lent_until, world.host = since_boot() + FAR, Reading()
    await bench.it.watchdog.watch()
    await until(session, connected)
    assert session.state.restarts == 0


@pytest.mark.parametrize(("heard", "restarts"), [(False, 0), (True, 1)])
async def test_a_kill_counts_only_where_the_worker_was_heard_since_a_late_renewal(
    bench: Bench, world: World, *, heard: bool, restarts: int
) -> None:
    """Else the kernel may have ended it before it read of that."""
    world.spawn.script.reports = (OBEYS,)
    world.lent_until = since_boot()
    session = await bench.add()
    process = await up(session)
    world.lent_until = since_boot() + FAR
    session.runner.lend()
    world.clock.advance(1.0)
    if heard:
        process.beat()
        now = world.clock.monotonic()
        await wait_until(lambda: session.runner.slot.heard_at == now, "it was heard")
    process.exit(KILLED)
    await until(session, lambda s: s.runner.process is not process)
    await until(session, connected)
    assert session.state.restarts == restarts


async def test_any_other_kill_is_its_own(bench: Bench, world: World) -> None:
    world.spawn.script.reports = (OBEYS,)
    world.lent_until = since_boot() + FAR
    session = await bench.add()
    await up(session)
    await crash(session, KILLED)
    await until(session, connected)
    assert session.state.restarts == 1
