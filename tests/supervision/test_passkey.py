"""A linking that waits for a passkey, and a code that may unlink another session."""

import errno
import json
from typing import Any
from unittest.mock import Mock

import pytest

from tests.host.odd_files import refuse
from tests.supervision.bench import PHONE, QR_SHOWN, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.page_care import kinds, reloaded, reloads, reports, ticks
from tests.supervision.reports import qr
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import DEADLINE
from waguard.core import remedies
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import PASSKEY_GRACE, Kind
from waguard.core.passkey_link import WAITING, PasskeyStage
from waguard.core.session.views import unlinked
from waguard.errors import ConflictError, NumberLinkedError
from waguard.ports.process import Usage
from waguard.profile import owner_mark
from waguard.profile.owner_mark import NO_TOKEN, PAIRING
from waguard.supervision.session.session_profile import may_be_linked
from waguard.wire.calls import PairingCode, Unlink, Value
from waguard.wire.reports import Passkey


def waiting(
    world: World, left: float = 600.0, stage: PasskeyStage = PasskeyStage.OFFERED, **fields: Any
) -> dict[str, Any]:
    now = world.clock.wall()
    passkey = Passkey(stage=stage, until=now + left, unattended_until=now + 300.0, **fields)
    return {"link": "passkey_required", "passkey": passkey}


async def linking(bench: Bench) -> FakeProcess:
    """A code was scanned, and WhatsApp asks for the passkey."""
    bench.world.spawn.script = Script(reports=(QR_SHOWN,))
    await bench.create()
    await until(bench.session(), lambda s: s.link is Link.QR_PENDING)
    await reports(bench, **waiting(bench.world))
    return bench.process()


async def test_a_linking_that_waits_for_a_passkey_says_so(empty: Bench, world: World) -> None:
    process = await linking(empty)
    await ticks(empty, 100)
    await empty.until_written()
    assert world.row_status("s") == ("qr_scanning", None)
    view = await empty.it.sessions.view("s")
    assert (view.status, view.link) == ("qr_scanning", "passkey_required")
    assert str(view.disconnect_details).startswith("passkey_required: WhatsApp asks for")
    (condition,) = view.conditions
    assert (condition.type, condition.expires_in) == (Kind.PASSKEY_REQUIRED, 500.0)
    assert (condition.stage, condition.unattended_expires_in) == ("offered", 200.0)
    assert condition.remedy == remedies.text(remedies.PASSKEY[PasskeyStage.OFFERED], "s")
    assert empty.it.health.read().problems == (f"s: {condition.message}",)
    with pytest.raises(ConflictError, match="passkey_required") as refused:
        await empty.it.sessions.qr("s", wait=0)
    assert refused.value.remedy == condition.remedy
    (event,) = world.events("incident")
    assert event.data["kind"] == "passkey_required"
    (link,) = [e for e in world.events("link") if e.data["to"] == "passkey_required"]
    assert link.data["from"] == "qr_pending"
    await reports(empty, phone=PHONE)
    await ticks(empty, 1)
    assert kinds(empty) == []
    await empty.until_written()
    assert world.row_status("s") == ("connected", None)
    assert world.store.accounts["s"].disconnect_details is None
    assert (empty.process(), reloads(process)) == (process, 0)


async def test_nobody_touches_a_session_that_waits_for_a_passkey(
    empty: Bench, world: World
) -> None:
    """A new code never comes meanwhile, and its memory may be large."""
    process = await linking(empty)
    world.change("worker", memory_limit=400)
    world.meter.usage = {"s": Usage(cpu_percent=1.0, memory=900 << 20)}
    await ticks(empty, 599)
    await empty.it.watchdog.measure()
    assert (empty.session().lifecycle, empty.process()) == (State.RUNNING, process)
    assert reloads(process) == 0


async def test_when_a_passkeys_time_is_up_the_page_is_loaded_once_to_show_a_code(
    empty: Bench, world: World
) -> None:
    process = await linking(empty)
    await ticks(empty, 600 + PASSKEY_GRACE - 1)
    assert reloads(process) == 0
    *_, condition = (await empty.it.sessions.view("s")).conditions
    assert (condition.type, condition.expires_in) == (Kind.PASSKEY_REQUIRED, 0.0)
    await ticks(empty, 1)
    await reloaded(process, 1)
    await reports(empty, "qr_pending", qr=qr("b"))
    await ticks(empty, 1)
    assert kinds(empty) == []
    assert (await empty.it.sessions.qr("s", wait=0)).raw == "b"
    assert not any(isinstance(call, Unlink) for call in process.calls)


async def test_a_daemon_that_adopts_one_does_not_replace_it(bench: Bench, world: World) -> None:
    await bench.row("s", status="qr_scanning")
    world.change("restore", timeout=DEADLINE)
    world.spawn.script = Script(reports=({"phase": "ready", **waiting(world)},))
    left = await world.left_behind("s")
    assert await bench.restore((left.record, left.process)) == "needs QR 1"
    assert bench.process() is left.process


async def test_another_code_can_be_asked_for_instead(empty: Bench, world: World) -> None:
    process = await linking(empty)

    async def show(_: Any) -> Value:
        process.report("qr_pending", qr=qr("new"))
        return Value()

    process.script.answer = show
    assert (await empty.it.sessions.qr("s", wait=5, refresh=True)).raw == "new"


