"""Workers of an earlier daemon that speak another protocol are replaced one at a time."""

import asyncio
from dataclasses import replace

import msgspec
import pytest

from tests.sends import not_sent
from tests.supervision.bench import TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.world import LeftBehind, World
from tests.waiting import DEADLINE, wait_until
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.errors import UnavailableError
from waguard.wire.calls import Screenshot
from waguard.wire.protocol import PROTOCOL


async def old_workers(bench: Bench, world: World, *names: str) -> list[LeftBehind]:
    """They speak another protocol, and are replaced one at a time."""
    world.change("restore", concurrency=1)
    left = []
    for name in names:
        await bench.row(name)
        found = await world.left_behind(name)
        record = msgspec.structs.replace(found.record, protocol=PROTOCOL - 1)
        left.append(replace(found, record=record))
    return left


@pytest.mark.timings(stop_grace=DEADLINE)  # however slow the machine is
async def test_workers_of_another_protocol_are_replaced_one_at_a_time(
    bench: Bench, world: World
) -> None:
    """As planned: it is no crash, and they are asked to close in order."""
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = asyncio.create_task(bench.restore(*((one.record, one.process) for one in left)))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    assert [one.process.alive for one in left] == [False, True]
    held.set()
    async with asyncio.timeout(DEADLINE):
        assert await restoring == "restored 2"
    assert [one.process.signals for one in left] == [["TERM"], ["TERM"]]
    for name in ("a", "b"):
        assert bench.session(name).state.restarts == 0
        assert len(world.spawn.of(name)) == 2
    assert world.audited("restart") == []
    assert len(world.audited("recycled")) == 2


async def test_one_that_waits_for_its_restore_is_on_its_way_up(bench: Bench, world: World) -> None:
    """The application takes "conflict" for final: it would give its message up."""
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = await bench.restoring(*((one.record, one.process) for one in left))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    # what every version says of itself is understood
    await until(bench.session("b"), lambda s: s.link is Link.CONNECTED)
    assert world.row_status("b") == ("connected", None)
    assert (await not_sent(bench.it.sessions.send("b", TEXT, wait=0), UnavailableError)).retry_after
    with pytest.raises(UnavailableError) as raised:
        await bench.it.sessions.call("b", Screenshot(), wait=0)
    assert raised.value.retry_after
    sending = asyncio.create_task(bench.it.sessions.send("b", TEXT, wait=DEADLINE))
    held.set()
    async with asyncio.timeout(DEADLINE):
        assert await restoring == "restored 2"
        await sending
    assert bench.process("b").calls == [TEXT]


async def test_one_that_was_stopped_while_it_waited_for_its_turn_is_not_started(
    bench: Bench, world: World
) -> None:
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = await bench.restoring(*((one.record, one.process) for one in left))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    await bench.it.sessions.logout("b")
    held.set()
    async with asyncio.timeout(DEADLINE):
        # the second one counts where the check of all processes was over when it was logged out
        assert await restoring in {"restored 1", "restored 1, interrupted 1"}
    assert not left[1].process.alive
    assert bench.session("b").lifecycle is State.STOPPED


async def test_a_stop_ends_also_those_that_wait_for_their_turn(bench: Bench, world: World) -> None:
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = asyncio.create_task(bench.restore(*((one.record, one.process) for one in left)))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    restoring.cancel()
    await asyncio.gather(restoring, return_exceptions=True)
    held.set()
    async with asyncio.timeout(DEADLINE):
        await bench.it.stop()
    assert world.spawn.alive == []
