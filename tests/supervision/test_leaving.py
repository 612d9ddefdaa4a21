"""Sessions that are stopped, logged out and deleted."""

import asyncio
import errno
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.sends import not_sent
from tests.supervision.bench import QR_SHOWN, TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.leaving import (
    GONE,
    deleted,
    logging_out,
    quarantined_now,
    read,
    unlinking,
)
from tests.supervision.reports import qr
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.incidents.folding import fold
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.errors import ConflictError, DatabaseUnavailableError, NotFoundError, UnavailableError
from waguard.ports.sessions import REMOVED
from waguard.profile import layout, leaving_mark
from waguard.profile.leaving_mark import LEAVING, Leaving
from waguard.profile.lock import ProfileInUseError, ProfileLock
from waguard.profile.owner_mark import PAIRING
from waguard.profile.quarantine import NOTE
from waguard.wire.calls import Call, Unlink, Value
from waguard.wire.events import LoggedOut

# ---- stop and start ----


async def test_stop_takes_it_down_and_start_needs_no_new_code(empty: Bench, world: World) -> None:
    world.profile("s")
    process = await empty.connected()
    view = await empty.it.sessions.stop("s")
    assert (view.status, view.disconnect_reason, view.desired_up) == (*GONE, False)
    assert (process.calls, process.alive) == ([], False)
    await empty.until_written()
    assert world.row_status("s") == GONE
    assert (await empty.it.sessions.views(), empty.it.health.read().total) == ([view], 1)
    assert layout.exists(empty.session().profile.at.profile)
    await empty.it.reconciler.reconcile()
    assert world.spawn.alive == []
    await empty.it.sessions.start("s", restart=False)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    await empty.until_written()
    assert world.row_status("s") == ("connected", None)


