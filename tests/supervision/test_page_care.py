"""Conditions of a session: what is tried first, when a person is told, and when it is over."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.supervision.bench import PHONE, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.page_care import kinds, reloaded, reloads, reports, ticks
from tests.supervision.reports import message
from tests.supervision.sessions import heard, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core import remedies
from waguard.core.fleet.network import Reading
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import COVERED_LIMIT, OFFLINE_LIMIT, UPDATE_APART, Kind
from waguard.core.recycle import IDLE
from waguard.ports.process import Usage
from waguard.profile.owner_mark import PAIRING
from waguard.supervision.session import kept_screenshots
from waguard.wire.calls import (
    Call,
    CatchUp,
    Failed,
    Screenshot,
    SendText,
    Sent,
    Unlink,
    Value,
)
from waguard.wire.events import BackfillGap

GHOST = "its socket is OPENING, its stream MAIN NORMAL"


# ---- a newer version ----


async def test_a_newer_version_is_loaded_once_and_when_nothing_is_under_way(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    release = asyncio.Event()

    async def answer(call: Any) -> Any:
        if isinstance(call, SendText):
            await release.wait()
            return Sent(outcome="sent", message_id=call.message_id, timestamp=1)
        return Value()

    process.script.answer = answer
    await reports(empty, phone=PHONE, update_offered=True)
    call = SendText(chat="c", text="t", message_id="true_c_1", timeout=5.0)
    sending = asyncio.create_task(empty.it.sessions.send("s", call, wait=0))
    await wait_until(lambda: process.calls, "it is being sent")
    await ticks(empty, 2 * IDLE)
    assert reloads(process) == 0
    release.set()
    await sending
    await ticks(empty, IDLE - 1)
    assert reloads(process) == 0
    await ticks(empty, 1)
    await reloaded(process, 1)
    await reports(empty, "unknown")
    await reports(empty, phone=PHONE, loads=2)
    await ticks(empty, 2 * UPDATE_APART)
    assert (reloads(process), kinds(empty)) == (1, [])
    assert empty.process() is process
    await empty.until_written()
    assert world.row_status("s") == ("connected", None)
    assert world.audited("reloaded") == [(None, None, "there is a newer version of WhatsApp Web")]
    assert world.events("incident") == []
    assert world.names("session_disconnected") == []


async def test_a_notice_that_persists_is_reported_after_two_loads_and_is_no_loop(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await reports(empty, phone=PHONE, update_offered=True)
    await ticks(empty, IDLE)
    await reloaded(process, 1)
    # a page is told some time after it is loaded: that it says nothing yet is no success
    await reports(empty, phone=PHONE, loads=2)
    await ticks(empty, 60)
    await reports(empty, phone=PHONE, loads=2, update_offered=True)
    await ticks(empty, UPDATE_APART)
    await reloaded(process, 2)
    assert kinds(empty) == []
    await ticks(empty, UPDATE_APART)
    assert (reloads(process), kinds(empty)) == (2, [Kind.UPDATE_PERSISTS])
    view = await empty.it.sessions.view("s")
    assert (view.status, view.lifecycle) == ("connected", "running")
    assert "still asks for its newer version" in str(view.degraded)
    assert empty.it.health.read().problems == (f"s: {view.degraded}",)
    await ticks(empty, 3_600)
    assert reloads(process) == 2
    await wait_until(lambda: world.audited("update_persists"), "it is on the trail")
    assert len(world.audited("update_persists")) == 1
    await reports(empty, phone=PHONE, loads=3)
    await ticks(empty, 1)
    assert kinds(empty) == []
    await wait_until(lambda: world.audited("update_persists_over"), "its end is on the trail")
    (incident,) = fold(world.store.entries)
    assert sentences(incident)[-1].startswith("Result: it is over")


# ---- a socket that is none ----


async def test_a_ghost_socket_is_reloaded_then_replaced_then_reported(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    world.network = Reading()
    await reports(empty, "offline", socket=GHOST)
    await ticks(empty, OFFLINE_LIMIT - 1)
    assert reloads(process) == 0
    await ticks(empty, 1)
    await reloaded(process, 1)
    await reports(empty, "unknown")
    world.spawn.scripts["s"] = Script(reports=({"phase": "ready", "link": "offline"},))
    await reports(empty, "offline", socket=GHOST)
    await ticks(empty, OFFLINE_LIMIT - 1)
    assert empty.process() is process
    await ticks(empty, 1)
    await until(
        empty.session(), lambda s: s.runner.process is not process and s.link is Link.OFFLINE
    )
    second = empty.process()
    assert empty.session().state.restarts == 0
    await ticks(empty, OFFLINE_LIMIT + 1)
    assert kinds(empty) == [Kind.LINK_STUCK]
    view = await empty.it.sessions.view("s")
    assert (view.status, view.disconnect_reason) == ("disconnected", "timeout")
    assert empty.it.health.read().conditions == view.conditions
    assert remedies.text(remedies.PAGE[Kind.LINK_STUCK], "s") in [
        it.remedy for it in view.conditions
    ]
    await ticks(empty, 3_000)
    assert (empty.process(), reloads(second)) == (second, 0)
    assert len(world.audited("recycled")) == 1
    assert not any(isinstance(call, Unlink) for call in [*process.calls, *second.calls])
    await reports(empty, phone=PHONE)
    await ticks(empty, 1)
    assert kinds(empty) == []
    await empty.until_written()
    (incident,) = fold(world.store.entries)
    summary = " ".join(sentences(incident))
    assert "its page was loaded again" in summary
    assert "its worker was replaced, as planned" in summary
    assert "Result: connected again" in summary


async def test_where_whatsapp_serves_no_page_nothing_is_tried(empty: Bench, world: World) -> None:
    process = await empty.connected()
    why = "WhatsApp answers with HTTP status 500"
    await reports(empty, "offline", refused=True, details=why)
    await ticks(empty, 1)
    assert kinds(empty) == [Kind.WHATSAPP_REFUSES]
    view = await empty.it.sessions.view("s")
    assert (view.status, view.disconnect_details) == ("disconnected", why)
    await ticks(empty, 3 * OFFLINE_LIMIT)
    assert (empty.process(), reloads(process), empty.session().state.restarts) == (process, 0, 0)
    await reports(empty, phone=PHONE)
    await ticks(empty, 1)
    assert kinds(empty) == []
    await empty.until_written()
    (incident,) = fold(world.store.entries)
    assert sentences(incident)[0] == f"Cause: {why}."


async def test_a_reload_that_cannot_be_done_is_no_bug(empty: Bench, world: World) -> None:
    process = await empty.connected()

    async def refuse(_: Any) -> Failed:
        return Failed(kind="not_ready", error="the page is loading")

    process.script.answer = refuse
    await reports(empty, "offline")
    await ticks(empty, OFFLINE_LIMIT + 1)
    await reloaded(process, 1)
    await reports(empty, phone=PHONE)
    assert (empty.process(), empty.session().lifecycle) == (process, State.RUNNING)


# ---- memory, a dialog ----


async def test_memory_that_is_large_again_is_reported_and_is_no_loop(
    empty: Bench, world: World
) -> None:
    world.change("worker", memory_limit=400)
    process = await empty.connected()
    world.meter.usage = {"s": Usage(cpu_percent=1.0, memory=900 << 20)}
    await empty.it.watchdog.measure()
    await until(
        empty.session(), lambda s: s.runner.process is not process and s.link is Link.CONNECTED
    )
    second = empty.process()
    for _ in range(200):
        world.clock.advance(60.0)
        await empty.it.watchdog.measure()
    assert (empty.process(), kinds(empty)) == (second, [Kind.MEMORY_IN_VAIN])
    assert len(world.audited("recycled")) == 1
    view = await empty.it.sessions.view("s")
    assert "recycling does not help: it uses 900 MB again" in str(view.degraded)
    assert "worker.memory_limit" in view.conditions[0].remedy
    world.meter.usage = {"s": Usage(cpu_percent=1.0, memory=300 << 20)}
    await empty.it.watchdog.measure()
    assert kinds(empty) == []
    await wait_until(lambda: world.audited("memory_in_vain_over"), "its end is on the trail")


async def test_a_dialog_over_the_page_is_reported_when_it_stays(empty: Bench, world: World) -> None:
    await empty.connected()
    await reports(empty, phone=PHONE, covered=True)
    await ticks(empty, COVERED_LIMIT - 1)
    assert kinds(empty) == []
    await ticks(empty, 1)
    assert kinds(empty) == [Kind.ACTION_REQUIRED]
    assert "screenshot" in (await empty.it.sessions.view("s")).conditions[0].remedy
    await empty.it.sessions.stop("s")
    await ticks(empty, 1)
    assert kinds(empty) == []


@pytest.mark.parametrize(
    "picture",
    [
        Value(content=b"png"),
        Value(),
        Value(content=bytes(kept_screenshots.LARGEST + 1)),
        Failed(kind="error", error="x"),
    ],
    ids=["a picture", "none", "too big", "an error"],
)
async def test_a_picture_of_what_needs_a_person_is_kept_where_there_is_one(
    empty: Bench, world: World, picture: Value | Failed
) -> None:
    async def answer(call: Call) -> Value | Failed:
        return picture if isinstance(call, Screenshot) else Value()

    process = await empty.connected()
    process.script.answer = answer
    await reports(empty, phone=PHONE, covered=True)
    await ticks(empty, COVERED_LIMIT)
    await wait_until(lambda: Screenshot() in process.calls, "a picture is taken")
    await empty.until_written()
    folder = world.config.paths.state / "evidence"
    if picture != Value(content=b"png"):
        assert not folder.exists()
        assert world.audited("screenshot") == []
        return
    await wait_until(lambda: world.audited("screenshot"), "it is on the trail")
    ((_, _, path),) = world.audited("screenshot")
    assert path is not None
    assert Path(path).read_bytes() == b"png"
    (incident,) = fold(world.store.entries)
    assert f"Done: a picture of its page is kept: {path}." in sentences(incident)


# ---- a fresh pairing ----


@pytest.mark.timings(backfill_quiet=0.0)
async def test_what_came_since_a_pairing_is_read_at_once_and_statuses_later(
    empty: Bench, world: World
) -> None:
    paired_at = world.clock.wall()
    pairing = world.profile("s") / PAIRING
    pairing.write_text(json.dumps({"token": "t", "at": paired_at}))
    process = await empty.connected()
    await wait_until(lambda: process.caught_up, "what was missed is read")
    floor = int(paired_at)
    first = CatchUp(since={}, floor=floor, fresh=True)
    assert process.caught_up == [first]
    process.event(message(1))
    await wait_until(lambda: world.inbox.kept, "what is live flows")
    world.clock.advance(599.0)
    heard(empty.session())
    await reports(empty, phone=PHONE, loads=2)  # its own reload, after five minutes
    await wait_until(lambda: len(process.caught_up) == 2, "what that one missed is read")
    second = CatchUp(since={"49170@c.us": floor}, floor=floor, fresh=True)
    assert process.caught_up == [first, second]
    world.clock.advance(1.0)
    heard(empty.session())
    await wait_until(lambda: len(process.caught_up) == 3, "the rest is read")
    assert process.caught_up[-1] == CatchUp(since=second.since, floor=floor)
    assert empty.session().state.restarts == 0


@pytest.mark.timings(backfill_quiet=0.0)
async def test_a_pairing_that_is_still_to_come_holds_up_no_backfill(
    empty: Bench, world: World
) -> None:
    """The clock was ahead at it."""
    pairing, now = world.profile("s") / PAIRING, world.clock.wall()
    pairing.write_text(json.dumps({"token": "t", "at": now + 7 * 3600}))
    process = await empty.connected()
    await wait_until(lambda: process.caught_up, "what was missed is read")
    assert process.caught_up == [CatchUp(since={}, floor=int(now))]


@pytest.mark.timings(backfill_quiet=0.0, backfill_retry=0.0)
async def test_what_a_worker_owes_is_read_also_where_it_was_asked_in_vain_before(
    empty: Bench, world: World
) -> None:
    """Its line was made again meanwhile: it had dropped messages while no daemon stored them."""
    world.spawn.scripts["s"] = Script(backfills=Failed(kind="error", error="gone"))
    await empty.create("s")
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    process = empty.process()
    await wait_until(lambda: process.caught_up, "it is asked in vain")
    process.event(
        BackfillGap(chat="49170@c.us", why="dropped", since=process.caught_up[0].floor + 9)
    )
    await wait_until(lambda: world.audited("backfill_gap"), "the gap is known")
    process.script.backfills = Value()
    await wait_until(lambda: process.caught_up[-1].since, "it is asked for")
    assert process.caught_up[-1].since == {"49170@c.us": process.caught_up[0].floor + 9}


@pytest.mark.timings(backfill_quiet=0.0)
async def test_a_clock_that_is_a_year_ahead_hides_nothing_from_the_backfill(
    empty: Bench, world: World
) -> None:
    paired_at = world.clock.wall()
    pairing = world.profile("s") / PAIRING
    pairing.write_text(json.dumps({"token": "t", "at": paired_at}))
    process = await empty.connected()
    await wait_until(lambda: process.caught_up, "what was missed is read")
    world.clock.ahead = 365 * 86_400.0
    await reports(empty, phone=PHONE, loads=2)
    await wait_until(lambda: not process.caught_up[-1].fresh, "all is read")
    assert {it.floor for it in process.caught_up} == {int(paired_at)}
