"""What WhatsApp says of the link: another client, a ban, a code that nobody scans; and the row's status by it."""

from typing import Any

import pytest

from tests.supervision.bench import PHONE, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.reports import qr
from tests.supervision.sessions import (
    connected,
    crash,
    found,
    heard,
    parked,
    running,
    until,
    up,
    written,
)
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import ParkCause, Status
from waguard.core.session import views
from waguard.core.session.restart import Remembered
from waguard.core.session.state import Pairing
from waguard.supervision.session.actor import SessionActor
from waguard.wire.calls import Failed, TakeOver
from waguard.wire.events import LoggedOut


@pytest.mark.parametrize("on_conflict", ["park", "takeover"])
async def test_conflict_parks_unless_it_is_to_be_taken_back(
    bench: Bench, world: World, on_conflict: str
) -> None:
    world.change("whatsapp", on_conflict=on_conflict)
    session = await bench.add()
    process = await up(session)
    process.report("conflict")
    if on_conflict == "park":
        await until(session, parked)
        assert views.parked_for(session.state) is ParkCause.CONFLICT
        assert world.spawn.alive == []
    else:
        await until(session, lambda s: s.link is Link.CONFLICT)
        assert session.lifecycle is State.RUNNING
    await written(session)
    assert world.row_status("s") == ("failed", "error")


async def conflicts(world: World, session: SessionActor, process: FakeProcess) -> None:
    """Another client takes it, and the page says so until it is answered."""
    world.clock.advance(6.0)
    heard(session)
    process.report("conflict")
    await until(session, lambda s: s.link is Link.CONFLICT or parked(s))


async def taken_back(process: FakeProcess, times: int) -> None:
    await wait_until(lambda: process.calls.count(TakeOver()) == times, "it is taken back")


async def taken_back_three_times(world: World, session: SessionActor, process: FakeProcess) -> None:
    """And then it is parked."""
    for number in range(1, 4):
        await conflicts(world, session, process)
        await taken_back(process, number)
        process.report("connected")
        await until(session, connected)
    await conflicts(world, session, process)
    await until(session, parked)
    await written(session)


async def test_a_session_is_taken_back_three_times_and_then_parked(
    bench: Bench, world: World
) -> None:
    world.change("whatsapp", on_conflict="takeover")
    session = await bench.add()
    process = await up(session)
    await taken_back_three_times(world, session, process)
    assert views.parked_for(session.state) is ParkCause.CONFLICT
    assert world.row_status("s") == ("failed", "error")
    assert "taken back 3 times in 10 min" in str(world.store.accounts["s"].disconnect_details)
    assert process.calls.count(TakeOver()) == 3
    process = await up(session)  # a person closed the other one: the count begins anew
    await conflicts(world, session, process)
    await taken_back(process, 1)


async def test_the_bound_survives_the_worker_and_old_takeovers_do_not_count(
    bench: Bench, world: World
) -> None:
    world.change("whatsapp", on_conflict="takeover")
    world.change("restart", base_delay=0.0)
    session = await bench.add()
    process = await up(session)
    for _ in range(3):
        await conflicts(world, session, process)
        await taken_back(process, 1)
        await crash(session)
        await until(session, connected)
        assert isinstance(session.runner.process, FakeProcess)
        process = session.runner.process
    await conflicts(world, session, process)
    await until(session, parked)
    process = await up(session)
    for _ in range(10):
        await conflicts(world, session, process)
        process.report("connected")
        await until(session, connected)
        world.clock.advance(301.0)
        heard(session)
    await taken_back(process, 10)


async def test_a_takeover_in_vain_is_repeated_by_the_tick_and_counts(
    bench: Bench, world: World
) -> None:
    world.change("whatsapp", on_conflict="takeover")
    session = await bench.add()
    process = await up(session)

    async def refuse(_: Any) -> Any:
        return Failed(kind="error", error="the page threw")

    process.script.answer = refuse
    process.report("conflict")
    await until(session, lambda s: s.link is Link.CONFLICT)
    for number in range(1, 4):
        await taken_back(process, number)
        bench.it.mailbox.tick()
        world.clock.advance(6.0)
        heard(session)
        bench.it.mailbox.tick()
    assert process.calls.count(TakeOver()) == 3
    await until(session, parked)


