"""MySQL and MariaDB: a database whose default is not utf8mb4. Nothing is lost to a text, and nothing waits for it."""

import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from sqlalchemy import Engine, event

from tests.store.application import SqlApplication
from tests.store.conftest import PATIENT, new_database
from tests.store.test_messages import entry
from waguard.core.messages.inbox import Deferred
from waguard.core.replace import replace
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.core.webhooks.pending import DeliveryResult
from waguard.doctor.probes import database as probe
from waguard.errors import DatabaseUnavailableError, InvalidInputError
from waguard.ports.store import AuditEntry
from waguard.store import charsets
from waguard.store.revision import VERSION_TABLE
from waguard.store.sql import SqlStore

TEXT = "h\u00e9 \u4f60\u597d \U0001f600"
HELD = {"latin1": "h\u00e9 ?? ?", "utf8mb3": "h\u00e9 \u4f60\u597d ?"}
# as an older waguard left it
OLDER = (
    "ALTER TABLE waguard_files MODIFY mimetype VARCHAR(200) CHARACTER SET {0} NOT NULL",
    "ALTER TABLE waguard_files MODIFY error TEXT CHARACTER SET {0}",
    "ALTER TABLE waguard_deliveries MODIFY last_error TEXT CHARACTER SET {0}",
    "ALTER TABLE waguard_events MODIFY `before` TEXT CHARACTER SET {0}",
    "ALTER TABLE waguard_events MODIFY reason TEXT CHARACTER SET {0}",
    f"UPDATE {VERSION_TABLE} SET version_num = '0016'",
)


@dataclass
class Narrow:
    store: SqlStore
    app: SqlApplication
    charset: str
    url: str


@pytest.fixture(params=["latin1", "utf8mb3"])
async def narrow(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Narrow]:
    url = await new_database("mariadb", request, tmp_path)
    app = SqlApplication(url)
    await app.run(f"ALTER DATABASE CHARACTER SET {request.param}")
    store = SqlStore(url, busy_timeout=PATIENT)
    await store.open()
    try:
        yield Narrow(store, app, request.param, url)
    finally:
        await store.close()


async def assert_written(it: Narrow) -> None:
    store = it.store
    row = await store.create("s1", 1, account_id=None, priority=0)
    received = entry("k1", session="s1")
    deferred = Deferred(message_id="k1", mimetype=f"image/{TEXT}", size=1)
    await store.messages.write([replace(received, deferred=deferred)])
    [pending, *_], _ = await store.messages.pending("*", after=0, limit=10)
    result = DeliveryResult(
        id=pending.id,
        event_id=pending.event_id,
        attempts=1,
        error=TEXT,
        next_at=5.0,
        tried_since=None,
        cause=None,
    )
    await store.messages.write([], [result])
    for again in (False, True):
        audited = AuditEntry(session_id="s1", kind="k", reason=TEXT, at=1.0)
        await store.record(audited, again=again)
    details = DerivedStatus(Status.FAILED, Reason.ERROR, TEXT)
    assert await store.write_status("s1", row.generation, details)
    [file] = await it.app.rows("SELECT mimetype FROM waguard_files")
    [delivery] = await it.app.rows("SELECT last_error FROM waguard_deliveries")
    assert file["mimetype"] == f"image/{TEXT}"
    assert delivery["last_error"] == TEXT
    assert [one.reason for one in await store.audit("s1")] == [TEXT]
    assert (await it.app.read("s1"))["disconnect_details"] == HELD[it.charset]


async def test_a_new_database_holds_every_text(narrow: Narrow) -> None:
    await assert_written(narrow)


async def test_an_older_one_is_made_wide_at_a_start(narrow: Narrow) -> None:
    await narrow.store.close()
    await narrow.app.run(*(it.format(narrow.charset) for it in OLDER))
    keys: Any = (
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND collation_name = 'utf8mb4_bin' ORDER BY 1, 2"
    )
    before = await narrow.app.rows(keys)
    await narrow.store.open()
    assert before
    assert await narrow.app.rows(keys) == before, "keys are compared byte by byte"
    await assert_written(narrow)


NARROW = (
    "SELECT DISTINCT table_name AS name FROM information_schema.columns WHERE table_schema = DATABASE()"
    " AND character_set_name <> 'utf8mb4' AND table_name LIKE 'waguard%'"
    f" AND table_name <> '{VERSION_TABLE}' ORDER BY 1"
)


async def test_a_table_that_cannot_be_converted_is_left_and_named(narrow: Narrow) -> None:
    await narrow.store.close()
    await narrow.app.run(*(it.format("latin1") for it in OLDER))
    # each of its characters needs two bytes then, and TEXT ends at 64 KiB
    long = "INSERT INTO waguard_events (at, kind, evidence, reason) VALUES (1, 'k', '{}', REPEAT('\u00e9', 60000))"
    await narrow.app.run(long)
    logged: list[dict[str, Any]] = []
    sink = logger.add(lambda it: logged.append(it.record["extra"]), level="WARNING", format="")
    try:
        await narrow.store.open()
    finally:
        logger.remove(sink)
    assert await narrow.app.rows(NARROW) == [{"name": "waguard_events"}]
    [left] = [it for it in logged if it.get("event") == "table_not_converted"]
    assert left["table"] == "waguard_events"
    assert "too long" in left["why"]
    assert left["remedy"].startswith("ALTER TABLE waguard_events ")
    for _ in range(2):
        seen = await probe.database(narrow.url)
        assert seen.narrow == ("waguard_events", "whatsapp_accounts")
        assert seen.widen
        assert "ALTER TABLE waguard_events " in seen.widen
        assert "ALTER TABLE whatsapp_accounts " in seen.widen
        await narrow.store.close()
        await narrow.store.open()


