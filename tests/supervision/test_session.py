"""One session: what it does with its worker, what the row says, what the world is told."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.sends import not_sent
from tests.supervision.fakes import (
    START,
    FakeProcess,
    Script,
    World,
    heard,
    heard_at,
    message,
    qr,
    until,
    unusable,
)
from tests.waiting import DEADLINE, wait_until
from waguard.core.blame import Blame, Failure, describe_exit
from waguard.core.exits import (
    EXIT_BROWSER_NOT_STARTED,
    EXIT_DISK_FULL,
    EXIT_PROFILE_HELD,
    EXIT_PROFILE_LOCKED,
)
from waguard.core.host.strays import Foreign, Seen
from waguard.core.lifecycle import HAS_PROCESS, State
from waguard.core.link import Link
from waguard.core.messages.inbox import File, Kind
from waguard.core.session import views
from waguard.core.session.facts import ParkRequested, RowRead
from waguard.core.status import ParkCause, Status
from waguard.errors import UnavailableError, WaguardError
from waguard.ports.process import Swept
from waguard.ports.store import SessionRow
from waguard.profile.owner_mark import PAIRING
from waguard.supervision import status_writer, translate
from waguard.supervision.actor import SessionActor
from waguard.supervision.intake import TOUCH_INTERVAL
from waguard.wire.protocol import (
    Ack,
    BackfillGap,
    Edit,
    Failed,
    IncomingCall,
    LoggedOut,
    MessageError,
    ProfileMended,
    Reaction,
    Revoke,
    SendText,
    TakeOver,
    Value,
    WorkerSpec,
)

Make = Callable[..., Awaitable[SessionActor]]
PHONE = "4915112345678"
LEFT = Seen(
    pid=12,
    start_time=1,
    parent=1,
    user="op",
    command="chromium --headless",
    profile="/p",
    record=None,
)
TEXT = SendText(chat="c", text="t", message_id="true_c_1", timeout=5.0)


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


async def test_from_start_to_connected_and_down_again(world: World, make: Make) -> None:
    """The whole story, in order, as everybody outside sees it."""
    world.spawn.script.reports = (
        {"phase": "launching", "link": "unknown"},
        {"phase": "loading", "link": "unknown"},
        {"phase": "ready", "link": "qr_pending", "qr": qr()},
        {"phase": "ready", "link": "pairing"},
        {"phase": "ready", "link": "syncing", "phone": PHONE},
        {"phase": "ready", "link": "connected", "phone": PHONE},
    )
    session = await make(profile=False)
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


async def test_what_the_worker_gets_at_its_start(world: World, make: Make) -> None:
    world.change("whatsapp", on_conflict="takeover")
    session = await make()
    process = await up(session)
    assert process.greeting
    assert process.greeting.generation == session.row.generation == process.spec.generation
    assert process.spec.profile == str(session.profile.at.profile)
    assert process.spec.instance == "test"


async def test_ready_is_not_connected(world: World, make: Make) -> None:
    """Fault 4: initialised, possibly showing a QR."""
    world.spawn.script.reports = ({"phase": "ready", "link": "offline"},)
    session = await make()
    session.start()
    await until(session, running)
    await written(session)
    assert world.row_status("s") == ("disconnected", "timeout")
    assert world.events("session_ready") == []


async def test_a_phone_number_that_comes_late_reaches_the_row(world: World, make: Make) -> None:
    world.spawn.script.reports = ({"phase": "ready", "link": "connected"},)
    session = await make()
    process = await up(session)
    await written(session)
    assert world.store.accounts["s"].phone_number is None
    process.report("connected", phone=PHONE)
    await until(session, lambda s: s.row.phone_number == PHONE)
    assert world.store.accounts["s"].phone_number == PHONE


async def test_only_new_codes_are_announced_and_only_while_they_count(
    world: World, make: Make
) -> None:
    world.spawn.script.reports = ({"phase": "ready", "link": "qr_pending", "qr": qr("1")},)
    session = await make(profile=False)
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


# ---- crashes, restarts ----


async def crash(session: SessionActor, code: int = -11) -> None:
    process = session.runner.process
    assert isinstance(process, FakeProcess)
    process.exit(code)
    await until(session, lambda s: s.runner.process is not process)


async def test_the_first_restart_is_at_once_the_next_after_a_while(
    world: World, make: Make
) -> None:
    world.change("restart", base_delay=600.0, max_delay=3600.0)
    session = await make()
    await up(session)
    await crash(session)
    await until(session, connected)
    assert session.state.restarts == 1
    assert len(world.spawn.started) == 2
    await crash(session)
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    await written(session)
    assert [e.evidence["delay"] for e in world.store.entries if e.kind == "restart"] == [0.0, 300.0]
    assert session.state.restarts == 2
    assert world.row_status("s") == ("disconnected", "error")
    assert world.store.accounts["s"].disconnect_details == "the worker was ended by SIGSEGV"
    async with asyncio.timeout(DEADLINE):  # a stop does not wait for the backoff
        await session.stop()
    assert session.lifecycle is State.STOPPED
    assert len(world.spawn.started) == 2


async def test_a_person_need_not_wait_for_the_backoff(world: World, make: Make) -> None:
    world.change("restart", base_delay=600.0, max_delay=3600.0)
    session = await make()
    await up(session)
    await crash(session)
    await until(session, connected)
    await crash(session)
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    await up(session)
    assert len(world.spawn.alive) == 1


async def test_the_budget_is_used_up_and_a_person_is_called_once(world: World, make: Make) -> None:
    world.change("restart", intensity=3, base_delay=0.0, max_delay=0.0)
    world.spawn.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    session = await make()
    session.start()
    await until(session, parked)
    await written(session)
    assert len(world.spawn.started) == 4  # the start and three restarts
    assert session.state.restarts == 3
    assert views.parked_for(session.state) is ParkCause.RESTART_BUDGET
    assert world.row_status("s") == ("failed", "error")
    ((_, _, cause),) = world.audited("parked")
    assert cause == "restart_budget"
    assert "Chromium did not start" in str(views.details(session.state))
    # a person acts: the count begins anew
    world.spawn.script = Script()
    await up(session)
    await written(session)
    assert world.row_status("s") == ("connected", None)
    assert views.parked_for(session.state) is None


@pytest.mark.parametrize("code", [EXIT_PROFILE_HELD, EXIT_PROFILE_LOCKED])
async def test_a_profile_that_cannot_be_used_is_waited_for_and_nobody_is_parked(
    world: World, make: Make, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(held_retry=0.001)
    world.change("restart", intensity=3)
    world.spawn.script = Script(exits=code)
    session = await make()
    session.start()
    await until(session, lambda _: len(world.spawn.started) > 5)
    assert session.state.restarts == 0
    assert world.audited("restart") == []
    world.spawn.script = Script()
    await until(session, connected)


async def test_what_was_done_to_a_profile_is_in_the_trail(world: World, make: Make) -> None:
    session = await make()
    await up(session)
    assert isinstance(session.runner.process, FakeProcess)
    done = ("the profile was quarantined (garbage)", "the snapshot s1 was restored")
    session.runner.process.event(ProfileMended(done=done, grave=True, aside="/q/1"))
    session.runner.process.event(ProfileMended(done=("the stale lock was removed",), grave=False))
    await wait_until(lambda: bool(world.audited("profile_tidied")), "both are recorded")
    [(_, _, why)] = world.audited("profile_mended")
    assert why == "; ".join(done)
    assert len(world.audited("profile_tidied")) == 1


async def test_a_long_quiet_time_pays_the_crashes_back(world: World, make: Make) -> None:
    world.change("restart", intensity=1, period=86_000.0, stable_after=300.0)
    session = await make()
    await up(session)
    await crash(session)
    await until(session, connected)
    world.clock.advance(301)
    assert isinstance(session.runner.process, FakeProcess)
    session.runner.process.beat()
    await wait_until(lambda: heard_at(session) == world.clock.monotonic(), "it was heard")
    world.mailbox.tick()
    await crash(session)
    await until(session, connected)
    assert session.state.restarts == 2


async def test_crashes_do_not_count_for_ever(world: World, make: Make) -> None:
    world.change("restart", intensity=1, period=300.0)
    session = await make()
    await up(session)
    await crash(session)
    await until(session, connected)
    await crash(session)
    await until(session, parked)


async def test_a_planned_restart_is_no_crash(world: World, make: Make) -> None:
    world.change("restart", intensity=1, base_delay=600.0, max_delay=600.0)
    session = await make()
    for _ in range(4):
        before = await up(session)
        session.start(restart=True)
        assert session.lifecycle is State.RECYCLING
        await until(session, lambda s, old=before: s.runner.process is not old and connected(s))  # type: ignore[misc]
    assert session.state.restarts == 0
    assert world.audited("restart") == []
    assert len(world.spawn.alive) == 1


async def test_a_start_during_a_planned_restart_does_not_make_it_a_crash(
    world: World, make: Make
) -> None:
    session = await make()
    before = await up(session)
    session.start(restart=True)
    session.start()
    await until(session, lambda s: s.runner.process is not before and connected(s))
    assert session.state.restarts == 0


async def test_a_restart_of_a_stopped_session_does_not_excuse_its_next_crash(
    world: World, make: Make
) -> None:
    session = await make()
    session.start(restart=True)
    await until(session, connected)
    await crash(session)
    await until(session, connected)
    assert session.state.restarts == 1
    assert world.audited("restart") == [(None, None, "the worker was ended by SIGSEGV")]


async def test_a_worker_that_hangs_is_replaced_and_that_counts(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(stop_grace=0.05)
    session = await make()
    process = await up(session)
    process.script = Script(obeys=False)
    unusable(session, "the page has not answered for 31 s")
    await until(session, lambda s: s.runner.process is not process and connected(s))
    assert process.signals == ["TERM", "KILL"]
    assert session.state.restarts == 1
    await written(session)
    assert world.audited("restart") == [(None, None, "the page has not answered for 31 s")]


async def test_a_worker_that_stands_still_is_killed_at_once(world: World, make: Make) -> None:
    """TERM does nothing to it."""
    session = await make()
    process = await up(session)
    process.script = Script(obeys=False)
    process.stands_still.set()
    await until(session, lambda s: s.runner.process is not process and connected(s))
    assert "KILL" in process.signals
    assert session.state.restarts == 1
    await written(session)
    assert world.audited("restart") == [(None, None, "the worker was stopped (SIGSTOP)")]


async def test_one_that_stands_still_while_it_is_stopped_in_order_is_killed_too(
    make: Make,
) -> None:
    session = await make()
    process = await up(session)
    process.script = Script(obeys=False)
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    process.stands_still.set()
    async with asyncio.timeout(DEADLINE):
        await stopping
    assert "KILL" in process.signals
    assert session.lifecycle is State.STOPPED


async def test_before_a_start_what_a_dead_worker_left_is_ended(world: World, make: Make) -> None:
    world.spawn.swept = Swept(ended=(LEFT,))
    session = await make()
    process = await up(session)
    assert isinstance(process.spec, WorkerSpec)
    assert world.spawn.sweeps == [(process.spec.record, process.spec.profile, set())]
    await written(session)
    assert world.audited("stray_ended") == [(None, None, "chromium --headless")]


async def test_a_profile_that_a_foreign_process_uses_is_waited_for(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(held_retry=0.01)
    world.spawn.swept = Swept(foreign=(Foreign(LEFT),))
    session = await make()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert views.details(session.state) == "op's Chromium 12 uses /p: chromium --headless"
    assert world.spawn.started == []
    world.spawn.swept = Swept()
    await until(session, connected)
    assert session.state.restarts == 0, "it is not the session's fault"


async def test_a_runtime_folder_that_cannot_be_made_again_is_waited_for(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(held_retry=0.01)
    runtime = world.config.paths.runtime
    shutil.rmtree(runtime)
    runtime.touch()
    session = await make()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert str(views.details(session.state)).startswith("paths.runtime cannot be used: ")
    runtime.unlink()
    await until(session, connected)
    assert session.state.restarts == 0, "it is not the session's fault"
    assert (runtime / "workers").is_dir()


async def test_what_the_worker_said_last_is_why(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    process.report("unknown", phase="closing", details="Chromium is gone")
    process.exit(13)
    await until(session, lambda s: s.state.restarts == 1)
    await written(session)
    assert world.audited("restart") == [(None, None, "Chromium is gone")]


async def test_an_early_death_is_reported_by_its_exit_code(world: World, make: Make) -> None:
    """Not by the socket that nobody could connect to."""
    world.change("restart", base_delay=600.0, max_delay=600.0)
    world.spawn.script = Script(listens=False, exits=EXIT_BROWSER_NOT_STARTED)
    session = await make()
    session.start()
    await until(session, lambda s: s.state.restarts == 2)
    await written(session)
    reasons = {reason for _, _, reason in world.audited("restart")}
    assert reasons == {"Chromium did not start"}


async def test_the_system_that_starts_nothing(world: World, make: Make) -> None:
    """The host's fault: it waits, spends no restart, and starts by itself."""
    world.timings(held_retry=0.01)
    world.spawn.script = Script(refuses="no worker could be started: out of pids")
    session = await make()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert "out of pids" in str(views.details(session.state))
    (condition,) = views.conditions(session.state)
    assert (condition.blame, condition.reason) == (Blame.HOST, "spawn_failed")
    world.spawn.script = Script()
    await until(session, connected)
    assert session.state.restarts == 0