async def test_blocked_parks_with_whatsapps_word_and_no_restart(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    process.report("blocked", details="TOS_BLOCK")
    await until(session, parked)
    await written(session)
    assert views.parked_for(session.state) is ParkCause.BLOCKED
    assert world.row_status("s") == ("failed", "error")
    assert world.store.accounts["s"].disconnect_details == "TOS_BLOCK"
    assert len(world.audited("parked")) == 1
    assert session.state.restarts == 0
    assert len(world.spawn.started) == 1


async def test_a_session_that_nobody_scans_is_parked_until_somebody_asks(
    bench: Bench, world: World
) -> None:
    world.spawn.script.reports = ({"phase": "ready", "link": "qr_pending", "qr": qr()},)
    session = await bench.add(profile=False)
    session.start()
    await until(session, running)
    await written(session)
    assert world.row_status("s") == ("qr_scanning", None)
    assert isinstance(session.runner.process, FakeProcess)
    session.runner.process.report("qr_pending", qr_idle=True)
    await until(session, parked)
    await written(session)
    assert views.parked_for(session.state) is ParkCause.QR_EXPIRED
    assert world.row_status("s") == ("disconnected", "qr_expired")
    session.start()  # a person asks for a new code
    await until(session, lambda s: s.link is Link.QR_PENDING)
    await written(session)
    assert world.row_status("s") == ("qr_scanning", None)


async def test_unlinked_on_the_phone(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    seq = process.event(LoggedOut(reason="phone"))
    process.report("qr_pending", qr=qr())
    await until(session, lambda s: s.link is Link.QR_PENDING)
    await wait_until(lambda: process.stored == [seq], "the event is acknowledged")
    await written(session)
    assert world.row_status("s") == ("qr_scanning", None)
    assert world.audited("logged_out") == [(None, None, "phone")]
    assert session.state.restarts == 0


async def added_again(bench: Bench) -> SessionActor:
    """By the next daemon, as its row has it."""
    row = await bench.world.store.session("s")
    assert row
    return bench.it.registry.add(row)


@pytest.mark.parametrize("expired", [True, False])
async def test_the_next_daemon_knows_which_session_is_not_linked_any_more(
    bench: Bench, world: World, *, expired: bool
) -> None:
    session = await bench.add()
    process = await up(session)
    process.event(LoggedOut(reason="phone"))
    process.report("qr_pending", qr=qr())
    await until(
        session, lambda s: s.state.pairing.lost_at is not None and bool(s.state.pairing.said)
    )
    (before,) = found(session)
    assert "phone" in before.message
    if expired:
        process.report("qr_pending", qr_idle=True)
        await until(session, parked)
    world.clock.advance(60)
    await bench.restart()
    world.remembered = {"s": session.remember()}
    assert world.row_status("s")[0] == "disconnected"
    world.spawn.script = Script(reports=({"phase": "loading"},))
    again = await added_again(bench)
    again.start(asked=False)
    if expired:
        assert parked(again), "codes that nobody scanned wait for a person"
        assert found(again)[-1].since == before.since
        again.start()
    assert (again.state.pairing, again.state.status.status) == (
        session.state.pairing,
        Status.QR_SCANNING,
    )
    assert found(again) == (before,)


@pytest.mark.parametrize("status", ["connected", "disconnected"])
async def test_a_session_that_was_scanned_since_is_not_unlinked(
    bench: Bench, world: World, status: str
) -> None:
    """The daemon was killed before it had stored that, or it was under another host's, which was stopped in order."""
    world.remembered = {"s": Remembered(unlinked_at=world.clock.wall())}
    world.clock.advance(60)
    session = await bench.add()
    await up(session)
    await written(session)
    await bench.restart()
    world.store.accounts["s"].status = status
    again = await added_again(bench)
    assert again.state.pairing == Pairing(made=True)


@pytest.mark.parametrize(
    ("link", "status", "reason"),
    [
        ("offline", "disconnected", "timeout"),
        ("syncing", "authenticated", None),
        ("pairing", "authenticated", None),
        ("qr_pending", "qr_scanning", None),
    ],
)
async def test_a_link_becomes_a_status(
    bench: Bench, world: World, link: str, status: str, reason: str | None
) -> None:
    session = await bench.add()
    process = await up(session)
    process.report(link)
    await until(session, lambda s: s.link is Link(link))
    await written(session)
    assert world.row_status("s") == (status, reason)


async def test_unknown_keeps_the_row_until_its_deadline(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    process.report("unknown")
    await until(session, lambda s: s.link is Link.UNKNOWN)
    for _ in range(29):
        world.clock.advance(1)
        heard(session)
        bench.it.mailbox.tick()
    assert session.state.status.status is Status.CONNECTED
    world.clock.advance(1)
    bench.it.mailbox.tick()
    await written(session)
    assert world.row_status("s") == ("disconnected", "unknown")
    process.report("connected", phone=PHONE)
    await until(session, connected)
    await written(session)
    assert world.row_status("s") == ("connected", None)
