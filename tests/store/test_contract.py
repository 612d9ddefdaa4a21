"""What every store promises, on waguard's own table and on the application's."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from tests.store.conftest import BACKENDS, NEWER, SHAPES, Bench
from waguard.core.incidents.changes import CHANGE, DONE
from waguard.core.replace import replace
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.errors import SessionIdTakenError
from waguard.ports.store import AuditEntry, SessionRow

# other tables of the application: what differs on them is in test_layout, the whole in `make test-long`
USUAL = ("memory", *BACKENDS)
pytestmark = pytest.mark.parametrize(
    "bench",
    [
        pytest.param(shape, marks=[] if shape in USUAL else pytest.mark.long)
        for shape in (*SHAPES, *NEWER)
    ],
    indirect=True,
)

CONNECTED = DerivedStatus(Status.CONNECTED)
TIMEOUT = DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, "the network is away")
ODD_IDS = (
    "'; DROP TABLE whatsapp_accounts; --",
    'a" OR "1"="1',
    "%",
    "_",
    "webjs_1\\_2:x",
    "Übung 🙂",
    "{}",
)


def second(bench: Bench) -> datetime:
    return datetime.fromtimestamp(int(bench.wall.time), UTC)


async def connected(bench: Bench, session_id: str = "a") -> SessionRow:
    row = await bench.store.create(session_id, 1, account_id=None, priority=0)
    assert await bench.store.write_status(session_id, row.generation, CONNECTED, phone_number="49")
    found = await bench.store.session(session_id)
    assert found is not None
    return found


async def test_an_empty_database_has_no_sessions(bench: Bench) -> None:
    await bench.store.ping()
    assert await bench.store.sessions() == []
    assert await bench.store.session("a") is None
    assert await bench.store.audit("a") == []
    assert await bench.store.metadata("a") == {}


async def test_what_does_not_exist_is_not_written(bench: Bench) -> None:
    assert await bench.store.set_desired("a", up=True) is None
    assert await bench.store.leave("a", removed=True) is None
    assert not await bench.store.write_status("a", 1, CONNECTED)
    await bench.store.touch("a")
    await bench.store.soft_delete("a")
    await bench.store.set_metadata("a", {"x": 1})
    assert await bench.store.sessions() == []


async def test_a_new_session_is_wanted_up_and_shows_a_qr(bench: Bench) -> None:
    row = await bench.store.create("a", 7, account_id=12, priority=3)
    wanted = SessionRow(
        session_id="a",
        workspace_id=7,
        status="qr_scanning",
        desired_up=True,
        generation=1,
        account_id=12,
        priority=3,
        unpaired=True,
    )
    assert row == wanted
    assert await bench.store.session("a") == wanted
    assert await bench.store.sessions() == [wanted]


async def test_creating_again_counts_the_generation_up(bench: Bench) -> None:
    await bench.store.create("a", 7, account_id=12, priority=3)
    row = await bench.store.create("a", 7, account_id=None, priority=4)
    assert (row.generation, row.account_id, row.priority) == (2, 12, 4)


async def test_another_workspace_cannot_take_an_id(bench: Bench) -> None:
    before = await bench.store.create("a", 7, account_id=None, priority=0)
    with pytest.raises(SessionIdTakenError):
        await bench.store.create("a", 8, account_id=None, priority=0)
    assert await bench.store.sessions() == [before]


async def test_a_row_that_the_application_made_first_is_taken_over(bench: Bench) -> None:
    await bench.app.insert("a", 7, status="disconnected", phone_number="49")
    row = await bench.store.create("a", 7, account_id=None, priority=0)
    assert (row.status, row.phone_number, row.desired_up) == ("disconnected", "49", True)
    assert row.generation == 1


async def test_at_take_over_the_status_says_what_is_wanted(bench: Bench) -> None:
    for status in Status:
        await bench.app.insert(status, 7, status=status)
    rows = await bench.store.sessions()
    assert {row.session_id for row in rows if row.desired_up} == {"authenticated", "connected"}
    assert {row.generation for row in rows} == {0}


async def test_what_was_wanted_at_take_over_survives_the_first_status(bench: Bench) -> None:
    await bench.app.insert("a", 7, status="connected")
    assert await bench.store.write_status("a", 0, TIMEOUT)
    row = await bench.store.session("a")
    assert row is not None
    assert (row.status, row.desired_up, row.generation) == ("disconnected", True, 0)


async def test_desired_up_is_a_new_generation_only_when_it_changes(bench: Bench) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    history = [await bench.store.set_desired("a", up=up) for up in (True, False, False, True, True)]
    assert [(row.desired_up, row.generation) for row in history if row] == [
        (True, 1),
        (False, 1),
        (False, 1),
        (True, 2),
        (True, 2),
    ]


async def test_an_older_generation_may_not_write(bench: Bench) -> None:
    before = await connected(bench)
    await bench.store.create("a", 1, account_id=None, priority=0)
    assert not await bench.store.write_status("a", before.generation, TIMEOUT)
    after = await bench.store.session("a")
    assert after == replace(before, generation=2)


async def test_a_change_by_the_application_is_seen(bench: Bench) -> None:
    await connected(bench)
    await bench.app.update("a", status="failed", phone_number="50")
    row = await bench.store.session("a")
    assert row is not None
    assert (row.status, row.phone_number) == ("failed", "50")


async def test_every_status_and_reason_can_be_written(bench: Bench) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    for status, reason in product(Status, [None, *Reason]):
        assert await bench.store.write_status(
            "a", 1, DerivedStatus(status, reason, reason and "why")
        )
        row = await bench.store.session("a")
        assert row is not None
        assert (row.status, row.disconnect_reason) == (status, reason)
        assert (await bench.app.read("a"))["status"] == status


async def test_a_session_that_is_well_has_no_reason(bench: Bench) -> None:
    await connected(bench)
    await bench.store.write_status("a", 1, TIMEOUT)
    row = await bench.store.session("a")
    assert row is not None
    assert (row.disconnect_reason, row.disconnect_details) == ("timeout", TIMEOUT.details)
    await bench.store.write_status("a", 1, CONNECTED)
    row = await bench.store.session("a")
    assert row is not None
    assert (row.disconnect_reason, row.disconnect_details) == (None, None)
    assert row.phone_number == "49"


async def test_connected_at_is_the_time_of_the_change(bench: Bench) -> None:
    row = await connected(bench)
    assert (row.connected_at, row.last_activity) == (second(bench), second(bench))
    bench.wall.time += 60
    await bench.store.write_status("a", 1, CONNECTED)
    assert await bench.store.session("a") == row
    await bench.store.write_status("a", 1, TIMEOUT)
    await bench.store.write_status("a", 1, CONNECTED)
    row = await bench.store.session("a") or row
    assert row.connected_at == second(bench)


async def test_a_touch_is_the_last_activity(bench: Bench) -> None:
    row = await connected(bench)
    bench.wall.time += 60
    await bench.store.touch("a")
    assert await bench.store.session("a") == replace(row, last_activity=second(bench))


async def test_a_deleted_session_does_not_exist(bench: Bench) -> None:
    await connected(bench)
    await bench.store.soft_delete("a")
    assert await bench.store.sessions() == []
    assert await bench.store.session("a") is None
    assert await bench.store.set_desired("a", up=True) is None
    assert not await bench.store.write_status("a", 1, TIMEOUT)
    assert (await bench.app.read("a"))["status"] == "connected"


async def test_a_deleted_session_comes_back_as_a_new_one(bench: Bench) -> None:
    await connected(bench)
    await bench.store.soft_delete("a")
    with pytest.raises(SessionIdTakenError):
        await bench.store.create("a", 2, account_id=None, priority=0)
    row = await bench.store.create("a", 1, account_id=None, priority=0)
    assert (row.status, row.desired_up, row.generation) == ("qr_scanning", True, 2)
    assert await bench.store.sessions() == [row]


async def test_a_session_is_unpaired_until_it_is_connected_and_again_when_it_leaves(
    bench: Bench,
) -> None:
    row = await bench.store.create("a", 1, account_id=None, priority=0)
    assert row.unpaired
    stopped = DerivedStatus(Status.DISCONNECTED, Reason.INSTANCE_RESTART, "waguard was stopped")
    assert await bench.store.write_status("a", row.generation, stopped)
    assert (await connected(bench)).unpaired is False
    assert await bench.store.write_status("a", row.generation + 1, stopped)
    [row] = await bench.store.sessions()
    assert not row.unpaired
    left = await bench.store.leave("a", removed=True)
    assert left
    assert left.unpaired
    back = await bench.store.set_desired("a", up=True)
    assert back
    assert back.unpaired


async def test_a_paired_session_that_shows_a_code_and_is_created_again_is_not_unpaired(
    bench: Bench,
) -> None:
    """Its code may be shown because of damage: what is shared of its credentials is deleted for an unpaired one."""
    row = await connected(bench)
    shows = DerivedStatus(Status.QR_SCANNING)
    assert await bench.store.write_status("a", row.generation, shows)
    again = await bench.store.create("a", 1, account_id=None, priority=0)
    assert (again.status, again.unpaired) == ("qr_scanning", False)
    assert await bench.store.leave("a", removed=False)
    assert (await bench.store.create("a", 1, account_id=None, priority=0)).unpaired


@pytest.mark.parametrize("removed", [False, True])
async def test_a_session_that_leaves_keeps_its_row(bench: Bench, *, removed: bool) -> None:
    before = await connected(bench)
    await bench.store.set_metadata("a", {"x": 1})
    bench.wall.time += 60
    row = await bench.store.leave("a", removed=removed)
    assert row == replace(
        before,
        status="disconnected",
        disconnect_reason="user_initiated",
        desired_up=False,
        generation=2,
        removed_at=second(bench) if removed else None,
        unpaired=True,
    )
    assert await bench.store.session("a") == row
    assert await bench.store.sessions() == [row]
    raw = await bench.app.read("a")
    assert (raw["status"], raw.get("deleted_at")) == ("disconnected", None)
    assert await bench.store.metadata("a") == {"x": 1}
    # what the worker that is being stopped said last
    assert not await bench.store.write_status("a", 1, CONNECTED)
    assert await bench.store.session("a") == row


async def test_a_removed_session_that_is_wanted_up_comes_back_as_a_new_one(bench: Bench) -> None:
    ways: tuple[Callable[[], Awaitable[SessionRow | None]], ...] = (
        lambda: bench.store.set_desired("a", up=True),
        lambda: bench.store.create("a", 1, account_id=None, priority=0),
    )
    await connected(bench)
    for number, bring_back in enumerate(ways, 1):
        await bench.store.leave("a", removed=True)
        row = await bring_back()
        assert row
        assert (row.status, row.disconnect_reason, row.removed_at) == ("qr_scanning", None, None)
        assert (row.desired_up, row.generation) == (True, 1 + 2 * number)
        assert await bench.store.session("a") == row
        assert await bench.store.write_status("a", row.generation, CONNECTED)


async def test_a_removed_session_that_is_not_wanted_stays_removed(bench: Bench) -> None:
    await connected(bench)
    before = await bench.store.leave("a", removed=True)
    assert before
    assert await bench.store.set_desired("a", up=False) == before
    assert await bench.store.write_status("a", before.generation, TIMEOUT)
    bench.wall.time += 60
    again = await bench.store.leave("a", removed=False)
    assert again == replace(before, generation=3)


async def test_a_removed_session_can_be_deleted_and_comes_back_once(bench: Bench) -> None:
    await connected(bench)
    await bench.store.leave("a", removed=True)
    await bench.store.soft_delete("a")
    assert await bench.store.session("a") is None
    row = await bench.store.create("a", 1, account_id=None, priority=0)
    assert (row.status, row.desired_up, row.removed_at) == ("qr_scanning", True, None)


async def test_metadata_is_replaced(bench: Bench) -> None:
    await connected(bench)
    assert await bench.store.metadata("a") == {}
    nested = {"tags": ["ä", None, 1.5, True], "deep": {"x": {"y": []}}, "quote": "'\"\\"}
    assert await bench.store.set_metadata("a", nested)
    assert await bench.store.metadata("a") == nested
    assert not await bench.store.set_metadata("nobody", nested)
    await bench.store.set_metadata("a", {})
    assert await bench.store.metadata("a") == {}


async def test_metadata_is_merged_key_by_key(bench: Bench) -> None:
    await connected(bench)
    assert await bench.store.merge_metadata("a", {"x": 1, "deep": {"y": 2}}) == {
        "x": 1,
        "deep": {"y": 2},
    }
    merged = {"x": None, "deep": {"z": 3}, "new": [1]}
    updates = {"x": None, "deep": {"z": 3}, "new": [1]}
    assert await bench.store.merge_metadata("a", updates) == merged
    assert await bench.store.merge_metadata("a", {}) == merged
    assert await bench.store.metadata("a") == merged
    assert await bench.store.merge_metadata("nobody", {"x": 1}) is None


async def test_no_update_of_metadata_is_lost_to_another(bench: Bench) -> None:
    await connected(bench)
    names = [f"key{number}" for number in range(10)]
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(bench.store.merge_metadata("a", {name: name}))
    assert await bench.store.metadata("a") == {name: name for name in names}


async def test_the_audit_trail_is_in_order_and_its_newest_end_is_shown(bench: Bench) -> None:
    for number in range(5):
        await bench.store.record(AuditEntry(session_id="a", kind=f"k{number}", at=float(number)))
    await bench.store.record(AuditEntry(session_id="b", kind="other"))
    await bench.store.record(AuditEntry(session_id=None, kind="daemon"))
    assert [entry.kind for entry in await bench.store.audit("a")] == ["k0", "k1", "k2", "k3", "k4"]
    assert [entry.kind for entry in await bench.store.audit("a", limit=2)] == ["k3", "k4"]
    assert await bench.store.audit("a", limit=0) == []


async def test_an_audit_entry_that_may_be_there_is_stored_once(bench: Bench) -> None:
    entries = [
        AuditEntry(session_id=name, kind=kind, at=at)
        for name in ("a", None)
        for kind in ("k", "l")
        for at in (1_700_000_000.123457, 1_700_000_000.123458)
    ]
    entries += [replace(entry, reason="another") for entry in entries]
    for entry in (*entries, *entries):
        await bench.store.record(entry, again=True)
    for name in ("a", None):
        assert await bench.store.audit(name) == [it for it in entries if it.session_id == name]


async def test_an_audit_entry_comes_back_whole(bench: Bench) -> None:
    entry = AuditEntry(
        session_id="a",
        kind="status",
        before="connected",
        after="disconnected",
        reason="the worker is gone: signal 9",
        evidence={"pid": 17, "seen": [1, None], "details": {"ä": "🙂"}},
        at=1_732_233_600.123456,
    )
    await bench.store.record(entry)
    await bench.store.record(replace(entry, at=None))
    assert await bench.store.audit("a") == [entry, replace(entry, at=bench.wall.time)]


async def test_a_long_audit_entry_is_cut_and_not_lost(bench: Bench) -> None:
    """MySQL's TEXT ends at 64 KiB."""
    long = '\U0001f600"' * 70_000
    entry = AuditEntry(
        session_id="a",
        kind="k",
        before=long,
        after=long,
        reason=long,
        evidence={"said": long, "n": 1},
        at=1.0,
    )
    for again in (False, True):
        await bench.store.record(entry, again=again)
    [found] = await bench.store.audit("a")
    for part in (found.before, found.after, found.reason):
        assert part
        assert long.startswith(part)
        assert len(part) >= 1_000
    assert found.evidence
    assert '"said"' in str(found.evidence) or found.evidence == entry.evidence


