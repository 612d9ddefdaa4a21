"""The whole of supervision over a fake host, and what tests do with it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.supervision.fakes import FakeProcess, Script, World, qr, until
from tests.waiting import DEADLINE
from waguard.core.link import Link
from waguard.ports.process import Process
from waguard.ports.sessions import SessionView
from waguard.supervision import status_writer
from waguard.supervision.actor import SessionActor
from waguard.supervision.supervisor import Supervisor
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
        self.it = Supervisor(world.ctx)

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
async def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Nothing is restored yet."""
    monkeypatch.setattr(status_writer, "RETRY", 0.01)
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