async def test_a_conversion_that_was_cut_off_is_made_at_the_next_start(narrow: Narrow) -> None:
    await narrow.store.close()
    await narrow.app.run(*(it.format(narrow.charset) for it in OLDER))

    def cut_off(*reported: Any) -> None:
        if "MODIFY" in reported[2]:
            raise InterruptedError

    event.listen(Engine, "before_cursor_execute", cut_off)
    try:
        with pytest.raises(DatabaseUnavailableError):
            await narrow.store.open()
    finally:
        event.remove(Engine, "before_cursor_execute", cut_off)
    assert len(await narrow.app.rows(NARROW)) == 3
    await narrow.store.open()
    assert await narrow.app.rows(NARROW) == []


async def test_an_id_that_the_applications_table_cannot_hold_is_refused(narrow: Narrow) -> None:
    await narrow.app.run(f"ALTER TABLE whatsapp_accounts CONVERT TO CHARACTER SET {narrow.charset}")
    await narrow.store.close()
    await narrow.store.open()
    with pytest.raises(InvalidInputError, match="cannot hold a character") as caught:
        await narrow.store.create("s\U0001f600", 1, account_id=None, priority=0)
    assert caught.value.field == "session_id"
    assert await narrow.store.session("s\U0001f600") is None


@pytest.mark.parametrize("narrow", ["latin1"], indirect=True)
@pytest.mark.parametrize("charset", ["latin1", "cp1251"])
async def test_of_another_character_set_than_utf8_an_id_is_ascii(
    narrow: Narrow, charset: str
) -> None:
    await narrow.app.run(f"ALTER TABLE whatsapp_accounts CONVERT TO CHARACTER SET {charset}")
    await narrow.store.close()
    await narrow.store.open()
    with pytest.raises(InvalidInputError, match="cannot hold a character") as caught:
        await narrow.store.create("ni\u00f1o", 1, account_id=None, priority=0)
    assert "use ASCII" in (caught.value.remedy or "")
    assert (await narrow.store.create("nino", 1, account_id=None, priority=0)).session_id == "nino"


async def test_the_doctor_names_what_stays_as_it_is(narrow: Narrow) -> None:
    seen = await probe.database(narrow.url)
    assert seen.narrow == ("whatsapp_accounts",)
    assert seen.widen
    assert "session_data" not in seen.widen


async def test_the_doctor_names_columns_alone_that_waguard_writes(narrow: Narrow) -> None:
    await narrow.app.run(
        "ALTER TABLE whatsapp_accounts CONVERT TO CHARACTER SET utf8mb4",
        "ALTER TABLE whatsapp_accounts MODIFY uuid CHAR(36) CHARACTER SET ascii,"
        " MODIFY session_data TEXT CHARACTER SET latin1",
    )
    assert (await probe.database(narrow.url)).narrow == ()
    column = "VARCHAR(50) CHARACTER SET latin1 NOT NULL DEFAULT 'it''s' COMMENT 'a number'"
    await narrow.app.run(f"ALTER TABLE whatsapp_accounts MODIFY phone_number {column}")
    seen = await probe.database(narrow.url)
    assert seen.narrow == ("whatsapp_accounts",)
    assert seen.widen
    [*_, statement] = shlex.split(seen.widen)
    await narrow.app.run(statement)
    assert (await probe.database(narrow.url)).narrow == ()
    [table] = await narrow.app.rows("SHOW CREATE TABLE whatsapp_accounts")
    kept = (r"`phone_number` varchar\(50\) .*NOT NULL DEFAULT 'it''s' COMMENT 'a number'", "latin1")
    assert all(re.search(it, table["Create Table"]) for it in kept)


@pytest.mark.parametrize("narrow", ["latin1"], indirect=True)
async def test_tables_whose_names_differ_in_case_alone_are_two(narrow: Narrow) -> None:
    """information_schema compares their names without it."""
    await narrow.app.run("CREATE TABLE WHATSAPP_ACCOUNTS (name VARCHAR(9) CHARACTER SET latin1)")
    await narrow.store.close()
    await narrow.store.open()
    assert (await probe.database(narrow.url)).narrow == ("whatsapp_accounts",)


def test_a_large_table_is_left_to_a_person() -> None:
    column = charsets.Column("last_error", "latin1", "text", "")
    small = charsets.Narrow("waguard_deliveries", [column], 1 << 20)
    assert not charsets.is_large(small)
    assert charsets.is_large(replace(small, size=charsets.WIDENED_AT_START + 1))
    assert charsets.is_large(replace(small, size=None))
    assert small.statement == (
        "ALTER TABLE waguard_deliveries DEFAULT CHARACTER SET utf8mb4,"
        " MODIFY `last_error` text CHARACTER SET utf8mb4"
    )


@pytest.mark.parametrize(
    ("charset", "held"),
    [
        *dict.fromkeys((None, "utf16", "utf32", "gb18030"), TEXT).items(),
        *HELD.items(),
        ("koi8r", "h? ?? ?"),
        ("ucs2", "h\u00e9 \u4f60\u597d ?"),
    ],
)
def test_what_a_column_holds(charset: str | None, held: str) -> None:
    assert charsets.holdable(TEXT, charset) == held