async def test_changes_crowd_out_no_other_entry_and_are_bounded(bench: Bench) -> None:
    store = bench.store
    for number in range(6):
        for name in ("a", None) if number % 2 else ("a",):
            entry = AuditEntry(
                session_id=name,
                kind=CHANGE,
                before="POST /api/sessions/{session_id}/stop",
                after=DONE,
                at=float(number),
                evidence={"n": number},
            )
            await store.record(entry)
    await store.record(AuditEntry(session_id="a", kind="status", at=2.5))

    def shown(found: Iterable[AuditEntry]) -> list[tuple[str, float | None]]:
        return [(entry.kind, entry.at) for entry in found]

    assert shown(await store.audit("a", limit=1)) == [("status", 2.5)]
    assert shown(await store.audit("a", limit=1, changes=4)) == [
        (CHANGE, 2.0),
        ("status", 2.5),
        (CHANGE, 3.0),
        (CHANGE, 4.0),
        (CHANGE, 5.0),
    ]
    assert shown(await store.audit(None, changes=1)) == [(CHANGE, 5.0)]
    newest = await store.changes(since=3.0, before=None, limit=3)
    assert [(entry.session_id, entry.at) for _, entry in newest] == [
        (None, 5.0),
        ("a", 5.0),
        ("a", 4.0),
    ]
    rest = await store.changes(since=3.0, before=newest[-1][0], limit=9)
    assert [(entry.session_id, entry.at) for _, entry in rest] == [(None, 3.0), ("a", 3.0)]
    assert rest[0][1].evidence == {"n": 3}

    assert await store.tidy_changes(keep=4, limit=3) == 3
    assert await store.tidy_changes(keep=4, limit=3) == 2
    assert await store.tidy_changes(keep=4, limit=3) == 0
    kept = await store.changes(since=0.0, before=None, limit=9)
    assert [entry.at for _, entry in kept] == [5.0, 5.0, 4.0, 3.0]
    assert shown(await store.audit("a")) == [("status", 2.5)]
    stopped = replace(kept[0][1], session_id="b")
    await store.record(replace(stopped, before="PUT /api/log-level"))
    await store.record(replace(stopped, after="failed"))
    assert await store.audit("b", changes=9) == []


