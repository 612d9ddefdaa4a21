"""All sessions: restore, the API's requests, the ticks."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.store.memory import Account
from tests.supervision.bench import *  # noqa: F403  # fixtures
from tests.supervision.bench import LOADING, PHONE, QR_SHOWN, TEXT, Bench
from tests.supervision.fakes import FakeProcess, LeftBehind, Script, World, qr, until
from tests.waiting import DEADLINE, wait_until
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.reconcile import Host, Stored, Worker
from waguard.core.status import Reason, Status, Verdict
from waguard.core.strays import Seen
from waguard.errors import (
    ConflictError,
    DatabaseUnavailableError,
    NotFoundError,
    NotYetError,
    OtherNumberError,
    SessionIdTakenError,
    UnavailableError,
    UncertainError,
)
from waguard.host import profiles
from waguard.ports import Swept
from waguard.supervision import session as session_module
from waguard.supervision import supervisor as under_test
from waguard.supervision.readiness import summary
from waguard.wire.protocol import (
    PROTOCOL,
    Call,
    Exists,
    PairingCode,
    RefreshQr,
    Screenshot,
    SendText,
    Sent,
    Value,
)

# ---- restore ----


async def test_restore_says_what_became_of_each(bench: Bench, world: World) -> None:
    for name in ("a", "b", "c"):
        await bench.row(name)
    await bench.row("unlinked")
    world.spawn.scripts["unlinked"] = Script(reports=(QR_SHOWN,))
    await bench.row("lost", profile=False)
    await bench.row("down", up=False, status="disconnected")
    assert not bench.it.health().restored
    assert await bench.restore() == "restored 3, needs QR 1, missing profile 1"
    for name in ("a", "b", "c", "unlinked", "lost", "down"):
        await bench.settled(name)
    assert world.row_status("a") == ("connected", None)
    assert world.row_status("unlinked") == ("qr_scanning", None)
    assert world.row_status("lost") == ("disconnected", "error")
    assert "profile missing" in str(world.store.accounts["lost"].disconnect_details)
    assert world.row_status("down") == ("disconnected", None)
    assert {p.spec.session for p in world.spawn.started} == {"a", "b", "c", "unlinked"}
    health = bench.it.health()
    assert health.restored
    assert (health.total, health.connected, health.disconnected) == (6, 3, 3)
    assert [problem.split(" ")[0] for problem in health.problems] == ["lost", "unlinked"]


async def test_a_session_that_was_never_linked_has_no_profile_to_miss(
    bench: Bench, world: World
) -> None:
    await bench.row("new", status="qr_scanning", profile=False)
    world.spawn.scripts["new"] = Script(reports=(QR_SHOWN,))
    assert await bench.restore() == "needs QR 1"


async def test_one_that_was_stopped_before_its_first_scan_shows_a_code_again(
    bench: Bench, world: World
) -> None:
    """An orderly stop writes "disconnected" into the row of one that waits for its scan, too."""
    row = await world.store.create("new", 7, account_id=None, priority=0)
    stopped = Verdict(Status.DISCONNECTED, Reason.INSTANCE_RESTART, "waguard was stopped")
    assert await world.store.write_status("new", row.generation, stopped)
    world.spawn.scripts["new"] = Script(reports=(QR_SHOWN,))
    assert await bench.restore() == "needs QR 1"


async def test_a_profile_in_the_old_layout_is_found(bench: Bench, world: World) -> None:
    """Fault 2."""
    await bench.row("s", profile=False)
    (world.config.paths.sessions / "7" / "s" / "Default").mkdir(parents=True)
    assert await bench.restore() == "restored 1"
    assert profiles.exists(world.config.paths.sessions / "workspace_7" / "session-s")


async def test_a_profile_folder_that_cannot_be_used_does_not_end_the_restore(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.row("bad")
    await bench.row("good")
    real = profiles.settle

    def settle(sessions: Any, workspace_id: int, session_id: str, **more: Any) -> Any:
        if session_id == "bad":
            raise PermissionError(13, "Permission denied")
        return real(sessions, workspace_id, session_id, **more)

    monkeypatch.setattr(profiles, "settle", settle)
    assert await bench.restore() == "restored 1, failed 1"
    assert bench.it.health().restored
    assert "Permission denied" in str((await bench.it.view("bad")).disconnect_details)


async def test_a_failed_read_is_not_an_empty_list(bench: Bench, world: World) -> None:
    """Fault 3."""
    await bench.row("s")
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await bench.restore()
    health = bench.it.health()
    assert not health.restored
    assert not health.database
    assert "the database does not answer" in health.problems
    assert world.spawn.started == []
    for call in (bench.it.views(), bench.it.view("s"), bench.create("s")):
        with pytest.raises(UnavailableError) as raised:  # and not: there is none
            await call
        assert raised.value.retry_after
    world.store.down = False
    assert await bench.restore() == "restored 1"


async def test_only_so_many_are_started_at_once_and_important_ones_first(
    bench: Bench, world: World
) -> None:
    names = ["a", "b", "c", "d", "e"]
    world.spawn.script = Script(reports=(LOADING,))
    for name in names:
        await bench.row(name, priority=9 if name == "d" else 0)
    restoring = asyncio.create_task(bench.restore())
    order: list[str] = []
    while len(order) < len(names):
        expected = min(len(order) + 2, len(names))
        await wait_until(lambda n=expected: len(world.spawn.started) == n, "the next is started")  # type: ignore[misc]
        fresh = next(p for p in world.spawn.started if p.spec.session not in order)
        await wait_until(lambda p=fresh: p.connected, "it is greeted")  # type: ignore[misc]
        assert len(world.spawn.started) == expected
        order.append(fresh.spec.session)
        fresh.report("connected")
    assert await restoring == "restored 5"
    assert order[0] == "d"


async def test_one_that_only_waits_for_its_page_gives_its_place_to_the_next(
    bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=({"phase": "settling", "link": "unknown"},))
    for name in ("a", "b", "c", "d", "e"):
        await bench.row(name)
    restoring = asyncio.create_task(bench.restore())
    await wait_until(lambda: len(world.spawn.started) == 5, "all are started")
    await wait_until(lambda: all(p.connected for p in world.spawn.started), "all are greeted")
    assert not restoring.done()
    for process in world.spawn.started:
        process.report("connected")
    assert await restoring == "restored 5"


async def test_one_that_does_not_come_up_in_time_failed_and_is_tried_again(
    bench: Bench, world: World
) -> None:
    world.change("restore", timeout=0.1)
    await bench.row("s")
    world.spawn.script = Script(reports=(LOADING,))
    assert await bench.restore() == "failed 1"
    await bench.settled()
    assert world.row_status("s") == ("disconnected", "error")
    await wait_until(lambda: len(world.spawn.started) == 2, "it is tried again")
    assert [p.session_id for p in await bench.it.views()] == ["s"]
    assert world.audited("restart") == [(None, None, "not restored within 0.1 s")]


async def test_one_that_crashes_at_its_start_failed(bench: Bench, world: World) -> None:
    await bench.row("s")
    world.change("restart", intensity=1, base_delay=0.0, max_delay=0.0)
    world.spawn.script = Script(exits=12)
    assert await bench.restore() == "failed 1"
    await until(bench.session(), lambda s: s.state is State.PARKED)


async def test_workers_that_fit_are_adopted_and_the_others_stopped(
    bench: Bench, world: World
) -> None:
    for name in ("fits", "older", "unwanted"):
        await bench.row(name, up=name != "unwanted")
    row = await world.store.session("older")
    assert row
    fits = await world.left_behind("fits")
    older = await world.left_behind("older", generation=row.generation - 1)
    unwanted = await world.left_behind("unwanted")
    stranger = await world.left_behind("stranger")
    left = (fits, older, unwanted, stranger)
    assert await bench.restore(*((one.record, one.process) for one in left)) == "restored 2"
    assert [one.process.alive for one in left] == [True, False, False, False]
    assert bench.session("fits").process is fits.process
    assert [one.process.signals for one in left[1:]] == [["TERM"]] * 3
    assert len(world.spawn.of("older")) == 2
    for name in ("fits", "older", "unwanted"):
        await bench.settled(name)
    assert world.row_status("fits") == ("connected", None)
    assert world.row_status("unwanted") == ("disconnected", "unknown")


async def test_a_restore_that_failed_and_is_repeated_keeps_what_it_adopted(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.row("s")
    left = await world.left_behind("s")
    with monkeypatch.context() as patched:

        def bug(_: object) -> bool:
            raise RuntimeError

        patched.setattr(under_test, "promises_too_much", bug)
        with pytest.raises(RuntimeError):
            await bench.restore((left.record, left.process))
    assert await bench.restore((left.record, left.process)) == "restored 1"
    assert left.process.alive
    assert bench.session("s").process is left.process
    assert left.process.signals == []


async def test_before_the_restore_strays_are_ended_and_adopted_workers_are_not(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    left = await world.left_behind("s")
    world.spawn.swept = Swept(
        ended=(
            Seen(
                pid=12,
                start_time=1,
                parent=1,
                user="op",
                command="waguard.worker gone",
                profile=None,
                record="/r",
                session="gone",
            ),
        )
    )
    assert await bench.restore((left.record, left.process)) == "restored 1"
    paths = world.config.paths
    assert world.spawn.sweeps == [
        (str(paths.runtime / "workers"), str(paths.sessions), {left.process.pid})
    ]
    assert world.audited("stray_ended") == [(None, None, "waguard.worker gone")]


async def old_workers(bench: Bench, world: World, *names: str) -> list[LeftBehind]:
    """They speak another protocol, and are replaced one at a time."""
    world.change("restore", concurrency=1)
    left = []
    for name in names:
        await bench.row(name)
        found = await world.left_behind(name)
        record = msgspec.structs.replace(found.record, protocol=PROTOCOL - 1)
        left.append(replace(found, record=record))
    return left


async def test_workers_of_another_protocol_are_replaced_one_at_a_time(
    bench: Bench, world: World
) -> None:
    """As planned: it is no crash, and they are asked to close in order."""
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = asyncio.create_task(bench.restore(*((one.record, one.process) for one in left)))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    assert [one.process.alive for one in left] == [False, True]
    held.set()
    async with asyncio.timeout(DEADLINE):
        assert await restoring == "restored 2"
    assert [one.process.signals for one in left] == [["TERM"], ["TERM"]]
    for name in ("a", "b"):
        assert bench.session(name).restarts == 0
        assert len(world.spawn.of(name)) == 2
    assert world.audited("restart") == []
    assert len(world.audited("recycled")) == 2


async def test_one_that_waits_for_its_restore_is_on_its_way_up(bench: Bench, world: World) -> None:
    """The application takes "conflict" for final: it would give its message up."""
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = asyncio.create_task(bench.restore(*((one.record, one.process) for one in left)))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    assert bench.session("b").state is State.STOPPED
    for call in (TEXT, Screenshot(), PairingCode(phone=PHONE)):
        with pytest.raises(UnavailableError) as raised:
            await bench.it.call("b", call, wait=0)
        assert raised.value.retry_after
    with pytest.raises(NotYetError):
        await bench.it.qr("b", wait=0)
    sending = asyncio.create_task(bench.it.call("b", TEXT, wait=DEADLINE))
    held.set()
    async with asyncio.timeout(DEADLINE):
        assert await restoring == "restored 2"
        await sending
    assert bench.process("b").calls == [TEXT]


async def test_one_that_was_stopped_while_it_waited_for_its_turn_is_not_started(
    bench: Bench, world: World
) -> None:
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = asyncio.create_task(bench.restore(*((one.record, one.process) for one in left)))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    await bench.it.logout("b")
    held.set()
    async with asyncio.timeout(DEADLINE):
        assert await restoring == "restored 1"
    assert not left[1].process.alive
    assert bench.session("b").state is State.STOPPED


async def test_a_stop_ends_also_those_that_wait_for_their_turn(bench: Bench, world: World) -> None:
    left = await old_workers(bench, world, "a", "b")
    held = asyncio.Event()
    world.spawn.script = Script(held=held)
    restoring = asyncio.create_task(bench.restore(*((one.record, one.process) for one in left)))
    await wait_until(lambda: world.spawn.starting, "the first one is being replaced")
    restoring.cancel()
    await asyncio.gather(restoring, return_exceptions=True)
    held.set()
    async with asyncio.timeout(DEADLINE):
        await bench.it.stop()
    assert world.spawn.alive == []


async def test_two_workers_of_one_session_cannot_both_be_kept(bench: Bench, world: World) -> None:
    await bench.row("s")
    one = await world.left_behind("s")
    two = await world.left_behind("s")
    assert await bench.restore((one.record, one.process), (two.record, two.process)) == "restored 1"
    assert [one.process.alive, two.process.alive] == [True, False]


async def test_a_left_worker_that_hangs_does_not_hold_up_the_others(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    world.spawn.scripts["stranger"] = Script(obeys=False)
    stranger = await world.left_behind("stranger")
    assert await bench.restore((stranger.record, stranger.process)) == "restored 1"
    assert stranger.process.signals == ["TERM", "KILL"]


@pytest.mark.parametrize("status", ["connected", "authenticated", "qr_scanning", "error"])
async def test_a_row_that_promises_what_is_not_wanted_is_corrected_at_the_start(
    bench: Bench, world: World, status: str
) -> None:
    await bench.row("s", status=status, up=False)
    await bench.restore()
    await bench.settled()
    assert world.row_status("s") == ("disconnected", "unknown")
    ((before, after, _),) = world.audited("row_corrected")
    assert (before, after) == (status, "disconnected")
    assert world.spawn.started == []


async def test_a_row_that_tells_the_truth_is_left_alone(bench: Bench, world: World) -> None:
    await bench.row("s", status="disconnected", up=False)
    world.store.accounts["s"].disconnect_reason = "user_initiated"
    writes = count(world, "write_status")
    await bench.restore()
    await bench.it.reconcile()
    assert world.row_status("s") == ("disconnected", "user_initiated")
    assert writes == []


def count(world: World, name: str) -> list[Any]:
    """The calls of a method of the store from now on."""
    calls: list[Any] = []
    real = getattr(world.store, name)

    async def counted(*args: Any, **rest: Any) -> Any:
        calls.append(args)
        return await real(*args, **rest)

    setattr(world.store, name, counted)
    return calls


async def test_the_daemon_stops_in_the_middle_of_a_restore(bench: Bench, world: World) -> None:
    for name in ("a", "b", "c"):
        await bench.row(name)
    world.spawn.script = Script(reports=(LOADING,))
    restoring = asyncio.create_task(bench.restore())
    await wait_until(lambda: len(world.spawn.started) == 2, "two are under way")
    restoring.cancel()
    await asyncio.gather(restoring, return_exceptions=True)
    async with asyncio.timeout(DEADLINE):
        await bench.it.stop()
    assert world.spawn.alive == []
    assert len(world.spawn.started) == 2


def test_a_summary_names_only_what_occurred() -> None:
    assert summary([]) == "no session to restore"
    assert summary(["failed", "restored", "restored"]) == "restored 2, failed 1"
    assert summary(["interrupted"]) == "interrupted 1"


# ---- create, start, views ----


async def test_create_is_at_once_and_a_second_time_the_same(empty: Bench, world: World) -> None:
    world.spawn.script.held = asyncio.Event()
    view, new = await empty.create()
    assert new
    assert (view.session_id, view.workspace_id, view.status) == ("s", 7, "qr_scanning")
    assert (view.lifecycle, view.link, view.worker_pid) == ("starting", "unknown", None)
    again, new = await empty.create()
    assert not new
    assert again.session_id == "s"
    world.spawn.script.held.set()
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert len(world.spawn.started) == 1
    view = await empty.it.view("s")
    assert (view.status, view.lifecycle, view.link) == ("connected", "running", "connected")
    assert view.phone_number == PHONE
    assert view.worker_pid == empty.process().pid
    assert view.browser_pid == empty.process().pid + 1
    await empty.settled()
    assert (await empty.it.view("s")).connected_at is not None


async def test_two_creates_at_the_same_moment(empty: Bench, world: World) -> None:
    (one, first), (two, second) = await asyncio.gather(empty.create(), empty.create())
    assert one.session_id == two.session_id
    assert {first, second} <= {True, False}
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert len(world.spawn.started) == 1


async def test_the_id_of_another_workspace_is_taken(empty: Bench, world: World) -> None:
    await empty.create("s", 7)
    with pytest.raises(SessionIdTakenError) as raised:
        await empty.create("s", 8)
    assert raised.value.status == 409
    await empty.row("elsewhere", workspace=9, up=False, profile=False)
    with pytest.raises(SessionIdTakenError):
        await empty.create("elsewhere", 7)
    assert world.spawn.of("elsewhere") == []


async def test_create_of_a_parked_session_starts_it_with_a_new_generation(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    process.report("blocked", details="TOS_BLOCK")
    await until(empty.session(), lambda s: s.state is State.PARKED)
    _, new = await empty.create()
    assert not new
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert empty.process().spec.generation == process.spec.generation + 1
    assert empty.session().row.generation == empty.process().spec.generation


async def test_unknown_sessions(empty: Bench) -> None:
    calls: Sequence[Awaitable[object]] = (
        empty.it.view("no"),
        empty.it.start("no", restart=False),
        empty.it.logout("no"),
        empty.it.take_down("no"),
        empty.it.delete("no", purge=False),
        empty.it.qr("no", wait=0),
        empty.it.call("no", TEXT, wait=0),
    )
    for call in calls:
        with pytest.raises(NotFoundError, match=r"^Session not found$"):
            await call


async def test_the_rows_of_another_provider_are_not_ours(empty: Bench, world: World) -> None:
    world.store.accounts["m"] = Account("m", 7, provider_type="meta", status="connected")
    with pytest.raises(NotFoundError):
        await empty.it.view("m")
    await empty.it.reconcile()
    assert await empty.it.views() == []


async def test_a_row_that_the_application_wrote_a_moment_ago(empty: Bench, world: World) -> None:
    world.store.accounts["s"] = Account("s", 7, status="qr_scanning")
    one, two = await asyncio.gather(empty.it.view("s"), empty.it.view("s"))
    assert one == two
    assert (one.status, one.lifecycle) == ("qr_scanning", "stopped")


async def test_views_are_by_id(empty: Bench) -> None:
    for name in ("c", "a", "b"):
        await empty.create(name)
    assert [view.session_id for view in await empty.it.views()] == ["a", "b", "c"]


async def test_start_and_a_planned_restart(empty: Bench, world: World) -> None:
    process = await empty.connected()
    view = await empty.it.start("s", restart=False)
    assert view.lifecycle == "running"
    view = await empty.it.start("s", restart=True)
    assert view.lifecycle == "recycling"
    await until(empty.session(), lambda s: s.process is not process and s.link is Link.CONNECTED)
    assert (await empty.it.view("s")).restarts == 0


async def test_a_message_of_another_number_is_not_sent(empty: Bench) -> None:
    process = await empty.connected()
    assert isinstance(await empty.it.call("s", TEXT, wait=0, phone=PHONE), Sent)
    with pytest.raises(OtherNumberError, match="4917000"):
        await empty.it.call("s", TEXT, wait=0, phone="4917000")
    process.report("connected", phone=None)  # as after a restart of the page
    await until(empty.session(), lambda s: s.report is not None and s.report.phone is None)
    assert isinstance(await empty.it.call("s", TEXT, wait=0, phone=PHONE), Sent)
    process.report("qr_pending", qr=qr(), phone=None)
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    process.report("connected", phone=None)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    with pytest.raises(UnavailableError, match="not known yet which number"):
        await empty.it.call("s", TEXT, wait=0, phone=PHONE)
    process.report("connected", phone=PHONE)
    await until(empty.session(), lambda s: not s.showed_code)
    assert isinstance(await empty.it.call("s", TEXT, wait=0, phone=PHONE), Sent)
    sent = [call for call in process.calls if isinstance(call, SendText)]
    assert len(sent) == 3


async def test_memory_is_still_served_while_the_database_is_down(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    world.store.down = True
    assert (await empty.it.view("s")).status == "connected"
    assert isinstance(await empty.it.call("s", TEXT, wait=0), Sent)
    with pytest.raises(UnavailableError):
        await empty.it.view("other")
    with pytest.raises(UnavailableError):
        await empty.it.start("s", restart=True)
    assert empty.session().state is State.RUNNING


# ---- the QR code ----


async def test_the_code_on_the_screen(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    assert await empty.it.qr("s", wait=DEADLINE) == qr()


async def test_no_code_yet(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    with pytest.raises(NotYetError) as raised:
        await empty.it.qr("s", wait=0.01)
    assert raised.value.status == 425
    assert raised.value.retry_after
    waiting = asyncio.create_task(empty.it.qr("s", wait=DEADLINE))
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    empty.process().report("qr_pending", qr=qr("new"))
    assert (await waiting).raw == "new"


@pytest.mark.parametrize("link", ["connected", "syncing", "pairing"])
async def test_no_code_where_it_is_linked_already(empty: Bench, world: World, link: str) -> None:
    world.spawn.script = Script(reports=({"phase": "ready", "link": link},))
    await empty.create()
    with pytest.raises(ConflictError, match="already linked"):
        await empty.it.qr("s", wait=DEADLINE)


async def test_waiting_for_a_code_ends_when_the_phone_scans_or_hope_does(
    empty: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    waiting = asyncio.create_task(empty.it.qr("s", wait=DEADLINE))
    empty.process().report("blocked", details="PROXYBLOCK")
    with pytest.raises(ConflictError, match="PROXYBLOCK") as raised:
        await waiting
    assert raised.value.remedy


async def test_a_new_code_from_a_running_worker(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    await empty.it.qr("s", wait=DEADLINE)
    process = empty.process()

    async def answer(call: Call) -> Value:
        process.report("qr_pending", qr=qr("fresh", count=2))
        return Value()

    process.script.answer = answer
    assert (await empty.it.qr("s", wait=DEADLINE, refresh=True)).raw == "fresh"
    assert process.calls == [RefreshQr()]


async def test_a_new_code_where_nobody_scanned_the_last_ones(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    await empty.it.qr("s", wait=DEADLINE)
    empty.process().report("qr_pending", qr_idle=True)
    await until(empty.session(), lambda s: s.state is State.PARKED)
    with pytest.raises(ConflictError, match="no one scanned") as raised:
        await empty.it.qr("s", wait=0)
    assert "regenerate-qr" in str(raised.value.remedy)
    assert await empty.it.qr("s", wait=DEADLINE, refresh=True) == qr()
    assert len(world.spawn.started) == 2


# ---- calls ----


async def test_a_call_waits_for_a_session_on_its_way_up(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    sending = asyncio.create_task(empty.it.call("s", TEXT, wait=DEADLINE))
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    process = empty.process()
    process.report("syncing")
    await until(empty.session(), lambda s: s.link is Link.SYNCING)
    assert process.calls == []
    process.report("connected")
    outcome = await sending
    assert isinstance(outcome, Sent)
    assert process.calls == [TEXT]


async def test_a_call_waits_over_a_restart(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.exit(-9)
    await until(empty.session(), lambda s: s.process is not process)
    await empty.it.call("s", TEXT, wait=DEADLINE)
    assert process.calls == []
    assert empty.process().calls == [TEXT]


async def test_a_call_that_waited_in_vain_may_be_repeated(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    with pytest.raises(UnavailableError) as raised:
        await empty.it.call("s", TEXT, wait=0.02)
    assert raised.value.retry_after
    assert process.calls == []


@pytest.mark.parametrize("call", [TEXT, Exists(chat="c")], ids=["send", "exists"])
async def test_a_call_that_nothing_can_help_is_a_conflict(
    empty: Bench, world: World, call: Call
) -> None:
    process = await empty.connected()
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    async with asyncio.timeout(DEADLINE / 2):
        with pytest.raises(ConflictError, match=r"^Session not connected: it is qr_pending"):
            await empty.it.call("s", call, wait=DEADLINE)
    await empty.it.logout("s")
    with pytest.raises(ConflictError, match=r"^Session not connected: it was logged out"):
        await empty.it.call("s", call, wait=DEADLINE)


async def test_who_hopes_waits_also_for_a_person(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await empty.it.ready("s", wait=0)
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    with pytest.raises(ConflictError, match="qr_pending"):
        await empty.it.ready("s", wait=DEADLINE)
    with pytest.raises(ConflictError, match="qr_pending"):
        await empty.it.ready("s", wait=0.02, hoping=True)
    hoping = asyncio.create_task(empty.it.ready("s", wait=DEADLINE, hoping=True))
    await asyncio.sleep(0)
    process.report("connected")
    await hoping
    with pytest.raises(NotFoundError):
        await empty.it.ready("another", wait=0)


async def test_a_stop_ends_all_hope(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    hoping = asyncio.create_task(empty.it.ready("s", wait=DEADLINE, hoping=True))
    await asyncio.sleep(0)
    await empty.it.stop()
    with pytest.raises(UnavailableError, match="stopping"):
        await hoping


async def test_waiting_ends_as_soon_as_it_is_hopeless(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    sending = asyncio.create_task(empty.it.call("s", TEXT, wait=DEADLINE))
    empty.process().report("conflict")
    async with asyncio.timeout(DEADLINE / 2):
        with pytest.raises(ConflictError, match="elsewhere"):
            await sending


async def test_a_conflict_that_is_taken_back_is_waited_for(empty: Bench, world: World) -> None:
    world.change("whatsapp", on_conflict="takeover")
    process = await empty.connected()
    process.report("conflict")
    await until(empty.session(), lambda s: s.link is Link.CONFLICT)
    with pytest.raises(UnavailableError):
        await empty.it.ready("s", wait=0)
    ready = asyncio.create_task(empty.it.ready("s", wait=DEADLINE))
    await asyncio.sleep(0)
    process.report("connected")
    await ready


async def test_a_pairing_code_is_for_sessions_that_show_a_qr(empty: Bench, world: World) -> None:
    process = await empty.connected()
    with pytest.raises(ConflictError):
        await empty.it.call("s", PairingCode(phone=PHONE), wait=DEADLINE)
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    assert await empty.it.call("s", PairingCode(phone=PHONE), wait=DEADLINE) == Value()


async def test_a_screenshot_is_for_any_ready_page(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("offline")
    assert await empty.it.call("s", Screenshot(), wait=DEADLINE) == Value()


async def test_a_worker_that_dies_in_mid_send(empty: Bench, world: World) -> None:
    process = await empty.connected()

    async def answer(call: Call) -> None:
        process.exit(-9)

    process.script.answer = answer
    with pytest.raises(UncertainError):
        await empty.it.call("s", TEXT, wait=DEADLINE)
    await until(empty.session(), lambda s: s.process is not process and s.link is Link.CONNECTED)
    assert empty.process().calls == []


async def test_a_stopping_daemon_gives_no_final_answer(empty: Bench, world: World) -> None:
    """A 4xx would have the application drop a message that the next daemon could send."""
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    sending = asyncio.create_task(empty.it.call("s", TEXT, wait=DEADLINE))
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    await empty.it.stop()
    with pytest.raises(UnavailableError) as raised:
        await sending
    assert raised.value.retry_after
    for call in (empty.create("new"), empty.it.start("s", restart=False)):
        with pytest.raises(UnavailableError):
            await call


# ---- the stop ----


async def test_all_stop_in_parallel_and_the_rows_say_why(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 11."""
    names = [f"s{n}" for n in range(6)]
    processes = [await empty.connected(name) for name in names]
    for process in processes:
        process.script.obeys = False
    monkeypatch.setattr(
        session_module, "STOP_GRACE", DEADLINE
    )  # no one's is over before the last is asked
    stopping = asyncio.create_task(empty.it.stop())
    await wait_until(lambda: all(p.signals == ["TERM"] for p in processes), "all are asked at once")
    for process in processes:
        process.exit(0)
    await stopping
    assert {world.row_status(name) for name in names} == {("disconnected", "instance_restart")}
    assert world.spawn.alive == []
    last = [e for e in world.store.entries if e.kind == "status" and e.after == "disconnected"]
    assert {e.session_id for e in last} == set(names)
    assert not empty.it.health().supervising