async def test_a_bug_in_the_spawn_does_not_leave_it_starting_for_ever(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(spec: object) -> FakeProcess:
        raise KeyError("what nobody foresaw")

    monkeypatch.setattr(world.spawn, "spawn", broken)
    session = await make()
    session.start()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    assert views.details(session.state) == "'what nobody foresaw'"


# ---- stopping ----


async def test_a_stop_while_it_is_being_started_leaves_no_process(world: World, make: Make) -> None:
    world.spawn.script.held = asyncio.Event()
    session = await make()
    session.start()
    await wait_until(lambda: world.spawn.starting, "the spawn is under way")
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    world.spawn.script.held.set()
    async with asyncio.timeout(DEADLINE):
        await stopping
    assert session.lifecycle is State.STOPPED
    assert len(world.spawn.started) == 1
    assert world.spawn.alive == []


async def test_a_stop_while_its_worker_is_not_listening_yet(world: World, make: Make) -> None:
    world.spawn.script.listens = False
    session = await make()
    session.start()
    await wait_until(lambda: world.spawn.started, "it was spawned")
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert world.spawn.alive == []
    assert session.state.restarts == 0


async def test_the_last_request_wins(world: World, make: Make) -> None:
    session = await make()
    first = await up(session)
    stopping = asyncio.create_task(session.stop())
    await until(session, lambda s: s.lifecycle is State.STOPPING)
    session.start()
    async with asyncio.timeout(DEADLINE):
        await stopping
    await until(session, connected)
    assert world.spawn.alive == [session.runner.process]
    assert session.runner.process is not first
    assert session.state.restarts == 0


async def test_a_stubborn_worker_is_killed(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(stop_grace=0.05)
    world.spawn.script.obeys = False
    session = await make()
    process = await up(session)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert process.signals == ["TERM", "KILL"]
    assert session.lifecycle is State.STOPPED


async def test_a_stop_of_what_is_down_says_who_wanted_it(world: World, make: Make) -> None:
    session = await make()
    await session.stop()
    await written(session)
    assert world.row_status("s") == ("disconnected", "user_initiated")


async def test_the_daemon_stops(world: World, make: Make) -> None:
    session = await make()
    await up(session)
    async with asyncio.timeout(DEADLINE):
        await session.stop(daemon_stopping=True)
    await written(session)
    assert world.row_status("s") == ("disconnected", "instance_restart")
    assert world.store.accounts["s"].disconnect_details == "waguard was stopped"


async def test_what_was_stopped_or_parked_before_keeps_its_reason(world: World, make: Make) -> None:
    stopped, waiting = await make("stopped"), await make("parked")
    await up(stopped)
    await stopped.stop()
    await up(waiting)
    waiting.post(ParkRequested(cause=ParkCause.BLOCKED, details="TOS_BLOCK"))
    await until(waiting, parked)
    for session in (stopped, waiting):
        await session.stop(daemon_stopping=True)
        await written(session)
    assert world.row_status("stopped") == ("disconnected", "user_initiated")
    assert world.row_status("parked") == ("failed", "error")


# ---- WhatsApp's word ----


@pytest.mark.parametrize("on_conflict", ["park", "takeover"])
async def test_conflict_parks_unless_it_is_to_be_taken_back(
    world: World, make: Make, on_conflict: str
) -> None:
    world.change("whatsapp", on_conflict=on_conflict)
    session = await make()
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


async def test_a_session_is_taken_back_three_times_and_then_parked(
    world: World, make: Make
) -> None:
    world.change("whatsapp", on_conflict="takeover")
    session = await make()
    process = await up(session)
    for number in range(1, 4):
        await conflicts(world, session, process)
        await taken_back(process, number)
        process.report("connected")
        await until(session, connected)
    await conflicts(world, session, process)
    await until(session, parked)
    await written(session)
    assert views.parked_for(session.state) is ParkCause.CONFLICT
    assert world.row_status("s") == ("failed", "error")
    assert "taken back 3 times in 10 min" in str(world.store.accounts["s"].disconnect_details)
    assert process.calls.count(TakeOver()) == 3
    process = await up(session)  # a person closed the other one: the count begins anew
    await conflicts(world, session, process)
    await taken_back(process, 1)


async def test_the_bound_survives_the_worker_and_old_takeovers_do_not_count(
    world: World, make: Make
) -> None:
    world.change("whatsapp", on_conflict="takeover")
    world.change("restart", base_delay=0.0)
    session = await make()
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
    world: World, make: Make
) -> None:
    world.change("whatsapp", on_conflict="takeover")
    session = await make()
    process = await up(session)

    async def refuse(_: Any) -> Any:
        return Failed(kind="error", error="the page threw")

    process.script.answer = refuse
    process.report("conflict")
    await until(session, lambda s: s.link is Link.CONFLICT)
    for number in range(1, 4):
        await taken_back(process, number)
        world.mailbox.tick()
        world.clock.advance(6.0)
        heard(session)
        world.mailbox.tick()
    assert process.calls.count(TakeOver()) == 3
    await until(session, parked)


async def test_blocked_parks_with_whatsapps_word_and_no_restart(world: World, make: Make) -> None:
    session = await make()
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


async def test_nobody_scans(world: World, make: Make) -> None:
    world.spawn.script.reports = ({"phase": "ready", "link": "qr_pending", "qr": qr()},)
    session = await make(profile=False)
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


async def test_unlinked_on_the_phone(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    seq = process.event(LoggedOut(reason="phone"))
    process.report("qr_pending", qr=qr())
    await until(session, lambda s: s.link is Link.QR_PENDING)
    await wait_until(lambda: process.stored == [seq], "the event is acknowledged")
    await written(session)
    assert world.row_status("s") == ("qr_scanning", None)
    assert world.audited("logged_out") == [(None, None, "phone")]
    assert session.state.restarts == 0


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
    world: World, make: Make, link: str, status: str, reason: str | None
) -> None:
    session = await make()
    process = await up(session)
    process.report(link)
    await until(session, lambda s: s.link is Link(link))
    await written(session)
    assert world.row_status("s") == (status, reason)


async def test_unknown_keeps_the_row_until_its_deadline(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    process.report("unknown")
    await until(session, lambda s: s.link is Link.UNKNOWN)
    for _ in range(29):
        world.clock.advance(1)
        heard(session)
        world.mailbox.tick()
    assert session.state.status.status is Status.CONNECTED
    world.clock.advance(1)
    world.mailbox.tick()
    await written(session)
    assert world.row_status("s") == ("disconnected", "unknown")
    process.report("connected", phone=PHONE)
    await until(session, connected)
    await written(session)
    assert world.row_status("s") == ("connected", None)


# ---- messages ----


async def test_messages_and_acks_reach_the_world_once_and_are_acknowledged(
    world: World, make: Make
) -> None:
    session = await make()
    process = await up(session)
    process.event(message(1))
    process.event(message(2, media=b"\x00\x01", mimetype="image/png", caption="look"))
    process.event(Ack(ids=("true_c_1", "true_c_2"), chat="c", ack=3))
    await wait_until(lambda: process.stored == [1, 2, 3], "all is acknowledged")
    names = [n for n in world.names() if n.startswith("message_")]
    assert names == [
        "message_received",
        "message_received",
        "message_status_updated",
        "message_read",
        "message_status_updated",
        "message_read",
    ]
    first, second = (e.data["message"] for e in world.events("message_received"))
    assert (first["id"], first["body"], first["media"]) == ("false_49170@c.us_1", "text 1", None)
    assert (second["body"], second["media"]["data"], second["has_media"]) == ("look", None, True)
    files = [one.file for one in world.inbox.kept.values() if one.kind == "message"]
    assert files == [None, File(b"\x00\x01", "image/png")]
    levels = {e.data["ack_level"] for e in world.events("message_status_updated")}
    assert levels == {4}
    await wait_until(lambda: world.store.accounts["s"].last_activity_at, "activity was noted")


WHO: dict[str, Any] = {"chat": "1-2@g.us", "sender": "49170@c.us", "timestamp": 7}
ABOUT = "false_1-2@g.us_1_49170@c.us"


@pytest.mark.parametrize(
    ("happening", "event", "fields"),
    [
        (
            Edit(id="e", message_id=ABOUT, body="new", **WHO),
            "message_edited",
            {"message_id": ABOUT, "body": "new"},
        ),
        (
            Revoke(id="r", message_id=ABOUT, **WHO),
            "message_revoked",
            {"message_id": ABOUT},
        ),
        (
            Reaction(id="x", message_id=ABOUT, text="", **WHO),
            "message_reaction",
            {"message_id": ABOUT, "reaction": ""},
        ),
        (
            IncomingCall(id="c", video=False, group=True, **WHO),
            "call_received",
            {"call_id": "c", "is_video": False, "is_group_call": True},
        ),
    ],
    ids=["edit", "revoke", "reaction", "call"],
)
async def test_what_happens_beside_messages_is_reported_once(
    world: World,
    make: Make,
    happening: Edit | Revoke | Reaction | IncomingCall,
    event: str,
    fields: dict[str, Any],
) -> None:
    process = await up(await make())
    process.event(happening)
    process.event(happening)
    await wait_until(lambda: process.stored == [1, 2], "both are acknowledged")
    (reported,) = world.events(event)
    assert reported.data == fields | {
        "chat_id": "1-2@g.us",
        "from": "1-2@g.us",
        "chat_type": "group",
        "group_id": "1-2@g.us",
        "sender_phone": "49170",
        "timestamp": 7,
    }
    (kept,) = world.inbox.kept.values()
    assert (kept.chat, kept.at) == ("1-2@g.us", START)


async def test_what_could_not_be_read_is_kept_and_reported_once(world: World, make: Make) -> None:
    process = await up(await make())
    error = MessageError(
        what="ack", id=None, chat="c@c.us", error="ids is no list", raw='{"ids": 1}', digest="d"
    )
    process.event(error)
    process.event(error)
    process.event(msgspec.structs.replace(error, id="true_c_1", chat=""))
    await wait_until(lambda: process.stored == [1, 2, 3], "all are acknowledged")
    first, second = world.events("message_error")
    assert first.data == {
        "message_id": None,
        "chat_id": "c@c.us",
        "error": "ack: ids is no list",
        "raw": '{"ids": 1}',
        "timestamp": int(START),
    }
    assert (second.data["message_id"], second.data["chat_id"]) == ("true_c_1", None)
    assert [one.key for one in world.inbox.kept.values()] == ["error:ack:d", "error:ack:true_c_1"]


async def test_a_gap_is_in_the_trail(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    process.event(BackfillGap(chat="c@c.us", why="its history cannot be read", since=7))
    await wait_until(lambda: process.stored == [1], "it is acknowledged")
    await wait_until(lambda: world.audited("backfill_gap"), "it is in the trail")
    gap = next(one for one in await world.store.audit("s") if one.kind == "backfill_gap")
    assert gap.reason == "messages of c@c.us may be missing: its history cannot be read"
    assert gap.evidence == {"chat": "c@c.us", "since": 7}


async def test_what_the_phone_wrote_is_not_taken_for_something_received(
    world: World, make: Make
) -> None:
    process = await up(await make())
    process.event(message(1, id="true_49170@c.us_3A", from_me=True))
    process.event(message(2))
    await wait_until(lambda: process.stored == [1, 2], "both are acknowledged")
    assert [e.data["message"]["id"] for e in world.events("message_received")] == [message(2).id]


async def test_a_worker_hears_what_to_leave_out(world: World, make: Make) -> None:
    world.change("inbox", groups=False)
    process = await up(await make())
    assert isinstance(process.spec, WorkerSpec)
    assert process.spec.left_out == ("@broadcast", "@newsletter", "@g.us")


async def test_nothing_is_acknowledged_or_reported_before_it_is_stored(
    world: World, make: Make
) -> None:
    process = await up(await make())
    world.inbox.free.clear()
    process.event(message(1))
    process.event(Ack(ids=("true_c_1",), chat="c", ack=3))
    process.event(Ack(ids=("true_c_1",), chat="c", ack=2))  # no news, and no way past the others
    process.event(LoggedOut())
    await wait_until(lambda: len(world.inbox.waiting) == 4, "the daemon has them all")
    assert process.stored == []
    assert not world.events("message_received", "message_status_updated")
    world.inbox.store()
    await wait_until(lambda: process.stored == [1, 2, 3, 4], "all is acknowledged")
    reported = world.events("message_received", "message_status_updated", "message_read")
    assert len(reported) == 3
    assert all(event.stored for event in reported)


async def test_what_is_reported_again_is_acknowledged_and_not_reported_again(
    world: World, make: Make
) -> None:
    process = await up(await make())
    for _ in range(2):
        process.event(message(1))
        process.event(Ack(ids=("true_c_1",), chat="c", ack=1))
    await wait_until(lambda: process.stored == [1, 2, 3, 4], "all is acknowledged")
    assert len(world.events("message_received")) == 1
    assert len(world.events("message_status_updated")) == 1
    assert [one.kind for one in world.inbox.kept.values()] == ["message", "ack"]


async def test_activity_is_noted_once_in_a_while(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write for each of many messages would be more work than the messages."""
    touched: list[str] = []

    async def touch(session_id: str) -> None:
        touched.append(session_id)

    monkeypatch.setattr(world.store, "touch", touch)
    process = await up(await make())
    for number in range(10):
        process.event(message(number))
    await wait_until(lambda: len(process.stored) == 10, "all is acknowledged")
    world.clock.advance(TOUCH_INTERVAL)
    process.event(message(10))
    await wait_until(lambda: len(touched) == 2, "it is noted again")


async def test_what_the_inbox_has_no_room_for_is_asked_for_again(world: World, make: Make) -> None:
    """What follows it is not taken either: its acknowledgement would have the worker forget both."""
    session = await make()
    process = await up(session)
    before = process.greeting
    world.inbox.full = True
    world.inbox.empty.clear()
    process.event(message(1))
    process.event(Ack(ids=("true_c_1",), chat="c", ack=2))
    process.beat()
    await wait_until(lambda: world.inbox.waits, "somebody waits for the inbox")
    world.inbox.full = False
    process.event(message(2))
    process.event(message(3))
    process.beat()
    process.report(details="all is said")
    await until(session, lambda s: bool(s.runner.report and s.runner.report.details))
    assert (process.stored, world.inbox.kept) == ([], {})
    world.inbox.empty.set()
    await wait_until(lambda: process.connected and process.greeting is not before, "it is back")
    process.event(message(1))  # as a worker says again what was not stored
    process.event(Ack(ids=("true_c_1",), chat="c", ack=2))
    await wait_until(lambda: len(process.stored) == 2, "now it is stored")
    assert len(world.inbox.kept) == 2
    assert session.runner.process is process


async def test_a_late_commit_sends_nothing_to_a_worker_that_is_gone(
    world: World, make: Make
) -> None:
    """Its successor counts from one again: an old number would acknowledge what is not stored."""
    session = await make()
    process = await up(session)
    world.inbox.free.clear()
    process.event(message(1))
    await wait_until(lambda: world.inbox.waiting, "the daemon has it")
    process.exit(-9)
    await until(session, lambda s: s.state.restarts == 1)
    await until(session, connected)
    fresh = session.runner.process
    assert isinstance(fresh, FakeProcess)
    world.inbox.store()
    seq = fresh.event(message(2))
    await wait_until(lambda: world.inbox.waiting, "the daemon has that too")
    assert fresh.stored == []
    world.inbox.store()
    await wait_until(lambda: fresh.stored == [seq], "its own is acknowledged")
    assert len(world.events("message_received")) == 2


@pytest.mark.parametrize(
    ("ack", "level", "status"),
    [(-1, 0, "failed"), (0, 1, "pending"), (1, 2, "sent"), (2, 3, "delivered"), (4, 4, "read")],
)
async def test_ack_levels_are_one_more_than_whatsapps(
    world: World, make: Make, ack: int, level: int, status: str
) -> None:
    """Fault 12."""
    process = await up(await make())
    process.event(Ack(ids=("true_c_1",), chat="c", ack=ack))
    await wait_until(lambda: process.stored, "it is acknowledged")
    (reported,) = world.events("message_status_updated")
    assert (reported.data["ack_level"], reported.data["status"]) == (level, status)
    played = [event.data["ack_level"] for event in world.events("message_played")]
    assert played == ([5] if ack == 4 else [])


async def test_what_was_written_on_the_phone_is_message_sent(world: World, make: Make) -> None:
    process = await up(await make())
    process.event(message(1, id="true_49170@c.us_1", from_me=True, media=b"", mimetype="a/b"))
    await wait_until(lambda: process.stored, "it is acknowledged")
    assert not world.events("message_received")
    (reported,) = world.events("message_sent")
    assert (reported.data["source"], reported.data["message_id"]) == (
        "message_create_event",
        "true_49170@c.us_1",
    )
    assert reported.data["message"]["from_me"]
    (kept,) = world.inbox.kept.values()
    assert (kept.kind, kept.unless_own, kept.file) == (Kind.SENT, True, File(b"", "a/b"))


async def test_what_a_dying_worker_received_is_not_lost(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    for number in range(20):
        process.event(message(number))
    process.exit(-9)
    await until(session, lambda s: s.state.restarts == 1)
    assert len(world.events("message_received")) == 20


async def test_one_odd_message_does_not_cost_the_session(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await make()
    process = await up(session)
    real = translate.inbound

    def odd(report: Any) -> Any:
        if report.body == "text 1":
            raise ValueError(report)
        return real(report)

    monkeypatch.setattr(translate, "inbound", odd)
    process.event(message(1))
    process.event(message(2))
    await wait_until(lambda: world.events("message_received"), "the second came")
    assert session.runner.process is process
    assert session.link is Link.CONNECTED


async def test_calls_reach_the_worker_while_there_is_one(world: World, make: Make) -> None:
    session = await make()
    assert "stopped" in (await not_sent(session.traffic.send(TEXT), UnavailableError)).message
    process = await up(session)
    await session.traffic.send(TEXT)
    assert process.calls == [TEXT]
    await session.stop()
    await not_sent(session.traffic.send(TEXT), UnavailableError)


# ---- the row ----


async def test_the_newest_status_wins_while_the_database_is_down(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    await written(session)
    seen: list[str] = []
    real = world.store.write_status

    async def write(session_id: str, generation: int, derived: Any, **rest: Any) -> bool:
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


async def test_a_row_that_changes_while_it_is_written_is_written_again(
    world: World, make: Make
) -> None:
    session = await make()
    process = await up(session)
    await written(session)
    gate, entered = asyncio.Event(), asyncio.Event()
    real = world.store.write_status
    order: list[str] = []

    async def slow(session_id: str, generation: int, derived: Any, **rest: Any) -> bool:
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


async def test_a_bug_in_the_store_does_not_end_the_writing(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    await written(session)
    real, failures = world.store.write_status, iter([TypeError("a bug"), WaguardError("refused")])

    async def flaky(*args: Any, **rest: Any) -> bool:
        if error := next(failures, None):
            raise error
        return await real(*args, **rest)

    world.store.write_status = flaky  # type: ignore[method-assign]
    process.report("offline")
    await until(session, lambda s: s.link is Link.OFFLINE)
    await written(session)
    assert world.row_status("s") == ("disconnected", "timeout")


async def test_an_older_generation_may_not_write(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    await written(session)
    newer = await world.store.create("s", 7, account_id=None, priority=0)  # another daemon's
    assert newer.generation == session.row.generation + 1
    process.report("offline")
    await until(session, lambda s: s.link is Link.OFFLINE)
    await written(session)
    assert world.row_status("s") == ("connected", None)


async def test_a_deleted_row_ends_the_attempts_to_write_it(world: World, make: Make) -> None:
    session = await make()
    process = await up(session)
    await written(session)
    await world.store.soft_delete("s")
    process.report("offline")
    await until(session, lambda s: s.link is Link.OFFLINE)
    await written(session)
    assert world.row_status("s") == ("connected", None)


async def test_connected_in_the_row_and_nothing_in_memory(world: World, make: Make) -> None:
    """The incident."""
    await world.store.create("s", 7, account_id=None, priority=0)
    world.store.accounts["s"].status = "connected"
    stale = await world.store.set_desired("s", up=False)
    assert stale
    again = SessionActor(stale, world.ctx)
    assert again.state.status.status is Status.CONNECTED
    again.post(RowRead(said=stale.status))
    await written(again)
    assert world.row_status("s") == ("disconnected", "unknown")
    ((before, after, _),) = world.audited("row_corrected")
    assert (before, after) == ("connected", "disconnected")
    assert again.lifecycle is State.STOPPED
    await again.forget()


async def test_a_row_that_says_less_than_is_so_is_corrected_and_ready_reported_again(
    world: World, make: Make
) -> None:
    session = await make()
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
async def test_a_status_that_no_one_knows_is_no_obstacle(world: World, status: str) -> None:
    """Fault 9."""
    row = SessionRow(
        session_id="s",
        workspace_id=7,
        status=status,
        desired_up=True,
        generation=1,
        disconnect_reason="because",
    )
    session = SessionActor(row, world.ctx)
    assert session.state.status.status is Status.DISCONNECTED
    await session.forget()


# ---- workers of an earlier daemon ----


async def test_an_adopted_worker_goes_on(world: World, make: Make) -> None:
    session = await make()
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


async def test_an_adopted_worker_ends_and_nobody_knows_how(world: World, make: Make) -> None:
    session = await make()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    left.process.exit(None)
    await until(session, lambda s: s.state.restarts == 1)
    await until(session, connected)
    assert world.audited("restart") == [(None, None, "its exit code is unknown (adopted)")]
    assert session.runner.process is not left.process


async def test_an_adopted_worker_says_itself_with_which_code_it_ends(
    world: World, make: Make
) -> None:
    session = await make()
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


async def test_an_adopted_worker_that_nobody_can_talk_to_is_replaced(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(stop_grace=DEADLINE)  # however slow the machine is
    world.timings(final_flush=0.05)
    session = await make()
    world.spawn.scripts["s"] = Script(listens=False)
    left = await world.left_behind("s", generation=session.row.generation)
    del world.spawn.scripts["s"]
    session.adopt(left.process, left.record)
    await until(session, connected)
    assert left.process.signals == ["TERM"]
    assert session.runner.process is not left.process


async def test_an_adopted_worker_is_stopped_like_any_other(world: World, make: Make) -> None:
    world.timings(stop_grace=DEADLINE)  # however slow the machine is
    session = await make()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    async with asyncio.timeout(DEADLINE):
        await session.stop()
    assert left.process.signals == ["TERM"]
    assert not left.process.alive


# ---- words ----


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "its exit code is unknown (adopted)"),
        (0, "stopped as requested"),
        (-9, "the worker was ended by SIGKILL"),
        (13, "Chromium died"),
        (77, "the worker failed with exit code 77"),
        (-77, "the worker was ended by signal 77"),
    ],
)
def test_an_exit_in_words(code: int | None, words: str) -> None:
    assert describe_exit(code) == words


def test_every_state_with_a_process_can_be_stopped() -> None:
    assert State.PARKED not in HAS_PROCESS
    assert State.BACKOFF not in HAS_PROCESS


# ---- what was missed ----


async def test_the_backfill_is_asked_for_once_after_each_load(world: World, make: Make) -> None:
    session = await make()
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


async def test_the_backfill_is_asked_for_again_when_the_link_is_back(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And from the same time on: what came since then is newer than what is missed."""
    world.timings(backfill_retry=0.0)
    world.spawn.script.backfills = Failed(kind="timeout", error="the page did not answer")
    session = await make()
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


async def test_chats_are_read_from_what_the_inbox_has(world: World, make: Make) -> None:
    session, now = await make(), world.clock.wall()
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


async def test_a_worker_that_cannot_read_them_is_asked_again(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings(backfill_retry=0.01)
    world.spawn.script.backfills = Failed(kind="timeout", error="the page did not answer")
    process = await up(await make())
    await wait_until(lambda: len(process.caught_up) > 1, "it was asked again")
    process.script.backfills = Value()
    count = len(process.caught_up)
    await wait_until(lambda: len(process.caught_up) > count, "and for the last time")
