"""Whether the receiver has stored a message: by its own table, on each database, and where that fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from tests.store import tables
from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, new_database, ready_database
from waguard.core.webhooks.stored import DROP_IN, Presence, StoredKey, Unknown
from waguard.doctor.probes import stored as doctor
from waguard.store.database import Database
from waguard.store.sql import SqlStore
from waguard.store.statement_limits import settings

STORED, MISSING, UNKNOWN = Presence.STORED, Presence.MISSING, Presence.UNKNOWN
ACCOUNTS = {
    "sqlite": (),
    "postgresql": tables.POSTGRESQL_ENUMS,
    "mariadb": (tables.MYSQL_ENUMS,),
}
GROUP = "false_120363042@g.us_3EB0AA_628@c.us"
PATIENT, SHORT = 60.0, 1.0  # s for a statement, on a busy machine and where it is to be over
SERVERS = ("postgresql", "mariadb")
every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)
each_shared = pytest.mark.parametrize("shared", BACKENDS, indirect=True)
every_server = pytest.mark.parametrize("database", SERVERS, indirect=True)


@dataclass
class Receiver:
    """The application and its database; ``store`` is waguard's."""

    url: str
    app: SqlApplication
    store: SqlStore
    ids: dict[str, int] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        name = make_url(self.url).get_backend_name()
        return "mariadb" if name == "mysql" else name

    async def has_tables(self) -> bool:
        try:
            await self.app.rows("SELECT id FROM chats WHERE 0 = 1")
        except DBAPIError:
            return False
        return True

    async def connect(self, session: str) -> None:
        await self.app.insert(session, 1, uuid=str(uuid4()), status="connected")
        self.ids[session] = (await self.app.read(session))["id"]

    def row(self, session: str | None, message_id: str, type_: str = "inbound") -> str:
        account = self.ids[session] if session else "NULL"
        return (
            "INSERT INTO chats (workspace_id, whatsapp_account_id, wam_id, whatsapp_message_id,"
            f" contact_id, type, metadata) VALUES (1, {account}, '{message_id}', '{message_id}', 1,"
            f" '{type_}', 'x')"
        )

    async def keep(self, session: str | None, message_id: str, type_: str = "inbound") -> None:
        await self.app.run(self.row(session, message_id, type_))

    async def received(self, *messages: tuple[str, str]) -> Mapping[tuple[str, str], Presence]:
        found = await self.store.stored.received(DROP_IN, messages)
        assert not isinstance(found, Unknown), found
        return found

    async def unknown(self, key: StoredKey = DROP_IN) -> str:
        """Why a look-up and the check before it say nothing."""
        found = await self.store.stored.received(key, [("a", "x")])
        why = await self.store.stored.check(key)
        assert isinstance(found, Unknown)
        assert isinstance(why, Unknown)
        return why.reason


@pytest.fixture
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """With the application's tables, and up to date."""
    made = (*ACCOUNTS[request.param], *tables.CHATS[request.param])
    return await ready_database(request.param, request, tmp_path, *made)


@pytest.fixture
async def receiver(database: str) -> AsyncIterator[Receiver]:
    """On a database of its own."""
    async with opened(database) as made:
        yield made


READY: dict[str, str] = {}
"""Databases that tests share which change no table, by backend: to make one takes longer than most tests."""


@pytest.fixture
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Receiver]:
    """On a database that had other rows before; parametrized indirectly with one of ``BACKENDS``."""
    backend = request.param
    if backend == "sqlite" or backend not in READY:
        READY[backend] = await new_database(backend, request, tmp_path)
    else:
        await SqlApplication(READY[backend]).run(
            "DELETE FROM chats", "DELETE FROM whatsapp_accounts", "DELETE FROM waguard_sessions"
        )
    async with opened(READY[backend]) as made:
        yield made


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Receiver]:
    app, store = SqlApplication(url), SqlStore(url, busy_timeout=PATIENT, deadline=PATIENT)
    made = Receiver(url, app, store)
    if not await made.has_tables():
        await app.run(*ACCOUNTS[made.backend], *tables.CHATS[made.backend])
    await store.open()
    for session in ("a", "b"):
        await made.connect(session)
    yield made
    await store.close()


