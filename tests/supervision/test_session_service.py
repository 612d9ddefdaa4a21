"""What the API and the outbox ask of sessions."""

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from tests.sends import not_sent
from tests.store.memory import Account
from tests.supervision.bench import LOADING, PHONE, QR_SHOWN, TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.reports import qr
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.errors import (
    ConflictError,
    NotFoundError,
    NotYetError,
    OtherNumberError,
    SessionIdTakenError,
    UnavailableError,
)
from waguard.ports.outcomes import Acked, Uncertain
from waguard.wire.calls import (
    Call,
    Exists,
    FetchFile,
    PairingCode,
    RefreshQr,
    Screenshot,
    SendFile,
    SendText,
    Sent,
    Value,
)

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
    view = await empty.it.sessions.view("s")
    assert (view.status, view.lifecycle, view.link) == ("connected", "running", "connected")
    assert view.phone_number == PHONE
    assert view.worker_pid == empty.process().pid
    assert view.browser_pid == empty.process().pid + 1
    await empty.until_written()
    assert (await empty.it.sessions.view("s")).connected_at is not None


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
    await until(empty.session(), lambda s: s.lifecycle is State.PARKED)
    _, new = await empty.create()
    assert not new
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert empty.process().spec.generation == process.spec.generation + 1
    assert empty.session().row.generation == empty.process().spec.generation


async def test_each_request_for_an_unknown_session_is_refused(empty: Bench) -> None:
    calls: Sequence[Awaitable[object]] = (
        empty.it.sessions.view("no"),
        empty.it.sessions.start("no", restart=False),
        empty.it.sessions.logout("no"),
        empty.it.sessions.stop("no"),
        empty.it.sessions.delete("no", purge=False),
        empty.it.sessions.qr("no", wait=0),
        empty.it.sessions.call("no", Screenshot(), wait=0),
    )
    for call in calls:
        with pytest.raises(NotFoundError, match=r"^Session not found$"):
            await call
    error = await not_sent(empty.it.sessions.send("no", TEXT, wait=0), NotFoundError)
    assert error.message == "Session not found"


async def test_the_rows_of_another_provider_are_not_ours(empty: Bench, world: World) -> None:
    world.store.accounts["m"] = Account("m", 7, provider_type="meta", status="connected")
    with pytest.raises(NotFoundError):
        await empty.it.sessions.view("m")
    await empty.it.reconciler.reconcile()
    assert await empty.it.sessions.views() == []


async def test_a_row_that_the_application_wrote_a_moment_ago(empty: Bench, world: World) -> None:
    world.store.accounts["s"] = Account("s", 7, status="qr_scanning")
    one, two = await asyncio.gather(empty.it.sessions.view("s"), empty.it.sessions.view("s"))
    assert one == two
    assert (one.status, one.lifecycle) == ("disconnected", "stopped"), "no worker shows a code"


async def test_views_are_by_id(empty: Bench) -> None:
    for name in ("c", "a", "b"):
        await empty.create(name)
    assert [view.session_id for view in await empty.it.sessions.views()] == ["a", "b", "c"]


async def test_start_and_a_planned_restart(empty: Bench, world: World) -> None:
    process = await empty.connected()
    view = await empty.it.sessions.start("s", restart=False)
    assert view.lifecycle == "running"
    view = await empty.it.sessions.start("s", restart=True)
    assert view.lifecycle == "recycling"
    await until(
        empty.session(), lambda s: s.runner.process is not process and s.link is Link.CONNECTED
    )
    assert (await empty.it.sessions.view("s")).restarts == 0


async def test_a_message_of_another_number_is_not_sent(empty: Bench) -> None:
    process = await empty.connected()
    assert isinstance(await empty.it.sessions.send("s", TEXT, wait=0, phone=PHONE), Acked)
    sending = empty.it.sessions.send("s", TEXT, wait=0, phone="4917000")
    assert "4917000" in (await not_sent(sending, OtherNumberError)).message
    process.report("connected", phone=None)  # as after a restart of the page
    await until(
        empty.session(), lambda s: s.runner.report is not None and s.runner.report.phone is None
    )
    assert isinstance(await empty.it.sessions.send("s", TEXT, wait=0, phone=PHONE), Acked)
    process.report("qr_pending", qr=qr(), phone=None)
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    process.report("connected", phone=None)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    sending = empty.it.sessions.send("s", TEXT, wait=0, phone=PHONE)
    assert "linked number is not known yet" in (await not_sent(sending, UnavailableError)).message
    process.report("connected", phone=PHONE)
    await until(empty.session(), lambda s: not s.state.showed_code)
    assert isinstance(await empty.it.sessions.send("s", TEXT, wait=0, phone=PHONE), Acked)
    sent = [call for call in process.calls if isinstance(call, SendText)]
    assert len(sent) == 3


