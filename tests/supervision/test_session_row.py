"""What one session writes into its row, also while the database is away or somebody else writes."""

import asyncio
from typing import Any

import pytest
from loguru import logger

from tests.supervision.bench import PHONE, Bench
from tests.supervision.sessions import connected, until, up, written
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import Status
from waguard.core.session.facts import RowRead
from waguard.errors import DatabaseUnfitError, WaguardError
from waguard.ports.store import SessionRow, StatusWritten


async def test_the_newest_status_wins_while_the_database_is_down(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    process = await up(session)
    await written(session)
    seen: list[str] = []
    real = world.store.write_status

    async def write(session_id: str, generation: int, derived: Any, **rest: Any) -> StatusWritten:
        done = await real(session_id, generation, derived, **rest)
        seen.append(str(derived.status))
        return done

    world.store.write_status = write  # type: ignore[method-assign]
    world.store.down = True
    for link in ("offline", "connected", "offline", "syncing"):
        process.report(link, phone=PHONE)
        await until(session, lambda s, link=link: s.link is Link(link))  # type: ignore[misc]
    assert session.publisher.writer.row_pending
    assert session.state.status.status is Status.AUTHENTICATED  # memory is right all the time
    assert world.row_status("s") == ("connected", None)
    world.store.down = False
    await written(session)
    assert seen == ["authenticated"]
    assert world.row_status("s") == ("authenticated", None)
    # and nothing of the story is lost, nor out of order
    after = [a for _, a, _ in world.audited("status")]
    assert after[-4:] == ["disconnected", "connected", "disconnected", "authenticated"]


async def test_what_the_database_lacks_for_the_row_is_said_once_and_again_after_a_write(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    process = await up(session)
    await written(session)
    real, lines = world.store.write_status, list[str]()
    lacking = 0

    async def write(session_id: str, generation: int, derived: Any, **rest: Any) -> StatusWritten:
        nonlocal lacking
        if lacking:
            lacking -= 1
            raise DatabaseUnfitError("there is no column status")
        return await real(session_id, generation, derived, **rest)

    world.store.write_status = write  # type: ignore[method-assign]
    sink = logger.add(lambda it: lines.append(it.record["extra"]["event"]), level="ERROR")
    for link in ("offline", "connected"):
        lacking = 3
        process.report(link, phone=PHONE)
        await until(session, lambda s, link=link: s.link is Link(link))  # type: ignore[misc]
        await written(session)
    logger.remove(sink)
    assert (lacking, lines) == (0, ["row_not_written"] * 2)


async def test_a_row_that_changes_while_it_is_written_is_written_again(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    process = await up(session)
    await written(session)
    gate, entered = asyncio.Event(), asyncio.Event()
    real = world.store.write_status
    order: list[str] = []

    async def slow(session_id: str, generation: int, derived: Any, **rest: Any) -> StatusWritten:
        entered.set()
        await gate.wait()
        order.append(str(derived.status))
        return await real(session_id, generation, derived, **rest)

    world.store.write_status = slow  # type: ignore[method-assign]
    process.report("offline")
    await entered.wait()
    process.report("connected", phone=PHONE)
    await until(session, connected)
    gate.set()
    await written(session)
    assert order == ["disconnected", "connected"]
    assert world.row_status("s") == ("connected", None)


async def test_a_bug_in_the_store_does_not_end_the_writing(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    await written(session)
    real, failures = world.store.write_status, iter([TypeError("a bug"), WaguardError("refused")])

    async def flaky(*args: Any, **rest: Any) -> StatusWritten:
        if error := next(failures, None):
            raise error
        return await real(*args, **rest)

    world.store.write_status = flaky  # type: ignore[method-assign]
    process.report("offline")
    await until(session, lambda s: s.link is Link.OFFLINE)
    await written(session)
    assert world.row_status("s") == ("disconnected", "timeout")


async def test_an_older_generation_may_not_write(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    await written(session)
    newer = await world.store.create("s", 7, account_id=None, priority=0)  # another daemon's
    assert newer.generation == session.row.generation + 1
    process.report("offline")
    await until(session, lambda s: s.link is Link.OFFLINE)
    await written(session)
    assert world.row_status("s") == ("connected", None)


async def test_a_deleted_row_ends_the_attempts_to_write_it(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    await written(session)
    await world.store.soft_delete("s")
    process.report("offline")
    await until(session, lambda s: s.link is Link.OFFLINE)
    await written(session)
    assert world.row_status("s") == ("connected", None)


async def test_connected_in_the_row_and_nothing_in_memory(bench: Bench, world: World) -> None:
    """The incident."""
    await world.store.create("s", 7, account_id=None, priority=0)
    world.store.accounts["s"].status = "connected"
    stale = await world.store.set_desired("s", up=False)
    assert stale
    again = bench.it.registry.add(stale)
    assert again.state.status.status is Status.CONNECTED
    again.post(RowRead(said=stale.status))
    await written(again)
    assert world.row_status("s") == ("disconnected", "unknown")
    ((before, after, _),) = world.audited("row_corrected")
    assert (before, after) == ("connected", "disconnected")
    assert again.lifecycle is State.STOPPED
    await again.forget()


async def test_a_row_that_says_less_than_is_so_is_corrected_and_ready_reported_again(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    await up(session)
    await written(session)
    world.store.accounts["s"].status = "disconnected"
    row = await world.store.session("s")
    assert row
    session.post(RowRead(said=row.status))
    await written(session)
    assert world.row_status("s") == ("connected", None)
    await wait_until(lambda: len(world.events("session_ready")) == 2, "ready was told again")
    ((before, after, _),) = world.audited("row_corrected")
    assert (before, after) == ("disconnected", "connected")


@pytest.mark.parametrize("status", ["error", "", "CONNECTED"])
async def test_a_status_that_no_one_knows_is_no_obstacle(bench: Bench, status: str) -> None:
    """Fault 9."""
    row = SessionRow(
        session_id="s",
        workspace_id=7,
        status=status,
        desired_up=True,
        generation=1,
        disconnect_reason="because",
    )
    session = bench.it.registry.add(row)
    assert session.state.status.status is Status.DISCONNECTED
    await session.forget()
