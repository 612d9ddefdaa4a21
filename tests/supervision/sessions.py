"""One session: what tests wait for, see of it and tell it."""

import asyncio
from collections.abc import Callable

from tests.supervision.fake_workers import FakeProcess
from tests.waiting import DEADLINE
from waguard.core.blame import Condition
from waguard.core.host.admission import Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.session import views
from waguard.core.session.facts import Beat, Unusable
from waguard.supervision.session.actor import SessionActor


async def until(session: SessionActor, condition: Callable[[SessionActor], bool]) -> None:
    """Wait for something of a session."""
    reported = await session.wait_until(condition, timeout=DEADLINE)
    assert reported, (session.lifecycle, views.details(session.state))


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


async def crash(session: SessionActor, code: int | None = -11) -> None:
    process = session.runner.process
    assert isinstance(process, FakeProcess)
    process.exit(code)
    await until(session, lambda s: s.runner.process is not process)


def heard(session: SessionActor) -> None:
    """Its worker and its page answer now."""
    if worker := session.state.worker:
        now = session._ctx.clock.monotonic()
        session.post(Beat(worker=worker.number, at=now, page_at=now))


def unusable(session: SessionActor, why: str) -> None:
    """Nothing can be done with its worker."""
    if worker := session.state.worker:
        session.post(Unusable(worker=worker.number, why=why))


def found(session: SessionActor) -> tuple[Condition, ...]:
    """Its conditions beside those that its status says already."""
    return tuple(
        it
        for it in views.conditions(session.state)
        if it.type not in {"start", "link", "parked", "page"}
    )


def cause(session: SessionActor) -> Cause | None:
    """What it waits for."""
    wait = session.state.held_back
    return wait.cause if wait else None


def heard_at(session: SessionActor) -> float:
    """When its worker was last heard; its state learns of it when that matters."""
    return session.runner.slot.heard_at