async def test_the_timeline_has_all_entries_of_the_sessions_that_are_asked_for(
    bench: Bench,
) -> None:
    for number, name in enumerate(("a", None, "b", "a"), 1):
        kind = CHANGE if number == 3 else "status"
        await bench.store.record(AuditEntry(session_id=name, kind=kind, at=float(number)))

    async def times(sessions: Collection[str] | None, **page: Any) -> list[float | None]:
        found = await bench.store.timeline(sessions, **{"before": None, "limit": 9} | page)
        return [entry.at for _, entry in found]

    assert await times(None) == [4.0, 3.0, 2.0, 1.0]
    assert await times({"a"}) == [4.0, 1.0]
    assert await times(["b", "nobody"]) == [3.0]
    assert await times(frozenset()) == []
    ((number, newest),) = await bench.store.timeline(None, before=None, limit=1)
    assert newest.at == 4.0
    assert await times(None, before=number, limit=2) == [3.0, 2.0]


async def test_an_id_is_data(bench: Bench) -> None:
    other = await connected(bench, "other")
    for session_id in ODD_IDS:
        row = await bench.store.create(session_id, 1, account_id=None, priority=0)
        assert row.session_id == session_id
        assert await bench.store.write_status(session_id, 1, TIMEOUT)
        await bench.store.set_metadata(session_id, {"id": session_id})
        assert await bench.store.metadata(session_id) == {"id": session_id}
        await bench.store.record(AuditEntry(session_id=session_id, kind=session_id))
        assert len(await bench.store.audit(session_id)) == 1
        await bench.store.soft_delete(session_id)
        assert await bench.store.sessions() == [other]


