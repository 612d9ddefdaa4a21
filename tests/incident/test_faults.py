"""The faults of the service that waguard replaces, each as a test that waguard has it not.

Numbered as they were found. Those that need processes, Chromium or a server are in
``test_faults_on_real_parts``.
"""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_world import outbox
from tests.sends import not_sent
from tests.supervision.bench import CONNECTED, LOADING, PHONE, QR_SHOWN, TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import heard_at, until
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Browser
from waguard.core.backoff import NEVER
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import ParkCause, Reason, Status, StatusInputs, derive, understood
from waguard.core.session.deadlines import next_deadline
from waguard.errors import ConflictError, DatabaseUnavailableError, NotFoundError
from waguard.ports.outcomes import Acked
from waguard.ports.store import SessionRow
from waguard.profile import layout
from waguard.supervision.session import application_events as translate
from waguard.wire.events import Ack


async def test_01_a_restore_that_failed_is_in_the_row(bench: Bench, world: World) -> None:
    """It was reported to a route that did not exist, and the row stayed "connected"."""
    await bench.row("s")
    world.change("restore", timeout=0.05)
    world.spawn.script = Script(reports=(LOADING,))
    assert await bench.restore() == "pending 1"
    await until(bench.session(), lambda s: s.state.status.status is Status.DISCONNECTED)
    await bench.until_written()
    assert world.row_status("s") == ("disconnected", "error")


async def test_02_a_session_is_restored_from_where_it_was_created(
    bench: Bench, world: World
) -> None:
    """Two layouts: one was written, the other one read. Both are read, one is written."""
    sessions = world.config.paths.sessions
    await bench.row("old", profile=False)
    (sessions / "7" / "old" / "Default").mkdir(parents=True)
    await bench.row("new")
    world.spawn.script = Script(reports=(CONNECTED,))
    assert await bench.restore() == "restored 2"
    for name in ("old", "new"):
        assert bench.process(name).spec.profile == str(layout.path(sessions, 7, name))


async def test_03_a_read_that_failed_is_no_empty_list(bench: Bench, world: World) -> None:
    """It became "0 restored, success"."""
    await bench.row("s")
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await bench.restore()
    assert not bench.it.health.read().restored
    assert "sessions are still being restored" in bench.it.health.read().problems
    world.store.down = False
    assert await bench.restore() == "restored 1"


async def test_04_a_code_on_the_screen_is_not_restored(bench: Bench, world: World) -> None:
    """Initialise had returned, so it counted as success."""
    await bench.row("s")
    world.spawn.script = Script(reports=(QR_SHOWN,))
    assert await bench.restore() == "needs QR 1"
    await bench.until_written()
    assert world.row_status("s")[0] == "qr_scanning"


async def test_05_a_restored_session_can_send(bench: Bench, world: World) -> None:
    """Its record had been overwritten without a status."""
    await bench.row("s")
    assert await bench.restore() == "restored 1"
    assert isinstance(await bench.it.sessions.send("s", TEXT, wait=DEADLINE), Acked)


async def test_06_health_knows_what_is_so(bench: Bench, world: World) -> None:
    """It was healthy always. (The routes: tests/api; live and ready: e2e.)"""
    await bench.row("s")
    assert not bench.it.health.read().restored
    await bench.restore()
    assert bench.it.health.read().problems == ()
    bench.process().report("offline")
    await until(bench.session(), lambda s: s.link is Link.OFFLINE)
    health = bench.it.health.read()
    assert (health.supervising, health.connected, len(health.problems)) == (True, 0, 1)


async def test_07_quiet_is_not_dead(empty: Bench, world: World) -> None:
    """Half an hour without a message was taken for a failure."""
    process = await empty.connected()
    for _ in range(460):
        world.clock.advance(4.0)  # half an hour in all, and more
        process.beat()
        await wait_until(lambda: heard_at(empty.session()) == world.clock.now, "it was heard")
        await empty.it.watchdog.watch()
    assert process.alive
    assert empty.session().state.restarts == 0


async def test_08_a_reconnect_that_shows_a_code_is_no_success(empty: Bench, world: World) -> None:
    await empty.connected()
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await empty.it.sessions.start("s", restart=True)
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    assert (await empty.it.sessions.view("s")).status == "qr_scanning"
    assert empty.it.health.read().connected == 0


