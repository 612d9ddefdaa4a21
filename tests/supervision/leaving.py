"""Sessions on their way out, for tests."""

import asyncio
from pathlib import Path

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.ports.store import SessionRow
from waguard.wire.calls import Call

GONE = ("disconnected", "user_initiated")


def quarantined_now(world: World) -> list[Path]:
    folder = world.config.paths.sessions / "quarantine"
    return sorted(folder.iterdir()) if folder.is_dir() else []


async def read(world: World, session_id: str = "s") -> SessionRow:
    row = await world.store.session(session_id)
    assert row
    return row


async def deleted(bench: Bench, world: World, name: str = "s") -> FakeProcess:
    """A session that was connected, and was deleted."""
    world.profile(name)
    process = await bench.connected(name)
    await bench.it.sessions.delete(name, purge=False)
    await bench.until_written(name)
    return process


async def unlinking(bench: Bench, name: str = "s") -> "asyncio.Task[bool]":
    """It is being deleted, and hangs in the middle of that."""

    async def never(call: Call) -> None:
        await asyncio.Event().wait()

    bench.process(name).script.answer = never
    task = asyncio.create_task(bench.it.sessions.delete(name, purge=False))
    await wait_until(lambda: bench.process(name).calls, "it is being unlinked")
    return task


async def logging_out(bench: Bench, world: World) -> None:
    """The daemon is killed while a session is unlinked; the next one has not begun."""
    await bench.restore()
    world.profile("s")
    process = await bench.connected()
    await bench.until_written()

    async def never(call: Call) -> None:
        await asyncio.Event().wait()

    process.script.answer = never
    task = asyncio.create_task(bench.it.sessions.logout("s"))
    await wait_until(lambda: process.calls, "it is being unlinked")
    await bench.die()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    process.exit(-9)