@each_shared
async def test_a_row_says_that_it_is_stored(shared: Receiver) -> None:
    assert await shared.store.stored.check(DROP_IN) is None
    await shared.keep("a", "false_1@c.us_A")
    assert await shared.received(("a", "false_1@c.us_A"), ("a", "false_1@c.us_B")) == {
        ("a", "false_1@c.us_A"): STORED,
        ("a", "false_1@c.us_B"): MISSING,
    }


@each_shared
async def test_a_group_message_of_two_numbers_is_stored_for_each(shared: Receiver) -> None:
    await shared.keep("a", GROUP)
    both = (("a", GROUP), ("b", GROUP))
    assert await shared.received(*both) == {both[0]: STORED, both[1]: MISSING}
    await shared.keep("b", GROUP)
    assert set((await shared.received(*both)).values()) == {STORED}


@each_shared
async def test_what_was_sent_is_nothing_received(shared: Receiver) -> None:
    await shared.keep("a", "x", "outbound")
    assert await shared.received(("a", "x")) == {("a", "x"): MISSING}
    assert await shared.store.stored.sent(DROP_IN, ["x", "y"]) == {"x": STORED, "y": MISSING}


@each_shared
async def test_what_was_sent_counts_under_any_account(shared: Receiver) -> None:
    await shared.keep(None, "x", "outbound")
    assert await shared.store.stored.sent(DROP_IN, ["x"]) == {"x": STORED}


@each_shared
async def test_deleted_rows_and_accounts_count(shared: Receiver) -> None:
    await shared.keep("a", "x")
    await shared.app.run("UPDATE chats SET deleted_at = '2026-11-28 00:00:00'")
    await shared.app.run("UPDATE whatsapp_accounts SET deleted_at = '2026-11-28 00:00:00'")
    assert await shared.received(("a", "x")) == {("a", "x"): STORED}


@each_shared
async def test_of_an_account_that_is_gone_nothing_is_stored(shared: Receiver) -> None:
    await shared.keep("a", "x")
    await shared.app.run("DELETE FROM whatsapp_accounts")
    assert await shared.received(("a", "x")) == {("a", "x"): MISSING}


@each_shared
async def test_ids_are_compared_exactly(shared: Receiver) -> None:
    await shared.keep("a", "false_1@c.us_3eb0aa")
    await shared.keep("a", "false_1@c.us_3EB0BB ")
    messages = (("a", "false_1@c.us_3EB0AA"), ("a", "false_1@c.us_3EB0BB"))
    assert set((await shared.received(*messages)).values()) == {MISSING}


@each_shared
async def test_what_no_column_holds_is_unknown_and_harms_no_other(shared: Receiver) -> None:
    await shared.keep("a", "x")
    odd = ("", "\0", "\ud800", "é", "💣", "a\nb")
    found = await shared.received(("a", "x"), *(("a", it) for it in odd))
    assert found == {("a", "x"): STORED, **{("a", it): UNKNOWN for it in odd}}


@each_shared
async def test_quotes_and_wildcards_are_text(shared: Receiver) -> None:
    assert set((await shared.received(("a", "'--"), ("a", "%"), ("a", ":b"))).values()) == {MISSING}


@each_shared
async def test_an_id_that_was_cut_is_found(shared: Receiver) -> None:
    long = "false_1@c.us_" + "A" * 200
    await shared.keep("a", long[:128])
    found = await shared.received(("a", long), ("a", "B" * 200))
    assert found == {("a", long): STORED, ("a", "B" * 200): MISSING}