async def test_a_dead_database_does_not_hold_up_the_stop(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "WRITE_DEADLINE", 0.05)
    await empty.connected()
    await empty.settled()
    world.store.down = True
    async with asyncio.timeout(DEADLINE):
        await empty.it.stop()
    assert world.spawn.alive == []


async def test_a_create_that_meets_the_stop_starts_nothing(empty: Bench, world: World) -> None:
    real, entered, gate = world.store.create, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **rest: Any) -> Any:
        entered.set()
        await gate.wait()
        return await real(*args, **rest)

    world.store.create = slow  # type: ignore[method-assign]
    creating = asyncio.create_task(empty.create())
    await entered.wait()
    await empty.it.stop()
    gate.set()
    with pytest.raises(UnavailableError):
        await creating
    assert world.spawn.started == []


async def test_the_second_interrupt_kills(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.script.obeys = False
    stopping = asyncio.create_task(empty.it.stop())
    await wait_until(lambda: process.signals, "it was asked")
    empty.it.kill()
    await stopping
    assert process.signals[:2] == ["TERM", "KILL"]


# ---- watch ----


async def watch_for(bench: Bench, seconds: int, beat: Callable[[], None] = lambda: None) -> None:
    """The ticks of so many seconds; ``beat`` is called before each."""
    for _ in range(seconds):
        bench.world.clock.advance(1)
        beat()
        await asyncio.sleep(0)
        await bench.it.watch()


async def test_a_silent_worker_is_replaced(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await watch_for(empty, 10)
    assert empty.session().state is State.RUNNING
    await watch_for(empty, 1)
    assert empty.session().state is State.RECYCLING
    await until(empty.session(), lambda s: s.process is not process and s.link is Link.CONNECTED)
    await empty.settled()
    assert world.audited("restart") == [(None, None, "the worker has been silent for 11 s")]


async def beating(
    bench: Bench, process: FakeProcess, seconds: int, page: float | None, *, hopeless: bool = False
) -> None:
    session = bench.session(process.spec.session)
    async with asyncio.timeout(DEADLINE):
        for _ in range(seconds):
            bench.world.clock.advance(1)
            process.beat(page, hopeless=hopeless)
            while session.heard_at != bench.world.clock.monotonic():
                await asyncio.sleep(0)
            await bench.it.watch()


async def test_a_silent_page_is_replaced_although_its_worker_lives(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await beating(empty, process, 30, page=None)
    assert empty.session().state is State.RUNNING
    await beating(empty, process, 1, page=None)
    assert empty.session().state is State.RECYCLING
    await until(empty.session(), lambda s: s.process is not process)
    await empty.settled()
    assert world.audited("restart") == [(None, None, "the page has not answered for 31 s")]


@pytest.mark.parametrize(("crowded", "limit"), [(False, 10), (True, 30)])
async def test_a_page_that_cannot_be_helped_is_replaced_sooner_where_there_are_cores(
    empty: Bench, world: World, *, crowded: bool, limit: int
) -> None:
    process = await empty.connected()
    world.crowded = crowded
    await beating(empty, process, limit, page=None, hopeless=True)
    assert empty.session().state is State.RUNNING
    await beating(empty, process, 1, page=None, hopeless=True)
    assert empty.session().state is State.RECYCLING


async def test_a_silence_is_told_before_anything_is_done(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await beating(empty, process, 2, page=None)
    assert (await empty.it.view("s")).disconnect_details is None
    await beating(empty, process, 1, page=None)
    view = await empty.it.view("s")
    assert (view.status, view.disconnect_details) == ("connected", "the page does not answer")
    await beating(empty, process, 1, page=0.01)
    assert (await empty.it.view("s")).disconnect_details is None
    assert empty.session().process is process
    await watch_for(empty, 3)
    assert (await empty.it.view("s")).disconnect_details == "the worker is silent"


async def test_why_a_page_is_silent_is_told_where_it_is_known(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report(silence="Chromium's process 7 was stopped (SIGSTOP)")
    await beating(empty, process, 11, page=None, hopeless=True)
    await until(empty.session(), lambda s: s.process is not process)
    await empty.settled()
    ((_, _, why),) = world.audited("restart")
    assert why == ("the page has not answered for 11 s: Chromium's process 7 was stopped (SIGSTOP)")


async def test_quiet_is_not_dead(empty: Bench, world: World) -> None:
    """Fault 7: no message in an hour, only heartbeats."""
    process = await empty.connected()
    await beating(empty, process, 3_600, page=0.01)
    assert empty.session().process is process
    assert empty.session().restarts == 0


async def test_a_page_that_answers_but_never_says_how_it_stands(empty: Bench, world: World) -> None:
    """Wa-js could not be injected after a reload: the row must not say connected for ever."""
    process = await empty.connected()
    process.report("unknown")
    await until(empty.session(), lambda s: s.link is Link.UNKNOWN)
    await beating(empty, process, 31, page=0.01)
    await empty.settled()
    assert world.row_status("s") == ("disconnected", "unknown")
    assert empty.session().process is process
    await beating(empty, process, 30, page=0.01)
    assert empty.session().state is State.RECYCLING
    await until(empty.session(), lambda s: s.process is not process)
    await empty.settled()
    assert "how it stands with WhatsApp" in str(world.audited("restart")[0][2])


async def test_a_start_that_takes_too_long(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started, "it was spawned")
    limit = int(world.config.browser.launch_timeout + world.config.restore.timeout)
    await watch_for(empty, limit)
    assert empty.session().state is State.STARTING
    await watch_for(empty, 1)
    assert empty.session().state is State.RECYCLING


async def test_each_start_has_the_whole_time(empty: Bench, world: World) -> None:
    """Also one that follows a crash between two ticks."""
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started, "it was spawned")
    limit = int(world.config.browser.launch_timeout + world.config.restore.timeout)
    await watch_for(empty, limit)
    world.spawn.started[0].exit(-9)
    await until(
        empty.session(),
        lambda s: s.state is State.STARTING and s.process is not None and s.restarts == 1,
    )
    await watch_for(empty, limit)
    assert empty.session().state is State.STARTING
    assert len(world.spawn.started) == 2


async def test_ones_own_sleep_is_nobody_elses_silence(empty: Bench, world: World) -> None:
    """A daemon that was stopped for a minute has heard nobody: that is no evidence."""
    process = await empty.connected()
    await watch_for(empty, 1)
    world.clock.advance(60)
    await empty.it.watch()
    # nor is the minute counted when it goes on: the others need a moment too
    await watch_for(empty, 4)
    assert empty.session().state is State.RUNNING
    await beating(empty, process, 3, page=0.01)
    assert empty.session().process is process


# ---- reconcile ----


@pytest.mark.parametrize("status", ["disconnected", "failed", "qr_scanning", "error"])
async def test_what_somebody_else_wrote_into_the_row_is_corrected(
    empty: Bench, world: World, status: str
) -> None:
    await empty.connected()
    await empty.settled()
    world.store.accounts["s"].status = status
    await empty.it.reconcile()
    await empty.settled()
    assert world.row_status("s") == ("connected", None)
    ((before, after, _),) = world.audited("row_corrected")
    assert (before, after) == (status, "connected")
    await wait_until(lambda: len(world.events("session_ready")) == 2, "ready was told again")
    await empty.it.reconcile()
    assert len(world.audited("row_corrected")) == 1


@pytest.mark.parametrize("status", ["connected", "authenticated", "qr_scanning"])
async def test_a_row_that_promises_what_nobody_runs_is_corrected(
    empty: Bench, world: World, status: str
) -> None:
    """The incident."""
    await empty.connected()
    await empty.it.logout("s")
    await empty.settled()
    world.store.accounts["s"].status = status
    await empty.it.reconcile()
    await empty.settled()
    assert world.row_status("s")[0] == "disconnected"


async def test_a_row_that_appears_is_taken_in(empty: Bench, world: World) -> None:
    await empty.row("up")
    await empty.row("down", up=False, status="disconnected")
    await empty.it.reconcile()
    await until(empty.session("up"), lambda s: s.link is Link.CONNECTED)
    assert empty.session("down").state is State.STOPPED
    assert [v.session_id for v in await empty.it.views()] == ["down", "up"]


async def test_a_row_that_promises_and_appears_unwanted_is_corrected_at_last(
    empty: Bench, world: World
) -> None:
    await empty.row("s", up=False, status="connected")
    await empty.it.reconcile()
    await empty.it.reconcile()
    await empty.settled()
    assert world.row_status("s") == ("disconnected", "unknown")
    assert world.spawn.started == []


async def test_a_row_that_disappears_is_stopped_and_forgotten(empty: Bench, world: World) -> None:
    process = await empty.connected()
    del world.store.accounts["s"]
    await empty.it.reconcile()
    assert not process.alive
    assert await empty.it.views() == []
    with pytest.raises(NotFoundError):
        await empty.it.view("s")


async def test_the_desired_state_is_followed_both_ways(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await world.store.set_desired("s", up=False)
    await empty.it.reconcile()
    assert not process.alive
    await empty.settled()
    assert world.row_status("s") == ("disconnected", "user_initiated")
    row = await world.store.set_desired("s", up=True)
    assert row
    await empty.it.reconcile()
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert empty.process().spec.generation == row.generation


async def test_a_parked_session_waits_for_a_person(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("blocked", details="TOS_BLOCK")
    await until(empty.session(), lambda s: s.state is State.PARKED)
    await empty.settled()
    await empty.it.reconcile()
    assert empty.session().state is State.PARKED
    assert len(world.spawn.started) == 1


async def test_a_database_that_is_down_changes_nothing(empty: Bench, world: World) -> None:
    """Unknown is not empty."""
    process = await empty.connected()
    await empty.settled()
    world.store.down = True
    await empty.it.reconcile()
    assert process.alive
    assert empty.session().link is Link.CONNECTED
    health = empty.it.health()
    assert not health.database
    assert (health.supervising, health.restored, health.connected) == (True, True, 1)
    assert health.problems == ("the database in memory is down",)
    world.store.down = False
    await empty.it.reconcile()
    assert empty.it.health().problems == ()


async def test_nothing_is_compared_before_the_restore_or_after_the_stop(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    await bench.it.reconcile()
    assert world.spawn.started == []
    await bench.restore()
    await bench.it.stop()
    await bench.it.reconcile()
    assert len(world.spawn.started) == 1


async def test_every_correction_is_on_the_trail_and_in_the_stream(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await world.store.set_desired("s", up=False)
    await empty.row("new")
    done = await empty.it.correct()
    assert [(one.session, one.action) for one in done] == [("s", "stop"), ("new", "add")]
    await until(empty.session("new"), lambda s: s.link is Link.CONNECTED)
    await empty.settled("s")
    await empty.settled("new")
    assert not process.alive
    assert world.audited("reconciled") == [
        ("running", "stopped", "it was up, and the row does not want it up"),
        (
            "not in memory",
            "taken in and started",
            "the row says connected, memory had no such session",
        ),
    ]
    await wait_until(lambda: len(world.events("incident")) >= 2, "both were told")
    assert await empty.it.correct() == []


async def test_the_difference_can_be_seen_before(empty: Bench, world: World) -> None:
    await empty.row("new", up=False, status="error")
    corrections, found = await empty.it.difference()
    assert ([one.action for one in corrections], found) == (["add"], [])
    assert await empty.it.views() == []
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await empty.it.difference()
    with pytest.raises(DatabaseUnavailableError):
        await empty.it.correct()


async def test_a_row_that_is_connected_and_has_no_profile_is_told_so_and_not_started(
    empty: Bench, world: World
) -> None:
    await empty.row("s", profile=False)
    await empty.it.reconcile()
    await empty.settled()
    assert world.row_status("s") == ("disconnected", "error")
    assert empty.session().state is State.PARKED
    assert world.spawn.started == []


async def test_a_profile_that_vanishes_under_its_browser_comes_back_by_a_planned_restart(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await empty.connected()
    await empty.settled()
    shutil.rmtree(process.spec.profile)
    await empty.it.reconcile()
    assert process.alive, "without a copy it lives as long as it can"
    assert [p for p in empty.it.health().problems if "removed" in p]
    copies = Host(profiles={(7, "s"): Stored(profile=False, copies=True)})
    monkeypatch.setattr(under_test, "take_stock", lambda *_, **__: copies)
    await empty.it.reconcile()
    await until(empty.session(), lambda s: s.link is Link.CONNECTED and s.process is not process)
    assert not process.alive
    assert empty.session().restarts == 0
    monkeypatch.undo()
    await empty.it.reconcile()
    assert empty.it.health().problems == ()


async def test_a_profile_without_a_row_is_a_problem_and_stays(empty: Bench, world: World) -> None:
    await empty.connected()
    profile = world.profile("old")
    for _ in range(2):
        await empty.it.reconcile()
        assert any(line.startswith("old: ") for line in empty.it.health().problems)
    assert profile.is_dir()


async def test_two_rows_with_one_phone_are_told_once(empty: Bench, world: World) -> None:
    for name in ("a", "b"):
        await empty.connected(name)
        await empty.settled(name)
        world.store.accounts[name].phone_number = "4915112345678"
    await empty.it.reconcile()
    await empty.it.reconcile()
    await empty.settled("a")
    await empty.settled("b")
    assert len(world.audited("same_phone")) == 2
    assert len(empty.it.health().problems) == 2


async def test_a_worker_that_nobody_knows_is_ended(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await empty.connected()
    left = await world.left_behind("s")
    folder = world.config.paths.runtime / "workers"
    (folder / "stranger.json").write_bytes(msgspec.json.encode(left.record))
    seen = Host(workers={left.process.pid: Worker(session="s", ours=False)})
    monkeypatch.setattr(under_test, "take_stock", lambda *_, **__: seen)
    [done] = await empty.it.correct()
    assert (done.action, done.before) == ("end worker", f"worker {left.process.pid} runs")
    assert not left.process.alive
    assert process.alive
    await empty.settled()
    assert len(world.audited("reconciled")) == 1
    assert await empty.it.correct() == [], "it is gone, and nothing is told twice"


class Gate:
    """Holds the answer of ``sessions`` back: what it says is old when it arrives."""

    def __init__(self, world: World) -> None:
        self.read, self.open = asyncio.Event(), asyncio.Event()
        self._real = world.store.sessions
        world.store.sessions = self._sessions  # type: ignore[method-assign]

    async def _sessions(self) -> Any:
        rows = await self._real()
        self.read.set()
        await self.open.wait()
        return rows


async def test_a_session_that_was_created_meanwhile_is_not_removed(
    empty: Bench, world: World
) -> None:
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    process = await empty.connected()
    gate.open.set()
    await comparing
    assert process.alive
    assert empty.session().state is State.RUNNING


async def test_a_session_that_was_logged_out_meanwhile_is_not_started(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    await empty.it.logout("s")
    gate.open.set()
    await comparing
    assert world.spawn.alive == []
    assert empty.session().state is State.STOPPED


async def test_a_session_that_was_started_meanwhile_is_not_stopped(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    await empty.it.logout("s")
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    process = await empty.connected()
    gate.open.set()
    await comparing
    assert process.alive


async def test_a_status_that_was_written_meanwhile_is_no_lie(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await empty.settled()
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    await empty.settled()
    gate.open.set()
    await comparing
    await empty.settled()
    assert world.audited("row_corrected") == []


async def test_a_row_that_corrected_itself_meanwhile_is_no_lie(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await empty.settled()
    world.store.accounts["s"].status = "failed"
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    await empty.settled()
    gate.open.set()
    await comparing
    assert world.audited("row_corrected") == []


async def test_a_session_that_was_taken_in_meanwhile_is_not_taken_in_twice(
    empty: Bench, world: World
) -> None:
    await empty.row("s")
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    process = await empty.connected()
    session = empty.session()
    gate.open.set()
    await comparing
    assert empty.session() is session
    assert world.spawn.alive == [process]


async def test_the_newest_wish_counts_not_the_one_that_was_read(empty: Bench, world: World) -> None:
    await empty.connected()
    await empty.it.logout("s")
    await empty.settled()
    await world.store.set_desired("s", up=True)  # by somebody else, and read so
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    await empty.it.logout("s")
    gate.open.set()
    await comparing
    assert world.spawn.alive == []
    assert empty.session().state is State.STOPPED


async def test_a_comparison_that_meets_the_stop_starts_nothing(empty: Bench, world: World) -> None:
    await empty.row("s")
    gate = Gate(world)
    comparing = asyncio.create_task(empty.it.reconcile())
    await gate.read.wait()
    await empty.it.stop()
    gate.open.set()
    await comparing
    assert world.spawn.started == []


# ---- health ----


async def test_health_counts_and_names(empty: Bench, world: World) -> None:
    await empty.connected("a")
    await empty.connected("b")
    await empty.connected("gone")
    await empty.it.logout("gone")
    empty.process("b").report("offline")
    await until(empty.session("b"), lambda s: s.link is Link.OFFLINE)
    health = empty.it.health()
    assert (health.total, health.connected, health.disconnected) == (3, 1, 2)
    assert health.supervising
    assert health.database
    assert health.restored
    (problem,) = health.problems  # one that is not wanted is no problem
    assert problem.startswith("b is disconnected: ")
