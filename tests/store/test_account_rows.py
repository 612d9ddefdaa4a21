"""The application's rows of sessions: read for many at once, and corrected where they are still as read."""

import asyncio

import pytest

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, Bench
from tests.store.tables import UNIQUE_NUMBER
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.core.webhooks.account_row_gate import AccountRow
from waguard.core.webhooks.stored import Unknown
from waguard.store.sql import SqlStore

CONNECTED = DerivedStatus(Status.CONNECTED)
DELETED_AT = "2026-11-28 00:00:00"
SHAPES = ("sqlite", "postgresql-enums", "mariadb-enums")
OLDER = ("sqlite-older", "mariadb-older")


def shapes(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", names, indirect=True)


async def connected(bench: Bench, *sessions: str) -> SqlStore:
    """Sessions that are wanted up, of generation 1."""
    store = bench.store
    assert isinstance(store, SqlStore)
    for number, name in enumerate(sessions):
        await store.create(name, 1, account_id=None, priority=0)
        await store.write_status(name, 1, CONNECTED, phone_number=f"62811{number}")
    return store


async def row_of(store: SqlStore, session: str) -> AccountRow | None:
    found = await store.accounts.rows_of([session])
    assert not isinstance(found, Unknown), found
    return found.get(session)


@shapes(*SHAPES, *OLDER)
async def test_rows_of_many_are_one_read(bench: Bench) -> None:
    store = await connected(bench, "a", "b", "c")
    await store.set_desired("b", up=False)
    await bench.app.update("a", status="authenticated")
    found = await store.accounts.rows_of(["a", "b", "A", "none", "\0", "\ud800"])
    assert not isinstance(found, Unknown)
    assert found.keys() == {"a", "b"}
    a, b = found["a"], found["b"]
    assert (a.status, a.wanted, a.active, a.deleted) == ("authenticated", True, True, False)
    assert (a.phone, a.generation, a.lacks_number) == ("628110", 1, False)
    assert (b.status, b.wanted) == ("connected", False)
    assert await store.accounts.rows_of([]) == {}


@shapes(*SHAPES)
async def test_what_the_application_did_is_read(bench: Bench) -> None:
    store = await connected(bench, "a", "b", "c")
    await bench.app.update("a", deleted_at=DELETED_AT)
    await bench.app.update("b", is_active="0")
    await bench.app.update("c", provider_type="meta")
    a, b = await row_of(store, "a"), await row_of(store, "b")
    assert a
    assert a.deleted
    assert b
    assert not b.active
    assert await row_of(store, "c") is None


@shapes(*SHAPES, *OLDER)
async def test_a_row_is_corrected_where_it_is_as_read(bench: Bench) -> None:
    store = await connected(bench, "a", "b")
    await bench.app.update("a", status="authenticated")
    before = await bench.app.read("b")
    assert await store.accounts.correct("a", said="authenticated", generation=1)
    assert (await bench.app.read("a"))["status"] == "connected"
    assert (await bench.app.read("a"))["phone_number"] == "628110"
    assert await bench.app.read("b") == before


@shapes(*SHAPES)
async def test_a_row_that_changed_meanwhile_stays(bench: Bench) -> None:
    cases = ("status", "newer", "deleted", "inactive", "person", "down", "removed")
    store = await connected(bench, *cases)
    for name in cases:
        await bench.app.update(name, status="disconnected")
    await bench.app.update("status", status="qr_scanning")
    await bench.app.update("deleted", deleted_at=DELETED_AT)
    await bench.app.update("inactive", is_active="0")
    await bench.app.update("person", disconnect_reason=Reason.USER_INITIATED.value)
    await store.set_desired("down", up=False)
    await store.set_desired("newer", up=False)
    await store.set_desired("newer", up=True)
    await store.leave("removed", removed=True)
    for name in cases:
        before = await bench.app.read(name)
        assert not await store.accounts.correct(name, said="disconnected", generation=1)
        assert await bench.app.read(name) == before
    assert not await store.accounts.correct("none", said="disconnected", generation=1)


@shapes(*SHAPES)
async def test_two_who_correct_change_it_once(bench: Bench) -> None:
    store = await connected(bench, "a")
    await bench.app.update("a", status="qr_scanning")
    correct = (store.accounts.correct("a", said="qr_scanning", generation=1) for _ in range(5))
    assert sorted(await asyncio.gather(*correct)) == [False] * 4 + [True]


@shapes(*SHAPES)
async def test_a_number_that_a_unique_index_displaced_is_not_missing(bench: Bench) -> None:
    assert isinstance(bench.app, SqlApplication)
    await bench.app.run(UNIQUE_NUMBER)
    store = await connected(bench, "a")
    await store.create("b", 1, account_id=None, priority=0)
    await store.write_status("b", 1, CONNECTED, phone_number="628110")
    row = await row_of(store, "b")
    assert row
    assert row.phone is None
    assert not row.lacks_number
    await bench.app.update("b", status="qr_scanning")
    assert await store.accounts.correct("b", said="qr_scanning", generation=1)
    row = await row_of(store, "b")
    assert row
    assert (row.status, row.lacks_number) == ("connected", False)


@shapes("memory", *SHAPES)
async def test_an_account_that_is_switched_off_is_not_wanted_up(bench: Bench) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    await bench.app.update("a", is_active=False)
    [row] = await bench.store.sessions()
    assert (row.desired_up, row.switched_off) == (False, True)
    assert await bench.store.write_status(
        "a", row.generation, DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT)
    )
    await bench.app.update("a", is_active=True)
    [row] = await bench.store.sessions()
    assert row.desired_up, "the desired state was not touched"
    assert not row.switched_off


@shapes("memory", *SHAPES)
async def test_who_wants_it_up_switches_the_account_on(bench: Bench) -> None:
    before = await bench.store.create("a", 1, account_id=None, priority=0)
    for again in range(1, 3):
        await bench.app.update("a", is_active=False)
        if again == 1:
            row = await bench.store.set_desired("a", up=True)
        else:
            row = await bench.store.create("a", 1, account_id=None, priority=0)
        assert row is not None
        assert row.desired_up
        assert row.generation == before.generation + again


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_what_cannot_be_read_is_unknown(database: str) -> None:
    store = SqlStore(database, deadline=0.5)
    assert isinstance(await store.accounts.rows_of(["a"]), Unknown)  # it was never opened
    await store.open()
    try:
        await SqlApplication(database).run("ALTER TABLE whatsapp_accounts RENAME TO elsewhere")
        assert isinstance(await store.accounts.rows_of(["a"]), Unknown)
    finally:
        await store.close()