async def test_memory_is_still_served_while_the_database_is_down(
    empty: Bench, world: World
) -> None:
    await empty.connected()
    world.store.down = True
    assert (await empty.it.sessions.view("s")).status == "connected"
    assert isinstance(await empty.it.sessions.send("s", TEXT, wait=0), Acked)
    with pytest.raises(UnavailableError):
        await empty.it.sessions.view("other")
    with pytest.raises(UnavailableError):
        await empty.it.sessions.start("s", restart=True)
    assert empty.session().lifecycle is State.RUNNING


# ---- the QR code ----


async def test_the_code_on_the_screen(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    assert await empty.it.sessions.qr("s", wait=DEADLINE) == qr()


async def test_no_code_yet(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    with pytest.raises(NotYetError) as raised:
        await empty.it.sessions.qr("s", wait=0.01)
    assert raised.value.status == 425
    assert raised.value.retry_after
    waiting = asyncio.create_task(empty.it.sessions.qr("s", wait=DEADLINE))
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    empty.process().report("qr_pending", qr=qr("new"))
    assert (await waiting).raw == "new"


@pytest.mark.parametrize("link", ["connected", "syncing"])
async def test_no_code_where_it_is_linked_already(empty: Bench, world: World, link: str) -> None:
    world.spawn.script = Script(reports=({"phase": "ready", "link": link},))
    await empty.create()
    with pytest.raises(ConflictError, match="already linked"):
        await empty.it.sessions.qr("s", wait=DEADLINE)


async def test_nobody_is_advised_to_log_out_while_the_phone_links(
    empty: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=({"phase": "ready", "link": "pairing"},))
    await empty.create()
    with pytest.raises(ConflictError, match="the phone links this device now") as raised:
        await empty.it.sessions.qr("s", wait=DEADLINE)
    assert "log" not in (raised.value.remedy or "")


async def test_waiting_for_a_code_ends_when_the_phone_scans_or_hope_does(
    empty: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    waiting = asyncio.create_task(empty.it.sessions.qr("s", wait=DEADLINE))
    empty.process().report("blocked", details="PROXYBLOCK")
    with pytest.raises(ConflictError, match="PROXYBLOCK") as raised:
        await waiting
    assert raised.value.remedy


async def test_a_new_code_from_a_running_worker(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    await empty.it.sessions.qr("s", wait=DEADLINE)
    process = empty.process()

    async def answer(call: Call) -> Value:
        process.report("qr_pending", qr=qr("fresh", count=2))
        return Value()

    process.script.answer = answer
    assert (await empty.it.sessions.qr("s", wait=DEADLINE, refresh=True)).raw == "fresh"
    assert process.calls == [RefreshQr()]


async def test_a_new_code_where_nobody_scanned_the_last_ones(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await empty.create()
    await empty.it.sessions.qr("s", wait=DEADLINE)
    empty.process().report("qr_pending", qr_idle=True)
    await until(empty.session(), lambda s: s.lifecycle is State.PARKED)
    with pytest.raises(ConflictError, match="no one scanned") as raised:
        await empty.it.sessions.qr("s", wait=0)
    assert "regenerate-qr" in str(raised.value.remedy)
    assert await empty.it.sessions.qr("s", wait=DEADLINE, refresh=True) == qr()
    assert len(world.spawn.started) == 2


# ---- calls ----


async def test_a_call_waits_for_a_session_on_its_way_up(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    sending = asyncio.create_task(empty.it.sessions.send("s", TEXT, wait=DEADLINE))
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    process = empty.process()
    process.report("syncing")
    await until(empty.session(), lambda s: s.link is Link.SYNCING)
    assert process.calls == []
    process.report("connected")
    outcome = await sending
    assert isinstance(outcome, Acked)
    assert process.calls == [TEXT]


async def test_a_call_waits_over_a_restart(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.exit(-9)
    await until(empty.session(), lambda s: s.runner.process is not process)
    await empty.it.sessions.send("s", TEXT, wait=DEADLINE)
    assert process.calls == []
    assert empty.process().calls == [TEXT]


async def test_a_call_that_waited_in_vain_may_be_repeated(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    error = await not_sent(empty.it.sessions.send("s", TEXT, wait=0.02), UnavailableError)
    assert error.retry_after
    assert process.calls == []


@pytest.mark.parametrize("what", ["send", "exists"])
async def test_a_call_that_nothing_can_help_is_a_conflict(
    empty: Bench, world: World, what: str
) -> None:
    async def why_not() -> str:
        sessions = empty.it.sessions
        if what == "send":
            return str(await not_sent(sessions.send("s", TEXT, wait=DEADLINE), ConflictError))
        with pytest.raises(ConflictError) as raised:
            await sessions.call("s", Exists(chat="c"), wait=DEADLINE)
        return str(raised.value)

    process = await empty.connected()
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    async with asyncio.timeout(DEADLINE / 2):
        assert (await why_not()).startswith("Session not connected: it is qr_pending")
    await empty.it.sessions.logout("s")
    assert (await why_not()).startswith("Session not connected: it was logged out")


async def test_who_hopes_waits_also_for_a_person(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await empty.it.sessions.ready("s", wait=0)
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    with pytest.raises(ConflictError, match="qr_pending"):
        await empty.it.sessions.ready("s", wait=DEADLINE)
    with pytest.raises(ConflictError, match="qr_pending"):
        await empty.it.sessions.ready("s", wait=0.02, hoping=True)
    hoping = asyncio.create_task(empty.it.sessions.ready("s", wait=DEADLINE, hoping=True))
    await asyncio.sleep(0)
    process.report("connected")
    await hoping
    with pytest.raises(NotFoundError):
        await empty.it.sessions.ready("another", wait=0)


async def test_a_stop_ends_all_hope(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    hoping = asyncio.create_task(empty.it.sessions.ready("s", wait=DEADLINE, hoping=True))
    await asyncio.sleep(0)
    await empty.it.stop()
    with pytest.raises(UnavailableError, match="stopping"):
        await hoping


async def test_waiting_ends_as_soon_as_it_is_unrecoverable(empty: Bench, world: World) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    sending = asyncio.create_task(empty.it.sessions.send("s", TEXT, wait=DEADLINE))
    empty.process().report("conflict")
    async with asyncio.timeout(DEADLINE / 2):
        assert "elsewhere" in (await not_sent(sending, ConflictError)).message


async def test_a_conflict_that_is_taken_back_is_waited_for(empty: Bench, world: World) -> None:
    world.change("whatsapp", on_conflict="takeover")
    process = await empty.connected()
    process.report("conflict")
    await until(empty.session(), lambda s: s.link is Link.CONFLICT)
    with pytest.raises(UnavailableError):
        await empty.it.sessions.ready("s", wait=0)
    ready = asyncio.create_task(empty.it.sessions.ready("s", wait=DEADLINE))
    await asyncio.sleep(0)
    process.report("connected")
    await ready


async def test_a_pairing_code_is_for_sessions_that_show_a_qr(empty: Bench, world: World) -> None:
    process = await empty.connected()
    with pytest.raises(ConflictError):
        await empty.it.sessions.call("s", PairingCode(phone=PHONE), wait=DEADLINE)
    process.report("qr_pending", qr=qr())
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    assert await empty.it.sessions.call("s", PairingCode(phone=PHONE), wait=DEADLINE) == Value()


async def test_a_screenshot_is_for_any_ready_page(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("offline")
    assert await empty.it.sessions.call("s", Screenshot(), wait=DEADLINE) == Value()


async def test_a_worker_that_dies_in_mid_send(empty: Bench, world: World) -> None:
    process = await empty.connected()

    async def answer(call: Call) -> None:
        process.exit(-9)

    process.script.answer = answer
    assert isinstance(await empty.it.sessions.send("s", TEXT, wait=DEADLINE), Uncertain)
    await until(
        empty.session(), lambda s: s.runner.process is not process and s.link is Link.CONNECTED
    )
    assert empty.process().calls == []


async def test_a_stopping_daemon_gives_no_final_answer(empty: Bench, world: World) -> None:
    """A 4xx would have the application drop a message that the next daemon could send."""
    world.spawn.script = Script(reports=(LOADING,))
    await empty.create()
    sending = asyncio.create_task(empty.it.sessions.send("s", TEXT, wait=DEADLINE))
    await wait_until(lambda: world.spawn.started and empty.process().connected, "it is up")
    await empty.it.stop()
    assert (await not_sent(sending, UnavailableError)).retry_after
    for call in (empty.create("new"), empty.it.sessions.start("s", restart=False)):
        with pytest.raises(UnavailableError):
            await call


async def test_a_worker_of_an_earlier_version_gets_no_file_by_its_path(empty: Bench) -> None:
    """It would take such a call for nonsense, and hang up."""
    command = {"chat": "c", "content": b"", "mimetype": "a/b", "kind": "document"}
    send = SendFile(**command, message_id="true_c_2", timeout=5.0, file="/f", size=9)  # type: ignore[arg-type] # of one type each
    fetch = FetchFile(message_id="false_c_1", folder="/f", limit=9, timeout=60.0)
    process = await empty.connected()
    sending = empty.it.sessions.send("s", send, wait=0)
    assert "sessions restart s" in str((await not_sent(sending, UnavailableError)).remedy)
    with pytest.raises(UnavailableError, match="earlier version"):
        await empty.it.sessions.call("s", fetch, wait=0)
    assert not process.calls
    seen: list[int] = []

    async def answer(call: Call) -> Value | Sent:
        seen.append(empty.session().traffic.transfers)
        if isinstance(call, FetchFile):
            return Value()
        return Sent(outcome="sent", message_id="true_c_2", timestamp=1)

    process.script.answer = answer
    process.report("connected", files=True)
    await until(empty.session(), lambda s: bool(s.runner.report and s.runner.report.files))
    assert isinstance(await empty.it.sessions.send("s", send, wait=0), Acked)
    assert await empty.it.sessions.call("s", fetch, wait=0) == Value()
    assert process.calls == [send, fetch]
    assert seen == [1, 1]
    assert not empty.session().traffic.transfers
