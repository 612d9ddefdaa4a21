"""The application's table as it is found: other providers' rows, missing columns, indexes."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, SHAPES, Bench
from tests.store.tables import UNIQUE_NUMBER
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.errors import InvalidInputError, NoObjectError, SessionIdTakenError, WaguardError
from waguard.ports.store import AuditEntry
from waguard.store.sql import SqlStore

CONNECTED = DerivedStatus(Status.CONNECTED)
TIMEOUT = DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, "away")
WITH_PROVIDER = [shape for shape in SHAPES if "older" not in shape]
SQL_SHAPES = [shape for shape in SHAPES if shape != "memory"]
APPLICATIONS = ["sqlite", "postgresql-enums", "mariadb-enums"]


def shapes(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", names, indirect=True)


def sql(bench: Bench) -> SqlApplication:
    assert isinstance(bench.app, SqlApplication)
    return bench.app


@shapes(*WITH_PROVIDER)
async def test_another_providers_rows_do_not_exist(bench: Bench) -> None:
    await bench.app.insert("m", 1, provider_type="meta", status="connected")
    before = await bench.app.read("m")
    assert await bench.store.sessions() == []
    assert await bench.store.session("m") is None
    assert await bench.store.set_desired("m", up=False) is None
    assert await bench.store.leave("m", removed=True) is None
    assert not await bench.store.write_status("m", 99, TIMEOUT)
    await bench.store.touch("m")
    await bench.store.soft_delete("m")
    await bench.store.set_metadata("m", {"x": 1})
    assert await bench.store.merge_metadata("m", {"x": 1}) is None
    assert await bench.store.metadata("m") == {}
    with pytest.raises(SessionIdTakenError):
        await bench.store.create("m", 1, account_id=None, priority=0)
    assert await bench.app.read("m") == before


@shapes(*BACKENDS)
@pytest.mark.parametrize("raw", ['"crm: 7"', '[{"crm": 7}]', "7", '{"crm": 7'])
async def test_metadata_that_are_no_object_are_kept(bench: Bench, raw: str) -> None:
    """An array cast of Laravel's stores text that was encoded before as a JSON string."""
    await bench.store.create("a", 1, account_id=None, priority=0)
    with contextlib.suppress(DBAPIError):  # two of the three take nothing but JSON
        await bench.app.update("a", metadata=raw)
        before = (await bench.app.read("a"))["metadata"]
        with pytest.raises(NoObjectError, match="metadata of a "):
            await bench.store.metadata("a")
        with pytest.raises(NoObjectError):
            await bench.store.merge_metadata("a", {"x": 1})
        assert (await bench.app.read("a"))["metadata"] == before
    await bench.store.set_metadata("a", {"x": 1})
    assert await bench.store.metadata("a") == {"x": 1}


@shapes(*BACKENDS)
@pytest.mark.parametrize("raw", ["[]", "null", "{}"])
async def test_empty_metadata_are_an_object(bench: Bench, raw: str) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    await bench.app.update("a", metadata=raw)
    assert await bench.store.metadata("a") == {}
    assert await bench.store.merge_metadata("a", {"x": 1}) == {"x": 1}


@shapes(*WITH_PROVIDER)
async def test_what_the_application_deletes_is_gone(bench: Bench) -> None:
    await bench.app.insert(
        "a", 1, status="connected", deleted_at=datetime(2024, 11, 22, tzinfo=UTC)
    )
    assert await bench.store.sessions() == []
    row = await bench.store.create("a", 1, account_id=None, priority=0)
    assert await bench.store.sessions() == [row]


@shapes(*WITH_PROVIDER)
async def test_what_is_written_of_an_account_that_is_switched_off_keeps_it_wanted(
    bench: Bench,
) -> None:
    """Its worker may report until it has ended."""
    row = await bench.store.create("a", 1, account_id=None, priority=0)
    await bench.app.update("a", is_active=False)
    await bench.store.keep_limits("a", '{"codes": [1.0]}')
    await bench.store.touch("a")
    await bench.store.set_metadata("a", {"x": 1})
    assert await bench.store.write_status("a", row.generation, TIMEOUT)
    off = await bench.store.session("a")
    assert off
    assert (off.desired_up, off.switched_off, off.limits) == (False, True, '{"codes": [1.0]}')
    await bench.app.update("a", is_active=True)
    on = await bench.store.session("a")
    assert on
    assert (on.desired_up, on.switched_off) == (True, False)


@shapes(*APPLICATIONS)
async def test_a_status_moves_the_columns_that_belong_to_it(bench: Bench) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    new = await bench.app.read("a")
    assert (new["provider_type"], new["is_active"], len(str(new["uuid"]))) == ("webjs", 1, 36)
    bench.wall.time += 60
    await bench.store.write_status("a", 1, CONNECTED, phone_number="49")
    bench.wall.time += 60
    await bench.store.write_status("a", 1, TIMEOUT)
    row = await bench.app.read("a")
    assert (row["disconnect_reason"], row["disconnect_details"]) == ("timeout", "away")
    steps = [
        str(row[name])[:19]
        for name in ("created_at", "last_connected_at", "disconnected_at", "updated_at")
    ]
    start = datetime(2024, 11, 22, 0, 0)  # noqa: DTZ001  the column has no zone
    minute = timedelta(minutes=1)
    assert steps == [str(start), str(start + minute), str(start + 2 * minute), steps[2]]


