"""The whole of supervision over a fake host, and what tests do with it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.reports import qr
from tests.supervision.sessions import until
from tests.supervision.world import LeftBehind, World
from tests.waiting import DEADLINE, wait_until
from waguard.core.link import Link
from waguard.ports.process import Process
from waguard.ports.sessions import SessionView
from waguard.supervision.session.actor import SessionActor
from waguard.wire.calls import SendText
from waguard.wire.worker import WorkerRecord

PHONE = "4915112345678"
TEXT = SendText(chat="c", text="t", message_id="true_c_1", timeout=5.0)
QR_SHOWN = {"phase": "ready", "link": "qr_pending", "qr": qr()}
CONNECTED = {"phase": "ready", "link": "connected", "phone": PHONE}
LOADING = {"phase": "loading", "link": "unknown"}


class Bench:
    """A supervisor, and what tests do with it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.it = world.supervisor()

    async def restart(self) -> None:
        """An orderly stop, and the next daemon, which has restored nothing yet."""
        await self.it.stop()
        self.it = self.world.supervisor()

    async def die(self) -> list[LeftBehind]:
        """The daemon is killed, and another one begins; its workers that still live."""
        left = [
            LeftBehind(
                self.world.record(p.spec.session, generation=p.spec.generation, pid=p.pid), p
            )
            for p in self.world.spawn.alive
        ]
        for session in self.it.registry.sessions:
            await session.forget()
        self.it._trail.cancel()
        self.it = self.world.supervisor()
        return left

    async def add(self, name: str = "s", *, profile: bool = True) -> SessionActor:
        """One with a row and a profile, as the restore adds it; nobody has started it."""
        row = await self.world.store.create(name, 7, account_id=None, priority=0)
        if profile:
            self.world.profile(name)
        return self.it.registry.add(row)

    async def row(
        self,
        name: str,
        *,
        status: str = "connected",
        up: bool = True,
        profile: bool = True,
        workspace: int = 7,
        priority: int = 0,
    ) -> None:
        """A session that was there before the daemon."""
        await self.world.store.create(name, workspace, account_id=None, priority=priority)
        await self.world.store.set_desired(name, up=up)
        self.world.store.accounts[name].status = status
        self.world.store._own[name].unpaired = status == "qr_scanning"
        if profile:
            self.world.profile(name, workspace)

    async def restore(self, *left: tuple[WorkerRecord, Process]) -> str:
        async with asyncio.timeout(DEADLINE):
            return await self.it.restorer.restore(list(left))

    async def restoring(self, *left: tuple[WorkerRecord, Process]) -> asyncio.Task[str]:
        """A restore under way whose sessions may be read."""
        task = asyncio.create_task(self.restore(*left))
        await wait_until(lambda: task.done() or self.it.state.loaded, "sessions may be read")
        return task

    async def create(self, name: str = "s", workspace: int = 7) -> tuple[SessionView, bool]:
        return await self.it.sessions.create(name, workspace, account_id=None, priority=0)

    async def connected(self, name: str = "s") -> FakeProcess:
        """A session that is up."""
        self.world.spawn.scripts.setdefault(name, Script(reports=(CONNECTED,)))
        await self.create(name)
        await until(self.session(name), lambda s: s.link is Link.CONNECTED)
        return self.process(name)

    def session(self, name: str = "s") -> SessionActor:
        return self.it.registry[name]

    def process(self, name: str = "s") -> FakeProcess:
        process = self.session(name).runner.process
        assert isinstance(process, FakeProcess)
        return process

    async def until_written(self, name: str = "s") -> None:
        async with asyncio.timeout(DEADLINE):
            await self.session(name).written()


@pytest.fixture
async def bench(world: World) -> AsyncIterator[Bench]:
    """Nothing is restored yet."""
    made = Bench(world)
    yield made
    world.store.down = False
    if world.spawn.script.held:
        world.spawn.script.held.set()
    async with asyncio.timeout(DEADLINE):
        await made.it.stop()
    assert world.spawn.alive == []


@pytest.fixture
async def empty(bench: Bench) -> Bench:
    """A daemon that had nothing to restore."""
    assert await bench.restore() == "no session to restore"
    return bench
