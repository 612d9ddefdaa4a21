"""A worker, and the daemon's end of the line to it, for tests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.supervision.session.worker_link import WorkerLink
from waguard.supervision.timings import Timings
from waguard.wire.events import Event
from waguard.wire.protocol import PROTOCOL, Hello
from waguard.wire.reports import Heartbeat, Report

HELLO = Hello(protocol=PROTOCOL, instance="test", session="s", generation=3)


class Line:
    """A worker, and the daemon's end of the line to it."""

    def __init__(self, process: FakeProcess) -> None:
        self.process = process
        self.reported: list[Report | Heartbeat | Event] = []

    async def open(self, timings: Timings) -> None:
        await self.process.begin()
        path = Path(self.process.spec.socket)
        self.link = await WorkerLink.connect(path, HELLO, self.reported.append, timings)
        self.listening = asyncio.create_task(self.link.listen())
        await wait_until(lambda: self.process.connected, "the worker was greeted")


@pytest.fixture
async def line(world: World) -> AsyncIterator[Line]:
    process = FakeProcess(4, world.record("s", generation=3), Script(reports=()))
    made = Line(process)
    await made.open(world.timings)
    yield made
    made.link.close()
    process.exit(0)
    async with asyncio.timeout(DEADLINE):
        await made.listening
    process.close()