@shapes(*SQL_SHAPES)
async def test_a_unique_index_never_costs_a_status(bench: Bench) -> None:
    await sql(bench).run(UNIQUE_NUMBER)
    await bench.app.insert("old", 1, phone_number="49", status="disconnected")
    await bench.store.create("a", 1, account_id=None, priority=0)
    assert await bench.store.write_status("a", 1, CONNECTED, phone_number="49")
    for _ in range(2):
        assert await bench.store.write_status("a", 1, TIMEOUT)
    raw = await bench.app.read("a")
    assert (raw["status"], raw["phone_number"]) == ("disconnected", None)
    row = await bench.store.session("a")
    assert row is not None
    assert (row.status, row.disconnect_reason, row.phone_number) == (
        "disconnected",
        "timeout",
        "49",
    )
    assert [entry.kind for entry in await bench.store.audit("a")] == ["phone_number_displaced"]

    assert await bench.store.write_status("a", 1, CONNECTED)
    raw = await bench.app.read("a")
    assert (raw["status"], raw["phone_number"]) == ("connected", "49")
    assert (await bench.app.read("old"))["phone_number"] == "49"


@shapes(*SQL_SHAPES)
async def test_a_unique_index_keeps_no_session_from_leaving_or_coming_back(bench: Bench) -> None:
    await sql(bench).run(UNIQUE_NUMBER)
    for status in ("disconnected", "qr_scanning"):
        await bench.app.insert(status, 1, phone_number="49", status=status)
    await bench.store.create("a", 1, account_id=None, priority=0)
    assert await bench.store.write_status("a", 1, CONNECTED, phone_number="49")
    left = await bench.store.leave("a", removed=True)
    assert left
    assert (left.status, left.phone_number, left.desired_up) == ("disconnected", "49", False)
    back = await bench.store.set_desired("a", up=True)
    assert back
    assert (back.status, back.phone_number, back.removed_at) == ("qr_scanning", "49", None)


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
@pytest.mark.parametrize("missing", ["workspace_id", "phone_number", "status"])
async def test_a_needed_column_that_is_missing_is_named(database: str, missing: str) -> None:
    columns = {"session_id", "workspace_id", "phone_number", "status"} - {missing}
    fields = ", ".join(f"{name} VARCHAR(50)" for name in sorted(columns))
    await SqlApplication(database).run(f"CREATE TABLE whatsapp_accounts ({fields})")
    store = SqlStore(database)
    with pytest.raises(WaguardError, match=f"no column {missing}") as caught:
        await store.open()
    assert caught.value.field == f"whatsapp_accounts.{missing}"
    assert caught.value.remedy
    await store.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_table_that_was_renamed_is_named(database: str) -> None:
    store = SqlStore(database)
    await store.open()
    await store.close()
    await SqlApplication(database).run("ALTER TABLE whatsapp_accounts RENAME TO old")
    with pytest.raises(WaguardError) as caught:
        await store.open()
    assert "whatsapp_accounts: there is no such table (run " in caught.value.line()
    await store.close()


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_a_table_that_refuses_new_rows_still_serves_its_own(database: str) -> None:
    app = SqlApplication(database)
    await app.run(
        "CREATE TABLE whatsapp_accounts (session_id VARCHAR(99) UNIQUE, workspace_id INT,"
        " phone_number VARCHAR(50), status VARCHAR(20), created_by INT NOT NULL)"
    )
    store = SqlStore(database)
    await store.open()
    with pytest.raises(WaguardError, match="created_by") as caught:
        await store.create("a", 1, account_id=None, priority=0)
    assert not isinstance(caught.value, SessionIdTakenError)
    await app.insert("a", 1, created_by=1)
    row = await store.create("a", 1, account_id=None, priority=0)
    assert (row.status, row.generation) == ("disconnected", 1)
    await store.close()


@shapes(*SQL_SHAPES)
async def test_text_that_no_column_takes_is_cut_not_refused(bench: Bench) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    details = "nul \0, half an emoji \ud83d, " + "much text " * 100
    result = DerivedStatus(Status.FAILED, Reason.ERROR, details)
    assert await bench.store.write_status("a", 1, result, phone_number="4" * 99)
    row = await bench.store.session("a")
    assert row is not None
    assert (row.disconnect_details or "").startswith("nul , half an emoji ?, much text")
    evidence = {"text": "\ud83d\0", "nan": float("nan"), "at": datetime(2024, 1, 1, tzinfo=UTC)}
    await bench.store.record(
        AuditEntry(session_id="a", kind="k" * 99, reason=details, evidence=evidence)
    )
    entry = (await bench.store.audit("a"))[0]
    assert (entry.kind, entry.evidence["at"]) == ("k" * 64, "2024-01-01T00:00:00Z")


@shapes(*SQL_SHAPES)
@pytest.mark.parametrize("session_id", ["", "a\0", "\ud83d", "x" * 256])
async def test_an_id_that_no_column_holds_is_refused(bench: Bench, session_id: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await bench.store.create(session_id, 1, account_id=None, priority=0)
    assert caught.value.field == "session_id"


@shapes("mariadb-enums")
async def test_an_id_that_differs_in_case_only_is_taken(bench: Bench) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    with pytest.raises(SessionIdTakenError):
        await bench.store.create("A", 1, account_id=None, priority=0)


@shapes(*BACKENDS)
async def test_our_own_table_takes_no_status_outside_the_enum(bench: Bench) -> None:
    await bench.store.create("a", 1, account_id=None, priority=0)
    with pytest.raises(DBAPIError, match="status_check"):
        await bench.app.update("a", status="error")


@shapes("sqlite-older", "postgresql-older", "mariadb-older")
async def test_a_status_that_the_old_service_invented_is_passed_on_and_corrected(
    bench: Bench,
) -> None:
    await bench.app.insert("a", 1, status="error")
    row = await bench.store.session("a")
    assert row is not None
    assert (row.status, row.desired_up) == ("error", False)
    assert await bench.store.write_status("a", 0, CONNECTED)
    assert (await bench.app.read("a"))["status"] == "connected"