async def test_a_pairing_code_is_refused_with_what_is_going_on(empty: Bench, world: World) -> None:
    process = await linking(empty)
    with pytest.raises(ConflictError, match="passkey_required: WhatsApp asks for") as refused:
        await empty.it.sessions.call("s", PairingCode(phone=PHONE), wait=0)
    assert refused.value.remedy == remedies.text(remedies.PASSKEY[PasskeyStage.OFFERED], "s")
    assert process.calls == []


@pytest.mark.parametrize("stage", sorted(WAITING))
async def test_nobody_ends_a_linking_by_another_code_while_an_answer_is_waited_for(
    empty: Bench, world: World, stage: PasskeyStage
) -> None:
    process = await linking(empty)
    await reports(empty, **waiting(world, 120.0, stage, error=None))
    with pytest.raises(ConflictError, match="passkey_required") as refused:
        await empty.it.sessions.qr("s", wait=0, refresh=True)
    assert refused.value.remedy == remedies.text(remedies.PASSKEY[stage], "s")
    assert process.calls == []
    await ticks(empty, 300)
    assert (empty.process(), reloads(process)) == (process, 0)


async def test_each_stage_is_said_in_its_own_words(empty: Bench, world: World) -> None:
    await linking(empty)
    found = []
    for stage in PasskeyStage:
        await reports(empty, **waiting(world, 120.0, stage, error="server_error"))
        (condition,) = (await empty.it.sessions.view("s")).conditions
        assert (condition.stage, condition.expires_in) == (stage, 120.0)
        assert condition.remedy == remedies.text(remedies.PASSKEY[stage], "s")
        found.append(condition.message)
    assert len(set(found)) == len(PasskeyStage)
    assert "WhatsApp's server refused it" in found[-1]
    await empty.until_written()
    assert len(world.events("incident")) == 1


async def test_a_code_for_a_number_that_is_linked_here_may_unlink_it_and_is_refused(
    empty: Bench, world: World
) -> None:
    """OpenWA#1653."""
    await empty.connected("old")
    profile = empty.session("old").profile.at.profile
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await empty.create()
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    (profile / PAIRING).write_text(json.dumps({"token": "t", "at": 1.0}))
    with pytest.raises(ConflictError, match="session old is linked to this number") as refused:
        await empty.it.sessions.call("s", PairingCode(phone=PHONE), wait=0)
    assert refused.value.field == "phone_number"
    assert empty.process().calls == []
    await empty.it.sessions.call("s", PairingCode(phone="4915100000000"), wait=0)
    await empty.it.sessions.logout("old")
    await empty.it.sessions.call("s", PairingCode(phone=PHONE), wait=0)


@pytest.mark.parametrize(
    ("phone", "mark", "unpaired", "refused"),
    [
        (f"+{PHONE}", {"token": "t", "at": 1.0}, False, True),
        ("+49 1511 2345678", {"token": "t", "at": 1.0}, True, True),
        (PHONE, None, False, True),
        (PHONE, None, True, False),
        (PHONE, NO_TOKEN, False, False),
    ],
)
async def test_a_number_is_linked_by_its_mark_or_else_by_its_row_however_that_writes_it(
    bench: Bench, world: World, phone: str, mark: object, *, unpaired: bool, refused: bool
) -> None:
    """No worker of this daemon has reported it. The phone itself may have logged it out."""
    await bench.row("old", up=False, status="disconnected", profile=mark is not None)
    world.store.accounts["old"].phone_number = phone
    world.store._own["old"].unpaired = unpaired
    await bench.restore()
    old = bench.session("old")
    if mark is not None:
        (old.profile.at.profile / PAIRING).write_text(json.dumps(mark))
    assert (await bench.it.sessions.view("old")).phone_number == PHONE
    assert unlinked(old.state).startswith(f"+{PHONE} is not linked")
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await bench.create()
    await until(bench.session(), lambda s: s.link is Link.QR_PENDING)
    asked = bench.it.sessions.call("s", PairingCode(phone=PHONE), wait=0)
    if refused:
        with pytest.raises(NumberLinkedError, match="session old is linked to this number"):
            await asked
    else:
        await asked
    assert len(bench.process().calls) == (not refused)
    await bench.until_written()
    assert world.store.accounts["old"].phone_number == phone, "nobody but its worker writes it"


@pytest.mark.parametrize("is_read_once", [False, True])
async def test_a_number_whose_mark_cannot_be_read_now_may_be_linked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_read_once: bool
) -> None:
    """Unknown is not unlinked: WhatsApp would unlink it."""
    await bench.row("old", up=False, status="disconnected", profile=True)
    await bench.restore()
    old = bench.session("old").profile
    (old.at.profile / PAIRING).write_text(json.dumps(NO_TOKEN))
    assert not may_be_linked(old)
    if is_read_once:
        failing = Mock(side_effect=OSError(errno.EIO, "the disk has an error"))
        monkeypatch.setattr(owner_mark, "logged_out", failing)
    else:
        refuse(monkeypatch, old.at.profile / PAIRING, errno.EIO)
    assert may_be_linked(old)