async def test_an_id_is_found_only_exactly(bench: Bench) -> None:
    await connected(bench, "webjs_a")
    for near in ("WEBJS_A", "webjs_ä", "webjs_a ", "webjs_a\0", "webjs_%", ""):
        assert await bench.store.session(near) is None
        assert not await bench.store.write_status(near, 9, TIMEOUT)


async def test_many_tasks_write_at_once(bench: Bench) -> None:
    ids = [f"s{number:02}" for number in range(10)]
    async with asyncio.TaskGroup() as tasks:
        for session_id in ids * 2:
            tasks.create_task(bench.store.create(session_id, 1, account_id=None, priority=0))
    rows = await bench.store.sessions()
    assert [(row.session_id, row.generation) for row in rows] == [(name, 2) for name in ids]
    async with asyncio.TaskGroup() as tasks:
        for session_id in ids:
            tasks.create_task(bench.store.write_status(session_id, 2, CONNECTED))
            tasks.create_task(bench.store.touch(session_id))
            tasks.create_task(bench.store.record(AuditEntry(session_id="s00", kind=session_id)))
            tasks.create_task(bench.store.sessions())
    assert {row.status for row in await bench.store.sessions()} == {"connected"}
    assert sorted(entry.kind for entry in await bench.store.audit("s00")) == ids


async def test_what_whatsapp_grants_no_more_of_is_kept_with_the_session(bench: Bench) -> None:
    row = await connected(bench)
    assert row.limits is None
    reported = '{"codes": [1795000000.5]}'
    await bench.store.keep_limits("a", reported)
    assert await bench.store.session("a") == replace(row, limits=reported)
    assert await bench.store.write_status("a", row.generation, TIMEOUT)
    assert (await bench.store.sessions())[0].limits == reported
    await bench.store.keep_limits("a", None)
    found = await bench.store.session("a")
    assert found
    assert (found.limits, found.desired_up) == (None, True)
    await bench.store.keep_limits("nobody", reported)
