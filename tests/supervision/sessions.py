"""One session without a supervisor, and what tests do with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.supervision.fakes import FakeProcess, World, until
from tests.waiting import DEADLINE
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.supervision import status_writer
from waguard.supervision.actor import SessionActor

Make = Callable[..., Awaitable[SessionActor]]


@pytest.fixture
async def make(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Sessions with a row and a profile; all are stopped at the end."""
    monkeypatch.setattr(status_writer, "RETRY", 0.01)
    made: list[SessionActor] = []

    async def one(name: str = "s", *, profile: bool = True) -> SessionActor:
        row = await world.store.create(name, 7, account_id=None, priority=0)
        if profile:
            world.profile(name)
        made.append(SessionActor(row, world.ctx))
        return made[-1]

    yield one
    for process in world.spawn.started:
        process.script.obeys = True
    for session in made:
        await session.stop(daemon_stopping=True)
        await session.forget()


def running(session: SessionActor) -> bool:
    return session.lifecycle is State.RUNNING


def connected(session: SessionActor) -> bool:
    return session.link is Link.CONNECTED


def parked(session: SessionActor) -> bool:
    return session.lifecycle is State.PARKED


async def up(session: SessionActor) -> FakeProcess:
    session.start()
    await until(session, connected)
    process = session.runner.process
    assert isinstance(process, FakeProcess)
    return process


async def written(session: SessionActor) -> None:
    async with asyncio.timeout(DEADLINE):
        await session.written()


async def crash(session: SessionActor, code: int = -11) -> None:
    process = session.runner.process
    assert isinstance(process, FakeProcess)
    process.exit(code)
    await until(session, lambda s: s.runner.process is not process)