async def test_stop_of_what_is_stopped_or_parked(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.report("blocked", details="TOS_BLOCK")
    await until(empty.session(), lambda s: s.lifecycle is State.PARKED)
    for _ in range(2):
        view = await empty.it.sessions.stop("s")
        assert (view.status, view.disconnect_reason, view.lifecycle) == (*GONE, "stopped")


# ---- logout ----


def paired_profile(world: World, name: str = "s") -> None:
    (world.profile(name) / PAIRING).write_text(json.dumps({"token": "t", "at": 1.0}))


async def test_logout_unlinks_stops_and_keeps_the_row(empty: Bench, world: World) -> None:
    world.profile("s")
    process = await empty.connected()
    view, unlinked = await empty.it.sessions.logout("s", by='key "ani"')
    assert unlinked
    assert process.calls == [Unlink()]
    assert not process.alive
    assert (view.status, view.disconnect_reason) == ("disconnected", "user_initiated")
    assert not view.desired_up
    await empty.until_written()
    assert world.row_status("s") == ("disconnected", "user_initiated")
    assert not layout.exists(empty.session().profile.at.profile)
    assert world.audited("left") == [(None, None, 'logged out by key "ani"')]
    (quarantined,) = (world.config.paths.sessions / "quarantine").iterdir()
    assert json.loads((quarantined / NOTE).read_text())["why"] == 'logged out by key "ani"'
    # and then anew: with a QR, although the row says disconnected
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    view, new = await empty.create()
    assert (view.status, new) == ("qr_scanning", False)


@pytest.mark.timings(unlink=0.05)
@pytest.mark.parametrize("trouble", ["is silent", "dies", "is parked"])
async def test_logout_goes_on_where_whatsapp_cannot_be_reached(
    empty: Bench, world: World, trouble: str
) -> None:
    paired_profile(world)
    process = await empty.connected()

    async def answer(call: Call) -> None:
        if trouble == "dies":
            process.exit(-9)

    if trouble == "is parked":
        process.report("conflict")
        await until(empty.session(), lambda s: s.lifecycle is State.PARKED)
    process.script.answer = answer
    for _ in range(2):  # and a repetition makes it no truer
        view, unlinked = await empty.it.sessions.logout("s")
        assert not unlinked
    assert view.disconnect_reason == "user_initiated"
    assert not layout.exists(empty.session().profile.at.profile)
    assert world.spawn.alive == []


async def test_the_next_daemon_ends_a_logout_that_was_cut_off(bench: Bench, world: World) -> None:
    await logging_out(bench, world)
    assert quarantined_now(world) == []
    await bench.restore()
    assert world.abandoned == [], "what was accepted since waits for the next link"
    [left] = quarantined_now(world)
    assert json.loads((left / NOTE).read_text())["why"] == "logged out by the API"
    assert not (left / LEAVING).exists(), "who brings it back by hand wants it to stay"
    at = bench.session().profile.at
    assert not layout.exists(at.profile)
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await bench.it.sessions.start("s", restart=False)
    await until(bench.session(), lambda s: s.link is Link.QR_PENDING)
    assert len(quarantined_now(world)) == 1


@pytest.mark.parametrize("mark", [b"", b"\0" * 40, b'{"why": 1}'])
async def test_a_logout_that_was_cut_off_is_ended_where_its_mark_is_damaged(
    bench: Bench, world: World, mark: bytes
) -> None:
    await logging_out(bench, world)
    [found] = world.config.paths.sessions.rglob(LEAVING)
    found.write_bytes(mark)
    await bench.restore()
    [left] = quarantined_now(world)
    assert not (left / LEAVING).exists()
    assert not layout.exists(found.parent)


async def test_a_damaged_mark_costs_no_profile_whose_row_says_that_it_is_paired(
    bench: Bench, world: World
) -> None:
    await bench.restore()
    profile = world.profile("s")
    await bench.connected()
    await bench.until_written()
    for process in world.spawn.alive:
        process.exit(-9)
    await bench.die()
    (profile / LEAVING).write_bytes(b"")
    await bench.restore()
    assert layout.exists(profile)
    assert not (profile / LEAVING).exists()
    assert quarantined_now(world) == []


async def test_a_session_that_another_host_has_wanted_up_starts_without_the_profile_that_left(
    bench: Bench, world: World
) -> None:
    await logging_out(bench, world)
    await world.store.set_desired("s", up=True)
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    starting = await bench.restoring()
    await until(bench.session(), lambda s: s.link is Link.QR_PENDING)
    await starting
    assert bench.process().alive, "it was quarantined before"
    assert len(quarantined_now(world)) == 1
    assert world.abandoned == [], "what was accepted since waits for the next link"


async def test_a_profile_that_was_in_use_at_its_logout_is_not_started_again(
    empty: Bench, world: World
) -> None:
    world.profile("s")
    await empty.connected()
    profile = empty.session().profile.at.profile
    with ProfileLock(profile):
        with pytest.raises(ProfileInUseError):
            await empty.it.sessions.logout("s")
        with pytest.raises(ProfileInUseError):
            await empty.it.sessions.start("s", restart=False)
    await empty.it.sessions.start("s", restart=False)
    assert not layout.exists(profile)
    assert len(quarantined_now(world)) == 1


async def test_a_logout_is_repeated_where_what_waits_for_its_session_cannot_fail(
    empty: Bench, world: World
) -> None:
    """Until that has failed its profile keeps the mark by which the next start would do it."""
    world.profile("s")
    await empty.connected()
    profile = empty.session().profile.at.profile

    async def away() -> None:
        assert world.spawn.alive == []
        raise DatabaseUnavailableError("the database is away")

    async def failed() -> None:
        assert (profile / LEAVING).exists()

    with pytest.raises(DatabaseUnavailableError):
        await empty.it.sessions.logout("s", last=away)
    assert quarantined_now(world) == []
    await empty.it.sessions.logout("s", last=failed)
    assert not layout.exists(profile)
    assert len(quarantined_now(world)) == 1


async def test_what_waits_for_a_session_that_was_not_deleted_wholly_is_not_sent_after_a_start(
    empty: Bench, world: World
) -> None:
    """Linked again, it would go out hours later."""
    world.profile("s")
    await empty.connected()

    async def away() -> None:
        raise DatabaseUnavailableError("the database is away")

    with pytest.raises(DatabaseUnavailableError):
        await empty.it.sessions.delete("s", purge=False, last=away)
    world.unabandoned = 1
    with pytest.raises(DatabaseUnavailableError):
        await empty.it.sessions.start("s", restart=False)
    assert not empty.session().row.desired_up
    await empty.it.sessions.start("s", restart=False)
    assert world.abandoned == [("s", REMOVED)]
    assert len(quarantined_now(world)) == 1


@pytest.mark.parametrize("unpaired", [False, True])
async def test_a_logout_that_the_database_never_had_costs_no_profile(
    bench: Bench,
    world: World,
    unpaired: bool,  # noqa: FBT001 - both ways
) -> None:
    await bench.restore()
    world.profile("s")
    await bench.connected()
    await bench.until_written()
    world.store._own["s"].unpaired = unpaired  # as after an import
    bench.session().update_row(await read(world))
    world.store.down = True
    with pytest.raises(UnavailableError):
        await bench.it.sessions.logout("s")
    world.store.down = False
    profile = bench.session().profile.at.profile
    assert (profile / LEAVING).exists()
    for process in world.spawn.alive:
        process.exit(-9)
    await bench.die()
    await bench.restore()
    assert layout.exists(profile)
    assert not (profile / LEAVING).exists()
    assert quarantined_now(world) == []


async def test_a_logout_that_cannot_be_noted_changes_nothing(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.profile("s")
    process = await empty.connected()

    def full(profile: Path, leaving: Leaving) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(leaving_mark, "write", full)
    with pytest.raises(UnavailableError, match="No space"):
        await empty.it.sessions.logout("s")
    assert (process.calls, process.alive) == ([], True)
    assert (await read(world)).desired_up


@pytest.mark.parametrize("what", ["logout", "delete"])
@pytest.mark.parametrize("of", ["profile", "snapshots"])
async def test_while_its_disk_is_away_it_does_not_leave(
    empty: Bench, world: World, what: str, of: str
) -> None:
    world.profile("s")
    await empty.connected()
    await empty.it.sessions.stop("s")
    await empty.until_written()
    before = await read(world)
    link: Path = getattr(empty.session().profile.at, of)
    disk, away = world.folder / "disk", world.folder / "not mounted"
    link.mkdir(parents=True, exist_ok=True)
    link.rename(away)
    link.symlink_to(disk)

    async def leave() -> None:
        if what == "logout":
            await empty.it.sessions.logout("s")
        else:
            await empty.it.sessions.delete("s", purge=False)

    with pytest.raises(UnavailableError, match="mount its disk"):
        await leave()
    assert await read(world) == before
    away.rename(disk)
    await leave()
    assert len(quarantined_now(world)) == 1


async def test_a_profile_in_the_old_layout_does_not_come_back(empty: Bench, world: World) -> None:
    await empty.row("s", up=False, status="disconnected", profile=False)
    old = world.config.paths.sessions / "7" / "s" / "Default"
    old.mkdir(parents=True)
    await empty.it.sessions.logout("s")
    assert not old.exists()
    assert not layout.exists(empty.session().profile.at.profile)


async def test_a_code_that_is_shown_on_the_way_out_is_nobodys_news(
    empty: Bench, world: World
) -> None:
    """WhatsApp's page shows a new one when it was unlinked; the application would store it."""
    world.profile("s")
    process = await empty.connected()

    async def answer(call: Call) -> Value:
        process.report("qr_pending", qr=qr())
        process.event(LoggedOut(reason="unlinked"))
        await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
        return Value()

    process.script.answer = answer
    await empty.it.sessions.logout("s")
    await empty.until_written()
    assert world.names("qr_code_generated") == []
    assert world.names("session_disconnected") == ["session_disconnected"]
    statuses = [(before, after) for before, after, _ in world.audited("status")]
    assert statuses[-1] == ("connected", "disconnected")
    (incident,) = fold(world.store.entries)
    assert incident.result == "stopped on purpose"


async def test_nothing_is_sent_by_a_session_on_its_way_out(empty: Bench, world: World) -> None:
    await empty.connected()
    task = await unlinking(empty)
    error = await not_sent(empty.it.sessions.send("s", TEXT, wait=DEADLINE), ConflictError)
    assert error.message.startswith("Session not connected: it was deleted")
    assert "scan" in (error.remedy or "")
    with pytest.raises(ConflictError):
        await empty.it.sessions.ready("s", wait=0.02, hoping=True)
    empty.process().exit(0)
    await task
    assert empty.it.health.read().connected == 0


# ---- delete ----


async def test_delete_keeps_the_row_and_hides_it(empty: Bench, world: World) -> None:
    await empty.connected("other")
    process = await deleted(empty, world)
    assert process.calls == [Unlink()]
    assert not process.alive
    assert len(quarantined_now(world)) == 1
    assert world.store.accounts["s"].deleted_at is None
    row = await read(world)
    assert (row.status, row.disconnect_reason, row.desired_up) == (*GONE, False)
    assert row.removed_at
    assert row.generation == process.spec.generation + 1

    view = await empty.it.sessions.view("s")
    assert (view.status, view.disconnect_reason, view.removed_at) == (*GONE, row.removed_at)
    assert [view.session_id for view in await empty.it.sessions.views()] == ["other"]
    assert [v.session_id for v in await empty.it.sessions.views(removed=True)] == ["other", "s"]
    health = empty.it.health.read()
    assert (health.total, health.connected, health.disconnected) == (1, 1, 0)
    assert health.problems == ()
    error = await not_sent(empty.it.sessions.send("s", TEXT, wait=DEADLINE), ConflictError)
    assert error.message.startswith("Session not connected: it was deleted")
    (reported,) = world.events("session_disconnected", session="s")
    assert reported.data["reason"] == "user_initiated"


async def test_a_deletion_says_whether_the_phone_still_lists_the_device(
    empty: Bench, world: World
) -> None:
    delete = empty.it.sessions.delete
    world.profile("s")
    await empty.connected()
    assert await delete("s", purge=False)
    assert await delete("s", purge=False), "nothing of it is linked any more"
    paired_profile(world, "recycled")
    process = await empty.connected("recycled")
    world.spawn.scripts["recycled"] = Script(reports=())
    await empty.it.sessions.start("recycled", restart=True)
    await until(empty.session("recycled"), lambda s: s.link is not Link.CONNECTED)
    assert not await delete("recycled", purge=False)
    assert process.calls == []
    world.spawn.scripts["new"] = Script(reports=(QR_SHOWN,))
    await empty.create("new")
    await until(empty.session("new"), lambda s: s.link is Link.QR_PENDING)
    assert await delete("new", purge=False), "no phone ever had it"


async def test_a_deletion_that_whatsapp_heard_of_is_unlinked_also_where_it_has_to_be_repeated(
    empty: Bench, world: World
) -> None:
    world.profile("s")
    process = await empty.connected()

    async def away() -> None:
        raise DatabaseUnavailableError("the database is away")

    with pytest.raises(DatabaseUnavailableError):
        await empty.it.sessions.logout("s", last=away)
    assert process.calls == [Unlink()]
    assert await empty.it.sessions.delete("s", purge=True)


async def test_one_that_whatsapp_did_not_hear_of_stays_so(empty: Bench, world: World) -> None:
    paired_profile(world)
    await empty.connected()
    await empty.it.sessions.stop("s")
    for _ in range(2):
        assert not await empty.it.sessions.delete("s", purge=False)
    process = await empty.connected()
    assert await empty.it.sessions.delete("s", purge=False)
    assert process.calls == [Unlink()]


async def test_deleting_twice_is_the_same(empty: Bench, world: World) -> None:
    await deleted(empty, world)
    before = await read(world)
    await empty.it.sessions.delete("s", purge=False)
    after = await read(world)
    assert after == replace(before, generation=before.generation + 1, removed_at=after.removed_at)
    assert len(quarantined_now(world)) == 1


async def test_purge_deletes_the_row_too(empty: Bench, world: World) -> None:
    process = await deleted(empty, world)
    await empty.it.sessions.delete("s", purge=True)
    assert process.calls == [Unlink()]
    assert world.store.accounts["s"].deleted_at is not None
    assert world.row_status("s") == GONE
    with pytest.raises(NotFoundError):
        await empty.it.sessions.view("s")
    assert await empty.it.sessions.views(removed=True) == []
    _, new = await empty.create()
    assert new


async def test_nobody_starts_what_is_being_deleted(empty: Bench, world: World) -> None:
    await empty.connected()
    task = await unlinking(empty)
    calls: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: empty.it.sessions.start("s", restart=True),
        lambda: empty.it.sessions.stop("s"),
        lambda: empty.it.sessions.logout("s"),
        lambda: empty.it.sessions.delete("s", purge=False),
        lambda: empty.create("s"),
    )
    for call in calls:
        with pytest.raises(UnavailableError) as raised:
            await call()
        assert raised.value.retry_after
    await empty.it.reconciler.reconcile()
    empty.process().exit(0)
    await task
    assert world.spawn.alive == []


@pytest.mark.parametrize("begins", ["start", "create"])
async def test_a_deletion_is_not_undone_by_a_start_whose_write_was_under_way(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    await empty.connected()
    if begins == "create":
        await empty.it.sessions.stop("s")
    method = "set_desired" if begins == "start" else "create"
    real, held, asked = getattr(world.store, method), asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **rest: Any) -> Any:
        asked.set()
        await held.wait()
        return await real(*args, **rest)

    monkeypatch.setattr(world.store, method, slow)
    sessions = empty.it.sessions
    coming = sessions.start("s", restart=True) if begins == "start" else empty.create("s")
    starting: asyncio.Task[Any] = asyncio.ensure_future(coming)
    await asked.wait()
    deleting = asyncio.create_task(sessions.delete("s", purge=False))
    await wait_until(lambda: empty.it.registry.is_leaving("s"), "it is being deleted")
    held.set()
    with pytest.raises(UnavailableError):
        await starting
    await deleting
    row = await world.store.session("s")
    assert row
    assert (row.desired_up, row.removed_at is None) == (False, False)
    assert await empty.it.reconciler.correct() == []


async def test_delete_while_the_database_is_away_does_nothing(empty: Bench, world: World) -> None:
    process = await empty.connected()
    world.store.down = True
    with pytest.raises(UnavailableError):
        await empty.it.sessions.delete("s", purge=False)
    assert (process.calls, process.alive) == ([], True)
    assert (await empty.it.sessions.view("s")).status == "connected"


@pytest.mark.timings(last_write=0.05)
async def test_a_purge_while_the_database_goes_away_can_be_repeated(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()

    async def answer(call: Call) -> Value:
        world.store.down = True
        return Value()

    process.script.answer = answer
    with pytest.raises(UnavailableError):
        await empty.it.sessions.delete("s", purge=True)
    world.store.down = False
    await empty.it.sessions.delete("s", purge=True)
    assert world.store.accounts["s"].deleted_at is not None
