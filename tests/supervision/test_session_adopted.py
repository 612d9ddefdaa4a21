"""One session that takes over the worker of an earlier daemon."""

import asyncio
import errno
import os
from typing import Any

import pytest
from loguru import logger

from tests.supervision.bench import TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import connected, until, up, written
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.blame import Blame, Failure
from waguard.core.exits import EXIT_DISK_FULL
from waguard.supervision.session.worker_facts import SAID_AGAIN


async def test_an_adopted_worker_goes_on(bench: Bench, world: World) -> None:
    session = await bench.add()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    await written(session)
    assert world.row_status("s") == ("connected", None)
    assert left.process.greeting
    assert left.process.greeting.generation == session.row.generation
    assert world.spawn.started == [left.process]
    assert left.process.signals == []
    assert world.audited("adopted")
    await session.traffic.send(TEXT)
    assert left.process.calls == [TEXT]


async def test_an_adopted_worker_ends_and_nobody_knows_how(bench: Bench, world: World) -> None:
    session = await bench.add()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    left.process.exit(None)
    await until(session, lambda s: s.state.restarts == 1)
    await until(session, connected)
    assert world.audited("restart") == [(None, None, "its exit code is unknown (adopted)")]
    assert session.runner.process is not left.process


async def test_an_adopted_worker_says_itself_with_which_code_it_ends(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    left.process.report("unknown", phase="closing", exit_code=EXIT_DISK_FULL, details="no room")
    left.process.exit(None)
    await until(session, lambda s: s.state.failure is not None)
    assert session.state.failure == Failure(
        Blame.HOST, "disk_full", "the disk of its profile is full", "no room"
    )
    assert session.state.counted == ()


@pytest.mark.timings(stop_grace=DEADLINE, final_flush=0.05)  # however slow the machine is
async def test_an_adopted_worker_that_nobody_can_talk_to_is_replaced(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    world.spawn.scripts["s"] = Script(listens=False)
    left = await world.left_behind("s", generation=session.row.generation)
    del world.spawn.scripts["s"]
    session.adopt(left.process, left.record)
    await until(session, connected)
    assert left.process.signals == ["TERM"]
    assert session.runner.process is not left.process


@pytest.mark.timings(greet_again=0.01)
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_what_the_host_lacks_for_a_line_ends_no_worker(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    session = await bench.add()
    process = await up(session)
    connect, refused = asyncio.open_unix_connection, list[int]()

    async def refusing(*args: Any, **more: Any) -> Any:
        if len(refused) < 3:
            refused.append(code)
            raise OSError(code, os.strerror(code))
        return await connect(*args, **more)

    monkeypatch.setattr(asyncio, "open_unix_connection", refusing)
    before = session.runner.link
    assert before
    before.close()
    await wait_until(lambda: session.runner.link not in {None, before}, "there is another line")
    assert len(refused) == 3
    assert session.runner.process is process
    assert process.signals == []
    assert session.state.counted == ()


@pytest.mark.timings(greet_again=0.001)
async def test_a_line_that_the_host_lacks_room_for_is_said_again_while_it_lasts_and_when_it_recurs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await bench.add()
    await up(session)
    connect, left, lines = asyncio.open_unix_connection, 0, list[str]()

    async def refusing(*args: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await connect(*args, **more)

    monkeypatch.setattr(asyncio, "open_unix_connection", refusing)
    sink = logger.add(lambda it: lines.append(it.record["extra"]["event"]), level="WARNING")
    for lacking in (2 * SAID_AGAIN, 1):
        left = lacking
        before = session.runner.link
        assert before
        before.close()
        await wait_until(lambda it=before: session.runner.link not in {None, it}, "another line")  # type: ignore[misc]
    logger.remove(sink)
    assert lines == ["worker_unconnected"] * 3


@pytest.mark.timings(greet_again=0.01, stop_grace=DEADLINE)
async def test_a_worker_that_ends_meanwhile_is_replaced(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await bench.add()
    process = await up(session)
    tried = asyncio.Event()

    async def refusing(*_: Any, **__: Any) -> Any:
        tried.set()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "open_unix_connection", refusing)
        assert session.runner.link
        session.runner.link.close()
        async with asyncio.timeout(DEADLINE):
            await tried.wait()
    process.exit(-9)
    await until(session, lambda s: s.runner.process is not process and connected(s))


@pytest.mark.timings(stop_grace=DEADLINE)  # however slow the machine is
async def test_an_adopted_worker_is_stopped_like_any_other(bench: Bench, world: World) -> None:
    session = await bench.add()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert left.process.signals == ["TERM"]
    assert not left.process.alive