async def test_08_what_is_cancelled_has_no_timers_left(empty: Bench, world: World) -> None:
    process = await empty.connected()
    world.spawn.scripts["s"] = Script(exits=1)
    process.exit(1)
    await until(empty.session(), lambda s: s.state.restarts > 1 and s.lifecycle is State.BACKOFF)
    await empty.it.sessions.logout("s")
    started = len(world.spawn.started)
    assert empty.session().lifecycle is State.STOPPED
    assert next_deadline(empty.session().state) == NEVER
    await asyncio.sleep(0)
    assert len(world.spawn.started) == started


@given(
    st.builds(
        StatusInputs,
        state=st.sampled_from(State),
        link=st.sampled_from(Link),
        parked=st.none() | st.sampled_from(ParkCause),
        daemon_stopping=st.booleans(),
        expects_qr=st.booleans(),
        link_overdue=st.booleans(),
    ),
    st.text(),
)
def test_09_no_status_outside_the_enum_is_written(reported_status: StatusInputs, said: str) -> None:
    """ "error" was written into an enum that had no such value."""
    for result in (derive(reported_status), understood(said, said, None)):
        if result is not None:
            assert result.status in Status
            assert result.reason is None or result.reason in Reason


async def test_10_a_request_that_is_repeated_in_flight_is_one_message(tmp_path: Path) -> None:
    """The application repeats a send three times."""
    async with outbox(tmp_path) as world:
        world.sessions.free.clear()
        first, second, third = world.send(), world.send(), world.send()
        assert first is second is third
        world.sessions.free.set()
        await world.result(first)
        assert len(world.sessions.sends()) == 1
        assert world.sessions.calls[0][0] == SESSION


def test_12_acks_are_counted_as_the_application_counts() -> None:
    """WhatsApp's 1 (server) is its 2, and so on."""
    row = SessionRow(
        session_id="s", workspace_id=1, status="connected", desired_up=True, generation=1
    )
    for ack, level, status in ((1, 2, "sent"), (2, 3, "delivered"), (3, 4, "read")):
        [received] = translate.acks(row, Ack(ids=("m",), ack=ack, chat="c"), 1.0)
        reported = received.events[0]
        assert (reported.event, reported.data["ack_level"], reported.data["status"]) == (
            "message_status_updated",
            level,
            status,
        )


def test_16_chromium_has_thirty_seconds() -> None:
    """Fifteen were not enough."""
    assert Browser().launch_timeout == 30.0


async def test_the_row_says_connected_and_memory_has_no_session(empty: Bench, world: World) -> None:
    """The incident itself, while the daemon runs: it heals by itself, and a send goes out."""
    await empty.row("s")
    world.spawn.scripts["s"] = Script(reports=(CONNECTED,))
    await empty.it.reconciler.reconcile()
    await wait_until(lambda: empty.session().link is Link.CONNECTED, "it is up")
    assert isinstance(await empty.it.sessions.send("s", TEXT, wait=DEADLINE), Acked)
    assert empty.session().state.phone == PHONE
    await empty.until_written()
    [(_, after, reason)] = world.audited("reconciled")
    assert after == "added and started"
    assert reason == "the row says connected, memory had no such session"


async def test_a_send_to_a_session_that_memory_has_not_waits_for_its_restore(
    empty: Bench, world: World
) -> None:
    """ "404 Session not found" is for sessions that do not exist, and only for them."""
    await empty.row("s")
    world.spawn.scripts["s"] = Script(reports=(LOADING, CONNECTED))
    assert isinstance(await empty.it.sessions.send("s", TEXT, wait=DEADLINE), Acked)
    await empty.until_written()
    assert len(world.audited("reconciled")) == 1
    error = await not_sent(empty.it.sessions.send("nobody", TEXT, wait=0.0), NotFoundError)
    assert error.message == "Session not found"


async def test_a_send_to_a_session_whose_row_does_not_want_it_up_starts_nothing(
    empty: Bench, world: World
) -> None:
    await empty.row("s", up=False, status="connected")
    await not_sent(empty.it.sessions.send("s", TEXT, wait=0.0), ConflictError)
    assert world.spawn.started == []
