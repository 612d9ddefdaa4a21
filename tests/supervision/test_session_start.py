"""One session from its start to connected, and what keeps a start from coming to anything."""

import asyncio
import fcntl
import os
import shutil
from typing import Final

import pytest

from tests.profile.database_lock import another, lock_database
from tests.profile.leveldb_files import LOCAL
from tests.supervision.bench import PHONE, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.reports import qr
from tests.supervision.sessions import connected, crash, running, until, up, written
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.blame import Blame
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.host.strays import Foreign, Seen
from waguard.core.lifecycle import State
from waguard.core.session import views
from waguard.ports.process import Swept
from waguard.profile.lock import LOCK_NAME
from waguard.supervision.session.actor import SessionActor
from waguard.wire.worker import WorkerSpec

LONG: Final = 600.0  # s


async def test_from_start_to_connected_and_down_again(bench: Bench, world: World) -> None:
    """The whole story, in order, as everybody outside sees it."""
    world.spawn.script.reports = (
        {"phase": "launching", "link": "unknown"},
        {"phase": "loading", "link": "unknown"},
        {"phase": "ready", "link": "qr_pending", "qr": qr()},
        {"phase": "ready", "link": "pairing"},
        {"phase": "ready", "link": "syncing", "phone": PHONE},
        {"phase": "ready", "link": "connected", "phone": PHONE},
    )
    session = await bench.add(profile=False)
    await up(session)
    await written(session)
    assert world.row_status("s") == ("connected", None)
    assert world.store.accounts["s"].phone_number == PHONE
    assert session.row.phone_number == PHONE
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    await written(session)
    assert world.row_status("s") == ("disconnected", "user_initiated")
    await wait_until(
        lambda: world.published_events[-1].data.get("to") == "stopped", "the end was told"
    )
    story = [
        event.data.get("to", event.event) if event.event in {"lifecycle", "link"} else event.event
        for event in world.published_events
    ]
    assert story == [
        "starting",
        "running",
        "qr_pending",
        "qr_code_generated",
        "pairing",
        "session_authenticated",
        "syncing",
        "connected",
        "session_ready",
        "stopping",
        "unknown",
        "session_disconnected",
        "stopped",
    ]
    assert {event.session_id for event in world.published_events} == {"s"}
    assert {event.workspace_id for event in world.published_events} == {7}
    (ready,) = world.events("session_ready")
    assert ready.data == {"phone_number": PHONE, "status": "connected"}
    (down,) = world.events("session_disconnected")
    assert down.data["reason"] == "user_initiated"
    assert [(b, a) for b, a, _ in world.audited("status")] == [
        ("qr_scanning", "authenticated"),
        ("authenticated", "connected"),
        ("connected", "disconnected"),
    ]
    assert world.spawn.alive == []


async def test_what_the_worker_gets_at_its_start(bench: Bench, world: World) -> None:
    world.change("whatsapp", on_conflict="takeover")
    session = await bench.add()
    process = await up(session)
    assert process.greeting
    assert process.greeting.generation == session.row.generation == process.spec.generation
    assert process.spec.profile == str(session.profile.at.profile)
    assert process.spec.instance == "test"


async def test_ready_is_not_connected(bench: Bench, world: World) -> None:
    """Fault 4: initialised, possibly showing a QR."""
    world.spawn.script.reports = ({"phase": "ready", "link": "offline"},)
    session = await bench.add()
    session.start()
    await until(session, running)
    await written(session)
    assert world.row_status("s") == ("disconnected", "timeout")
    assert world.events("session_ready") == []


async def test_a_phone_number_that_comes_late_reaches_the_row(bench: Bench, world: World) -> None:
    world.spawn.script.reports = ({"phase": "ready", "link": "connected"},)
    session = await bench.add()
    process = await up(session)
    await written(session)
    assert world.store.accounts["s"].phone_number is None
    process.report("connected", phone=PHONE)
    await until(session, lambda s: s.row.phone_number == PHONE)
    assert world.store.accounts["s"].phone_number == PHONE


async def test_only_new_codes_are_announced_and_only_while_they_count(
    bench: Bench, world: World
) -> None:
    world.spawn.script.reports = ({"phase": "ready", "link": "qr_pending", "qr": qr("1")},)
    session = await bench.add(profile=False)
    session.start()
    await until(session, running)
    assert isinstance(session.runner.process, FakeProcess)
    process = session.runner.process
    process.report("qr_pending", qr=qr("1"))
    process.report("qr_pending", qr=qr("2", count=2))
    process.report("connected", qr=qr("3", count=3))
    await until(session, connected)
    await wait_until(lambda: world.events("session_ready"), "all before it was told")
    reported = [(e.data["raw"], e.data["qr_count"]) for e in world.events("qr_code_generated")]
    assert reported == [("1", 1), ("2", 2)]
    first, second = world.events("qr_code_generated")
    assert (first.data["is_regeneration"], second.data["is_regeneration"]) == (False, True)
    assert first.data["expires_in"] == 1_000
    assert first.data["qr_code"].startswith("data:image/png;base64,")


LEFT = Seen(
    pid=12,
    start_time=1,
    parent=1,
    user="op",
    command="chromium --headless",
    profile="/p",
    record=None,
)


async def test_before_a_start_what_a_dead_worker_left_is_ended(bench: Bench, world: World) -> None:
    world.spawn.swept = Swept(ended=(LEFT,))
    session = await bench.add()
    process = await up(session)
    assert isinstance(process.spec, WorkerSpec)
    assert world.spawn.sweeps == [(process.spec.record, process.spec.profile, set())]
    await written(session)
    assert world.audited("stray_ended") == [(None, None, "chromium --headless")]