@each_shared
async def test_any_number_of_messages(shared: Receiver) -> None:
    messages = [("a", f"false_1@c.us_{n}") for n in range(250)]
    await shared.app.run(*(shared.row("a", it) for _, it in messages[::3]))
    for count in (0, 1, 2, 10, 11, 100, 101, 250):
        some = messages[:count]
        found = await shared.received(*some)
        assert [it for it in some if found[it] is STORED] == some[::3]
        assert len(found) == count


@each_shared
async def test_a_commit_that_is_slow_is_seen_when_it_comes(shared: Receiver) -> None:
    about = ("a", "slow")
    async with shared.app.holding(shared.row("a", "slow")):
        assert await shared.received(about) == {about: MISSING}
    assert await shared.received(about) == {about: STORED}


@every_database
async def test_a_table_without_further_columns_has_ids_alone(receiver: Receiver) -> None:
    await receiver.app.run(
        "CREATE TABLE inbox (number INT, message VARCHAR(190))",
        "CREATE INDEX by_message ON inbox (message, number)",
        "INSERT INTO inbox VALUES (1, 'x')",
    )
    found = await receiver.store.stored.received(
        StoredKey("inbox", "message"), [("a", "x"), ("b", "y")]
    )
    assert found == {("a", "x"): STORED, ("b", "y"): MISSING}


USELESS = {
    StoredKey("chat", "whatsapp_message_id"): "no such table",
    StoredKey("chats", "message"): "no such column",
    StoredKey("chats", "contact_id"): "no text",
    StoredKey("chats", "wam_id"): "no index begins with",
}


@every_database
async def test_what_does_not_serve_is_unknown(receiver: Receiver) -> None:
    for key, why in USELESS.items():
        said = await receiver.unknown(key)
        assert why in said
        assert str(key) in said


@every_database
async def test_an_index_must_begin_with_the_column(receiver: Receiver) -> None:
    key = StoredKey("chats", "wam_id")
    await receiver.app.run("CREATE INDEX beside ON chats (workspace_id, wam_id)")
    assert "no index" in await receiver.unknown(key)
    await receiver.app.run("CREATE INDEX first ON chats (wam_id, workspace_id)")
    assert await receiver.store.stored.check(key) is None


@pytest.mark.parametrize("database", ["postgresql", "sqlite"], indirect=True)
async def test_an_index_of_some_rows_is_none(receiver: Receiver) -> None:
    await receiver.app.run("CREATE INDEX partial_index ON chats (wam_id) WHERE deleted_at IS NULL")
    assert "no index" in await receiver.unknown(StoredKey("chats", "wam_id"))


@every_database
async def test_a_table_that_goes_is_unknown_until_it_is_back(receiver: Receiver) -> None:
    await receiver.keep("a", "x")
    assert await receiver.received(("a", "x")) == {("a", "x"): STORED}
    await receiver.app.run("ALTER TABLE chats RENAME TO elsewhere")
    found = await receiver.store.stored.received(DROP_IN, [("a", "x")])
    assert isinstance(found, Unknown)
    await receiver.app.run("ALTER TABLE elsewhere RENAME TO chats")
    assert await receiver.store.stored.check(DROP_IN) is None
    assert await receiver.received(("a", "x")) == {("a", "x"): STORED}


IN_FORCE = {
    "postgresql": (
        (
            "SELECT current_setting('statement_timeout') AS a, current_setting('enable_seqscan') AS b,"
            " current_setting('jit') AS c"
        ),
        ("1min", "off", "off"),
    ),
    "mariadb": ("SELECT @@max_statement_time AS a, @@lock_wait_timeout AS b", (PATIENT, PATIENT)),
}


@pytest.mark.parametrize("shared", SERVERS, indirect=True)
async def test_the_server_itself_keeps_the_deadline(shared: Receiver) -> None:
    query, expected = IN_FORCE[shared.backend]
    database = Database(shared.url, busy_timeout=PATIENT, wall=time.time, deadline=PATIENT)
    await database.open()
    async with database.reading_limited(asyncio.Lock()) as (connection, _):
        assert tuple((await connection.execute(text(query))).one()) == expected
    await database.close()


