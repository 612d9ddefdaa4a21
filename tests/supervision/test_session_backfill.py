"""When a worker is asked for what came while nobody listened."""

import errno
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from loguru import logger

from tests.host.odd_files import refuse
from tests.supervision.bench import TEXT, Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.reports import message
from tests.supervision.sessions import until, up
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.messages.backfill import DROPPED
from waguard.errors import UnavailableError
from waguard.profile import owner_mark
from waguard.profile.owner_mark import PAIRING, paired_by
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.deaf_watch import QUIET
from waguard.wire.calls import CatchUp, Failed, Value
from waguard.wire.events import BackfillGap


async def test_the_backfill_is_asked_for_once_after_each_load(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    await wait_until(lambda: len(process.caught_up) == 1, "it was asked")
    process.report("offline")
    process.report("connected", details="again")
    await until(
        session, lambda s: s.runner.report is not None and s.runner.report.details == "again"
    )
    process.report("connected", loads=2)
    await wait_until(lambda: len(process.caught_up) == 2, "the page was loaded anew")
    process.report("connected", loads=2, details="x")
    await until(session, lambda s: s.runner.report is not None and s.runner.report.details == "x")
    assert len(process.caught_up) == 2


@pytest.mark.timings(backfill_retry=0.0)
async def test_the_backfill_is_asked_for_again_when_the_link_is_back(
    bench: Bench, world: World
) -> None:
    """And from the same time on: what came since then is newer than what is missed."""
    world.spawn.script.backfills = Failed(kind="timeout", error="the page did not answer")
    session = await bench.add()
    process = await up(session)
    await wait_until(lambda: process.caught_up, "it was asked")
    process.report("offline")
    await until(session, lambda s: s.link is Link.OFFLINE)
    await session.traffic.send(TEXT)  # what was asked before it is answered before it
    process.event(message(1))
    await wait_until(lambda: world.inbox.kept, "it is stored")
    process.script.backfills = Value()
    first, count = process.caught_up[0], len(process.caught_up)
    process.report("connected")
    await wait_until(lambda: len(process.caught_up) > count, "it was asked again")
    assert process.caught_up[-1] == first
    process.report("connected", details="x")
    await until(session, lambda s: s.runner.report is not None and s.runner.report.details == "x")
    assert len(process.caught_up) == count + 1


async def test_chats_are_read_from_what_the_inbox_has(bench: Bench, world: World) -> None:
    session, now = await bench.add(), world.clock.wall()
    pairing = session.profile.at.profile / PAIRING
    pairing.write_text(json.dumps({"token": "t", "at": now - 7_200.0}))
    process = await up(session)
    await wait_until(lambda: process.caught_up, "it was asked")
    process.event(message(1))
    await wait_until(lambda: world.inbox.kept, "it is stored")
    process.report("connected", loads=2)
    await wait_until(lambda: len(process.caught_up) == 2, "it was asked again")
    first, second = process.caught_up
    assert (first.since, first.floor) == ({}, int(now - 7_200.0))
    assert list(second.since.values()) == [int(START) - 3_600]


@pytest.mark.timings(backfill_retry=0.01)
async def test_nothing_is_asked_for_while_the_time_of_the_pairing_cannot_be_read(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, now = await bench.add(), world.clock.wall()
    pairing = session.profile.at.profile / PAIRING
    pairing.write_text(json.dumps({"token": "t", "at": now - 7_200.0}))
    asked = 0

    def read(profile: Path, now: float) -> float | None:
        nonlocal asked
        asked += 1
        return paired_by(profile, now)

    monkeypatch.setattr(owner_mark, "paired_by", read)
    with monkeypatch.context() as patch:
        refuse(patch, pairing, errno.EMFILE)
        process = await up(session)
        await wait_until(lambda: asked > 1, "it was read again")
        assert process.caught_up == []
    await wait_until(lambda: process.caught_up, "it was asked")
    assert process.caught_up[0].floor == int(now - 7_200.0), "what came meanwhile is read back"


async def test_what_was_not_read_is_asked_for_until_it_is_also_of_the_next_worker(
    bench: Bench, world: World
) -> None:
    session, now = await bench.add(), int(world.clock.wall())
    (session.profile.at.profile / PAIRING).write_text(json.dumps({"token": "t", "at": now - 7_200}))
    world.spawn.script.backfills = Failed(kind="timeout", error="the page did not answer")
    process = await up(session)
    await wait_until(lambda: process.caught_up, "it was asked")
    process.event(message(1))
    chat, at = message(1).chat, now - 7_000
    process.event(BackfillGap(chat=chat, why="it took too long", since=at))
    await wait_until(lambda: world.audited("backfill_gap"), "it is known")
    world.spawn.script.backfills = Value()
    process.kill()
    await wait_until(lambda: session.runner.process not in {process, None}, "another one runs")
    again = bench.process()
    again.report("connected")
    await wait_until(lambda: again.caught_up, "it was asked")
    assert again.caught_up[0].since[chat] == at
    again.report("connected", loads=2)
    await wait_until(lambda: len(again.caught_up) == 2, "it was asked again")
    assert again.caught_up[1].since[chat] == int(START) - 3_600, "its newest one"


@pytest.mark.timings(backfill_retry=0.01)
async def test_a_worker_that_cannot_read_them_is_asked_again(bench: Bench, world: World) -> None:
    world.spawn.script.backfills = Failed(kind="timeout", error="the page did not answer")
    process = await up(await bench.add())
    await wait_until(lambda: len(process.caught_up) > 1, "it was asked again")
    process.script.backfills = Value()
    count = len(process.caught_up)
    await wait_until(lambda: len(process.caught_up) > count, "and for the last time")


@pytest.mark.timings(backfill_retry=0.01)
async def test_an_error_that_nobody_expects_is_logged_once_and_ends_no_backfill(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, asked = await bench.add(), 0
    request = session.traffic.backfiller._request

    async def failing() -> CatchUp:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise RuntimeError("nobody expects it")
        return await request()

    monkeypatch.setattr(session.traffic.backfiller, "_request", failing)
    lines = list[str]()
    sink = logger.add(lines.append, level="CRITICAL", format="{extra[event]} {extra[task]}")
    process = await up(session)
    await wait_until(lambda: process.caught_up, "it was asked after all")
    logger.remove(sink)
    assert [line.splitlines()[0] for line in lines] == ["bug backfill"]


# ---- what a worker had to drop ----

CHAT = message(1).chat


async def read(bench: Bench, world: World) -> tuple[SessionActor, FakeProcess]:
    """A session whose backfill has ended."""
    session = await bench.add()
    paired = {"token": "t", "at": world.clock.wall() - 7_200}
    (session.profile.at.profile / PAIRING).write_text(json.dumps(paired))
    process = await up(session)
    await wait_until(lambda: is_read(session), "it was read back after the load")
    return session, process


def is_read(session: SessionActor) -> bool:
    worker = session.state.worker
    assert worker
    return session.traffic.backfiller.ended_at(worker.number, worker.loads) is not None


def drops(world: World, process: FakeProcess, why: str = DROPPED) -> int:
    """Since when it has dropped messages."""
    at = int(world.clock.wall()) - 7_000
    process.event(BackfillGap(chat=CHAT, why=why, since=at))
    return at


@pytest.mark.timings(backfill_retry=0.01)
async def test_what_was_dropped_is_read_back_although_newer_ones_are_stored(
    bench: Bench, world: World
) -> None:
    session, process = await read(bench, world)
    at = drops(world, process)
    process.event(message(1))
    await wait_until(lambda: len(process.caught_up) == 2, "it was asked again")
    assert process.caught_up[1].since[CHAT] == at
    await wait_until(lambda: is_read(session), "it is read")
    process.report("connected", loads=2)
    await wait_until(lambda: len(process.caught_up) == 3, "it is asked after a load")
    assert process.caught_up[2].since[CHAT] > at, "nothing is owed any more"


@pytest.mark.timings(backfill_retry=0.01)
async def test_what_is_dropped_while_chats_are_read_is_asked_for_too(
    bench: Bench, world: World
) -> None:
    session, process = await read(bench, world)
    since = list[int]()

    def drop_once() -> None:
        if not since:
            since.append(drops(world, process))

    process.script.while_read = drop_once
    process.report("connected", loads=2)
    await wait_until(lambda: len(process.caught_up) == 3, "it was asked again")
    assert CHAT not in process.caught_up[1].since
    assert process.caught_up[2].since[CHAT] == since[0]
    await wait_until(lambda: is_read(session), "it is read")


@pytest.mark.timings(backfill_retry=0.01)
async def test_what_a_backfill_could_not_read_is_not_asked_for_again(
    bench: Bench, world: World
) -> None:
    session, process = await read(bench, world)
    process.script.while_read = lambda: drops(world, process, "its history cannot be read")
    process.report("connected", loads=2)
    await wait_until(lambda: is_read(session) and len(process.caught_up) == 2, "it is read")
    process.script.while_read = lambda: None
    process.report("connected", loads=3)
    await wait_until(lambda: is_read(session) and len(process.caught_up) == 3, "it is read again")
    assert CHAT not in process.caught_up[2].since


async def test_a_page_that_is_asked_whether_it_hears_reads_what_is_owed(
    bench: Bench, world: World
) -> None:
    session, process = await read(bench, world)
    at = drops(world, process, "its history cannot be read")
    await wait_until(lambda: world.audited("backfill_gap"), "it is known")
    session.tick()
    world.clock.advance(QUIET)
    session.tick()
    await wait_until(lambda: len(process.caught_up) == 2, "its chats are asked")
    assert process.caught_up[1].since[CHAT] == at
    assert process.caught_up[1].floor > at


@pytest.mark.timings(backfill_retry=0.01)
async def test_the_log_says_what_to_do_for_a_backfill_that_fails(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, failing = list[str](), True
    newest = world.inbox.newest

    async def fails(session_id: str, *, after: float) -> Mapping[str, float]:
        if failing:
            raise UnavailableError("it is away", field="database.url", remedy="start it")
        return await newest(session_id, after=after)

    monkeypatch.setattr(world.inbox, "newest", fails)
    sink = logger.add(lambda it: lines.append(it.record["extra"].get("why", "")), level="WARNING")
    process = await up(await bench.add())
    await wait_until(lambda: lines, "it is logged")
    failing = False
    await wait_until(lambda: process.caught_up, "it was asked")
    logger.remove(sink)
    assert set(lines) == {"database.url: it is away (start it)"}