def _locked(session: SessionActor) -> int:
    """Its profile's lock, as a worker leaves it; held by nobody yet."""
    return os.open(session.profile.at.profile / LOCK_NAME, os.O_RDWR | os.O_CREAT)


async def _restarted(session: SessionActor, world: World) -> int:
    """How often it was searched for what the worker before left."""
    before = len(world.spawn.sweeps)
    await crash(session)
    await until(session, connected)
    return len(world.spawn.sweeps) - before


@pytest.mark.timings(clear=LONG)
async def test_a_restart_searches_nothing_where_the_worker_surely_left_nothing(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    process = await up(session)
    os.close(_locked(session))
    assert await _restarted(session, world) == 0
    world.spawn.full.add(process.pid)  # that one is over
    assert await _restarted(session, world) == 0


@pytest.mark.timings(clear=LONG)
@pytest.mark.parametrize(
    "left", ["its group", "its browser's", "a lock", "no lock's file", "another's browser"]
)
async def test_a_restart_searches_where_something_may_be_left(
    bench: Bench, world: World, left: str
) -> None:
    session = await bench.add()
    process = await up(session)
    lock = _locked(session)
    profile = session.profile.at.profile
    match left:
        case "its group":
            world.spawn.full.add(process.pid)
        case "its browser's":  # a stopped renderer holds no lock
            world.spawn.full.add(process.pid + 1)
        case "a lock":
            fcntl.flock(lock, fcntl.LOCK_EX)
        case "no lock's file":
            (profile / LOCK_NAME).unlink()
        case _:
            (profile / "SingletonLock").symlink_to("elsewhere-12")
    assert await _restarted(session, world) == 1
    os.close(lock)


@pytest.mark.timings(clear=LONG)
async def test_a_restart_searches_where_a_foreign_headless_shell_has_the_storage(
    bench: Bench, world: World
) -> None:
    """It takes neither Chromium's lock on a profile nor ours."""
    world.change("restart", base_delay=0.0, max_delay=0.0)
    session = await bench.add()
    await up(session)
    os.close(_locked(session))
    database = session.profile.at.profile / LOCAL
    database.mkdir(parents=True)
    (database / "LOCK").touch()
    assert await _restarted(session, world) == 0
    with another() as browser:
        lock_database(browser, session.profile.at.profile)
        assert await _restarted(session, world) == 1
    (database / "LOCK").unlink()
    (database / "LOCK").symlink_to("elsewhere")
    assert await _restarted(session, world) == 1, "what cannot be read is not free"


@pytest.mark.timings(clear=LONG)
async def test_a_restart_searches_where_a_browser_may_not_have_been_reported(
    bench: Bench, world: World
) -> None:
    world.spawn.script.reports = ({"phase": "closing", "link": "unknown", "browser_pid": None},)
    session = await bench.add()
    session.start()
    await until(session, lambda s: s.runner.report is not None)
    os.close(_locked(session))
    world.spawn.script.reports = ({"phase": "ready", "link": "connected", "phone": PHONE},)
    assert await _restarted(session, world) == 1


@pytest.mark.timings(clear=0.0)
async def test_a_start_long_after_the_last_one_searches(bench: Bench, world: World) -> None:
    """Meanwhile somebody may have started a browser that has no lock."""
    session = await bench.add()
    await up(session)
    os.close(_locked(session))
    assert await _restarted(session, world) == 1


@pytest.mark.timings(held_retry=0.01)
async def test_a_profile_that_a_foreign_process_uses_is_waited_for(
    bench: Bench, world: World
) -> None:
    world.spawn.swept = Swept(foreign=(Foreign(LEFT),))
    session = await bench.add()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert views.details(session.state) == "op's Chromium 12 uses /p: chromium --headless"
    assert world.spawn.started == []
    world.spawn.swept = Swept()
    await until(session, connected)
    assert session.state.restarts == 0, "it is not the session's fault"


@pytest.mark.timings(held_retry=0.01)
async def test_a_runtime_folder_that_cannot_be_made_again_is_waited_for(
    bench: Bench, world: World
) -> None:
    runtime = world.config.paths.runtime
    shutil.rmtree(runtime)
    runtime.touch()
    session = await bench.add()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert str(views.details(session.state)).startswith("paths.runtime cannot be used: ")
    runtime.unlink()
    await until(session, connected)
    assert session.state.restarts == 0, "it is not the session's fault"
    assert (runtime / "workers").is_dir()


async def test_an_early_death_is_reported_by_its_exit_code(bench: Bench, world: World) -> None:
    """Not by the socket that nobody could connect to."""
    world.change("restart", base_delay=600.0, max_delay=600.0)
    world.spawn.script = Script(listens=False, exits=EXIT_BROWSER_NOT_STARTED)
    session = await bench.add()
    session.start()
    await until(session, lambda s: s.state.restarts == 2)
    await written(session)
    reasons = {reason for _, _, reason in world.audited("restart")}
    assert reasons == {"Chromium did not start"}


@pytest.mark.timings(held_retry=0.01)
async def test_the_system_that_starts_nothing(bench: Bench, world: World) -> None:
    """The host's fault: it waits, spends no restart, and starts by itself."""
    world.spawn.script = Script(refuses="no worker could be started: out of pids")
    session = await bench.add()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert "out of pids" in str(views.details(session.state))
    (condition,) = views.conditions(session.state)
    assert (condition.blame, condition.reason) == (Blame.HOST, "spawn_failed")
    world.spawn.script = Script()
    await until(session, connected)
    assert session.state.restarts == 0


async def test_a_bug_in_the_spawn_does_not_leave_it_starting_for_ever(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(spec: object) -> FakeProcess:
        raise KeyError("what nobody foresaw")

    monkeypatch.setattr(world.spawn, "spawn", broken)
    session = await bench.add()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert views.details(session.state) == "'what nobody foresaw'"