def test_mysql_has_another_name_for_the_deadline() -> None:
    class Cursor:
        def execute(self, statement: str) -> None: ...
        def fetchone(self) -> tuple[str]:
            return ("8.4.6",)

    cursor: Any = Cursor()
    assert settings("mysql", cursor, 2.5) == [
        "SET SESSION max_execution_time = 2500",
        "SET SESSION lock_wait_timeout = 3",
    ]


LOCK = {
    "postgresql": "LOCK TABLE chats IN ACCESS EXCLUSIVE MODE",
    "mariadb": "LOCK TABLES chats WRITE",
}


@every_server
async def test_a_locked_table_is_unknown_and_delays_nothing_of_ours(receiver: Receiver) -> None:
    """The look-ups end by their deadline; meanwhile waguard reads and writes."""
    store = SqlStore(receiver.url, deadline=SHORT)
    await store.open()
    try:
        async with receiver.app.holding(LOCK[receiver.backend]):
            waiting = asyncio.gather(
                *(store.stored.received(DROP_IN, [("a", str(n))]) for n in range(20))
            )
            written = 0
            while not waiting.done():
                written += await store.set_desired("a", up=True) is not None
            assert written
            found = [it for it in await waiting if isinstance(it, Unknown)]
            assert len(found) == 20
            assert not any(it.passes for it in found), "the table alone is locked"
            assert all(it.late for it in found)
            assert isinstance(await store.stored.check(DROP_IN), Unknown)
    finally:
        await store.close()


@every_server
async def test_an_answer_comes_when_the_lock_is_gone(receiver: Receiver) -> None:
    assert await receiver.store.stored.check(DROP_IN) is None
    async with receiver.app.holding(LOCK[receiver.backend]):
        waiting = asyncio.create_task(receiver.received(("a", "x")))
        assert not isinstance(await receiver.store.accounts.rows_of(["a"]), Unknown)
        assert not waiting.done()
    assert await waiting == {("a", "x"): MISSING}


async def limited(receiver: Receiver) -> tuple[SqlStore, str]:
    """waguard as a database user who may read all but the receiver's messages."""
    url = make_url(receiver.url)
    names = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = "
    if receiver.backend == "postgresql":
        whom, names = "reader", names + "'public'"
        await receiver.app.run("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    else:
        whom, names = "reader@localhost", names + "DATABASE()"
        await receiver.app.run(f"CREATE OR REPLACE USER {whom}")
    for table in await receiver.app.rows(names):
        if table["name"] != "chats":
            await receiver.app.run(f"GRANT SELECT ON {table['name']} TO {whom}")
    shown = url.set(username="reader").render_as_string(hide_password=False)
    store = SqlStore(shown, deadline=PATIENT)
    await store.open()
    return store, shown


@every_server
async def test_without_the_right_it_is_unknown_until_what_the_doctor_prints_is_run(
    receiver: Receiver,
) -> None:
    await receiver.keep("a", "x")
    store, url = await limited(receiver)
    try:
        why = await store.stored.check(DROP_IN)
        assert isinstance(why, Unknown)
        assert "denied" in why.reason
        assert not why.passes
        assert "chats" in why.reason
        found = await store.stored.received(DROP_IN, [("a", "x")])
        assert isinstance(found, Unknown)
        seen = await doctor.stored(url, None)
        assert seen
        assert seen.denied
        assert seen.login
        await receiver.app.run(*seen.login.grant("chats").split("; "))
        assert await store.stored.check(DROP_IN) is None
        assert await store.stored.received(DROP_IN, [("a", "x")]) == {("a", "x"): STORED}
        again = await doctor.stored(url, str(DROP_IN))
        assert again
        assert (again.problem, again.denied) == (None, False)
    finally:
        await store.close()


@each_shared
async def test_the_doctor_says_what_is_missing(shared: Receiver) -> None:
    for key, why in USELESS.items():
        seen = await doctor.stored(shared.url, str(key))
        assert seen
        assert why in str(seen.problem)
        assert not seen.denied
