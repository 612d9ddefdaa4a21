"""What of a profile cannot be read for a moment: unknown is not missing."""

import errno
import json
from pathlib import Path

import pytest

from tests.host.odd_files import hide, refuse
from tests.supervision.bench import CONNECTED, QR_SHOWN, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.leaving import logging_out, quarantined_now, read
from tests.supervision.sessions import connected, until
from tests.supervision.world import World
from waguard.cli import profile_commands
from waguard.core.link import Link
from waguard.core.session import views
from waguard.errors import UnavailableError
from waguard.profile import layout, quarantine
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import LEAVING
from waguard.profile.owner_mark import PAIRING
from waguard.supervision.fleet import leaving
from waguard.wire.calls import Call, Unlink, Value


def profile_of(world: World) -> Path:
    return layout.path(world.config.paths.sessions, 7, "s")


async def test_a_profile_that_cannot_be_read_as_the_daemon_starts_parks_nobody(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.row("s")
    world.spawn.script = Script(reports=(CONNECTED,))
    with monkeypatch.context() as patch:
        hide(patch, profile_of(world) / "Default", errno.EIO)
        restoring = await bench.restoring()
        session = bench.session()
        await until(session, lambda s: s.state.failure is not None and not s.state.worker)
        [it] = views.conditions(session.state)
        assert (it.type, it.reason, it.needs_person) == ("start", "profile_unreadable", True)
        assert str(profile_of(world)) in it.remedy
        await bench.it.sessions.start("s", restart=False)
    world.clock.advance(session.state.rules.held_retry)
    await until(session, connected)
    await restoring


async def test_a_mark_of_a_logout_that_cannot_be_read_stays_and_its_profile_is_not_used(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await logging_out(bench, world)
    with monkeypatch.context() as patch:
        refuse(patch, profile_of(world) / LEAVING, errno.EMFILE)
        await bench.restore()
        with pytest.raises(OSError, match="Too many open files"):
            await leaving.finish(bench.session())
        with pytest.raises(UnavailableError, match="Too many open files"):
            await bench.it.sessions.start("s", restart=False)
    assert (profile_of(world) / LEAVING).exists()
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await bench.it.sessions.start("s", restart=False)
    await until(bench.session(), lambda s: s.link is Link.QR_PENDING)
    assert len(quarantined_now(world)) == 1


# ---- the owner mark of a session that leaves ----


@pytest.mark.parametrize("way", ["delete", "logout"])
async def test_a_session_leaves_only_while_its_owner_mark_can_be_read(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    process = await paired(empty, world)
    with monkeypatch.context() as patch:
        refuse(patch, profile_of(world) / PAIRING, errno.EIO)
        for _ in range(2):
            with pytest.raises(UnavailableError, match=PAIRING) as raised:
                await leave(empty, way)
            assert "profile quarantine s" in (raised.value.remedy or "")
        assert (process.calls, process.alive) == ([], True)
        row = await read(world)
        assert (row.desired_up, row.removed_at, row.unpaired) == (True, None, False)
        assert not (profile_of(world) / LEAVING).exists()
    await leave(empty, way)
    assert process.calls == [Unlink()]
    assert len(quarantined_now(world)) == 1


@pytest.mark.parametrize("way", ["delete", "logout"])
async def test_what_was_begun_is_ended_although_the_owner_mark_cannot_be_read_any_more(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    process, mark = await paired(empty, world), profile_of(world) / PAIRING

    async def fail(call: Call) -> Value:
        refuse(monkeypatch, mark, errno.EIO)
        return Value()

    process.script.answer = fail
    with pytest.raises(UnavailableError, match=PAIRING):
        await leave(empty, way)
    await leave(empty, way)
    [moved] = quarantined_now(world)
    assert json.loads((moved / PAIRING).read_text())["token"], "it goes along"
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    view, _ = await empty.create()
    assert view.status == "qr_scanning"


@pytest.mark.parametrize("way", ["delete", "logout"])
async def test_a_new_session_of_its_name_waits_for_no_owner_mark(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    await paired(empty, world)
    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "move_in", full)
        with pytest.raises(UnavailableError, match="No space"):
            await leave(empty, way)
    with monkeypatch.context() as patch:
        for name in (PAIRING, LEAVING) if way == "delete" else (PAIRING,):
            refuse(patch, profile_of(world) / name, errno.EIO)
        await empty.it.registry.finish_removal(empty.session())
    assert len(quarantined_now(world)) == 1
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    view, _ = await empty.create()
    assert view.status == "qr_scanning"


async def test_a_profile_is_quarantined_by_hand_although_its_owner_mark_cannot_be_read(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paired(empty, world)
    await empty.it.sessions.stop("s")
    with monkeypatch.context() as patch:
        refuse(patch, profile_of(world) / PAIRING, errno.EIO)
        moved = profile_commands.quarantine(empty.session().profile.at)
    assert (moved / PAIRING).exists()
    await empty.it.sessions.delete("s", purge=False)


async def paired(bench: Bench, world: World) -> FakeProcess:
    """A connected session, which has an owner mark."""
    world.profile("s")
    process = await bench.connected()
    await bench.until_written()
    (profile_of(world) / PAIRING).write_text('{"token": "t", "at": 1.0}')
    return process


async def leave(bench: Bench, way: str) -> None:
    if way == "delete":
        await bench.it.sessions.delete("s", purge=False)
    else:
        await bench.it.sessions.logout("s")


def full(at: Places, why: str) -> Path:
    raise OSError(errno.ENOSPC, "No space left on device")
