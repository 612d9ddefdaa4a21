"""The whole of supervision: its end."""

import asyncio
from typing import Any

import pytest

from tests.supervision.bench import Bench
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.errors import UnavailableError


@pytest.mark.timings(stop_grace=DEADLINE)  # no one's is over before the last is asked
async def test_all_stop_in_parallel_and_the_rows_say_why(empty: Bench, world: World) -> None:
    """Fault 11."""
    names = [f"s{n}" for n in range(6)]
    processes = [await empty.connected(name) for name in names]
    for process in processes:
        process.script.obeys = False
    stopping = asyncio.create_task(empty.it.stop())
    await wait_until(lambda: all(p.signals == ["TERM"] for p in processes), "all are asked at once")
    for process in processes:
        process.exit(0)
    await stopping
    assert {world.row_status(name) for name in names} == {("disconnected", "instance_restart")}
    assert world.spawn.alive == []
    last = [e for e in world.store.entries if e.kind == "status" and e.after == "disconnected"]
    assert {e.session_id for e in last} == set(names)
    assert not empty.it.health.read().supervising


@pytest.mark.timings(last_write=0.05)
async def test_a_dead_database_does_not_hold_up_the_stop(empty: Bench, world: World) -> None:
    await empty.connected()
    await empty.until_written()
    world.store.down = True
    async with asyncio.timeout(DEADLINE):
        await empty.it.stop()
    assert world.spawn.alive == []


@pytest.mark.timings(write_retry=2 * DEADLINE)
@pytest.mark.parametrize("end", ["stop", "leave"])
async def test_what_concerned_all_sessions_is_stored_before_the_end(
    empty: Bench, world: World, logged: list[str], end: str
) -> None:
    world.store.down = True
    empty.it.fleet.outages.update("database_unknown", "it is new here")
    await wait_until(lambda: any("audit_waits" in line for line in logged), "it is refused")
    empty.it.fleet.outages.update("database_unknown", None)
    world.store.down = False
    await getattr(empty.it, end)()
    assert [it.kind for it in world.store.entries] == ["database_unknown", "database_known"]


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(True, marks=pytest.mark.timings(last_write=2 * DEADLINE)),
        pytest.param(False, marks=pytest.mark.timings(last_write=0.05)),  # of the stop after it
    ],
)
async def test_the_log_has_what_concerned_all_sessions_and_is_not_stored(
    empty: Bench,
    world: World,
    logged: list[str],
    write: bool,  # noqa: FBT001 - both ways
) -> None:
    world.store.down = True
    empty.it.fleet.outages.update("database_unknown", "it is new here")
    async with asyncio.timeout(DEADLINE):  # a database that is away does not hold it up
        await empty.it.stop(write=write)
    assert sum("audit_lost" in line for line in logged) == 1


async def test_a_create_that_meets_the_stop_starts_nothing(empty: Bench, world: World) -> None:
    real, entered, gate = world.store.create, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **rest: Any) -> Any:
        entered.set()
        await gate.wait()
        return await real(*args, **rest)

    world.store.create = slow  # type: ignore[method-assign]
    creating = asyncio.create_task(empty.create())
    await entered.wait()
    await empty.it.stop()
    gate.set()
    with pytest.raises(UnavailableError):
        await creating
    assert world.spawn.started == []


async def test_the_second_interrupt_kills(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.script.obeys = False
    stopping = asyncio.create_task(empty.it.stop())
    await wait_until(lambda: process.signals, "it was asked")
    empty.it.kill()
    await stopping
    assert process.signals[:2] == ["TERM", "KILL"]
