"""What all sessions write and ask at the same time: shared transactions, and what they do not share."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy import event
from sqlalchemy.dialects import mysql

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS
from waguard.core.replace import replace
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.errors import DatabaseUnavailableError
from waguard.ports.store import AuditEntry, StatusWritten
from waguard.store import statuses
from waguard.store.engine import skips_locked
from waguard.store.messages import SqlMessages
from waguard.store.sql import SqlStore
from waguard.store.work import Work

on_each = pytest.mark.parametrize("database", BACKENDS, indirect=True)
on_a_server = pytest.mark.parametrize("database", BACKENDS[1:], indirect=True)

CONNECTED = DerivedStatus(Status.CONNECTED)
TIMEOUT = DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, "away")
NAMES = [f"s{number:02}" for number in range(6)]


@pytest.fixture
async def app(database: str, store: SqlStore) -> SqlApplication:
    """The application; the sessions ``NAMES`` are there."""
    for name in NAMES:
        await store.create(name, 1, account_id=None, priority=0)
    return SqlApplication(database)


@contextmanager
def counted(store: SqlStore) -> Iterator[list[str]]:
    """Statements that are executed, and commits."""
    engines, said = store._database._engines, list[str]()
    assert engines

    def executed(_: object, __: object, statement: str, *___: object) -> None:
        said.append(statement)

    def committed(_: object) -> None:
        said.append("COMMIT")

    for engine in {engines.reader.sync_engine, engines.writer.sync_engine}:
        event.listen(engine, "before_cursor_execute", executed)
        event.listen(engine, "commit", committed)
    yield said
    for engine in {engines.reader.sync_engine, engines.writer.sync_engine}:
        event.remove(engine, "before_cursor_execute", executed)
        event.remove(engine, "commit", committed)


async def burst(
    store: SqlStore, derived: DerivedStatus, names: Sequence[str] = NAMES
) -> list[StatusWritten]:
    """All of them write their status and an entry at the same time."""
    entries = [store.record(AuditEntry(session_id=name, kind="restart")) for name in names]
    written = asyncio.gather(
        *(store.write_status(name, 1, derived, phone_number=f"49{name}") for name in names)
    )
    await asyncio.gather(*entries)
    return await written


async def said_of(store: SqlStore) -> dict[str, tuple[str, str | None]]:
    return {row.session_id: (row.status, row.phone_number) for row in await store.sessions()}


@on_each
async def test_rows_of_a_burst_share_a_transaction_and_so_do_entries(
    store: SqlStore, app: SqlApplication
) -> None:
    with counted(store) as said:
        written = await burst(store, CONNECTED)
    assert said.count("COMMIT") == 2
    assert len(said) <= 10, said
    assert all(written)
    assert [it.row for it in written] == await store.sessions()
    assert {it.row.unpaired for it in written if it.row} == {False}
    assert await said_of(store) == {name: ("connected", f"49{name}") for name in NAMES}
    for name in NAMES:
        assert [entry.kind for entry in await store.audit(name)] == ["restart"]


@contextmanager
def lost_answers(store: SqlStore | SqlMessages, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever writes does not hear that it was committed."""
    writing = store._database.writing

    @asynccontextmanager
    async def unheard() -> AsyncIterator[Work]:
        async with writing() as work:
            yield work
        raise DatabaseUnavailableError("the connection was lost")

    with monkeypatch.context() as patched:
        patched.setattr(store._database, "writing", unheard)
        yield


@on_each
async def test_entries_whose_commit_was_not_heard_of_are_stored_once(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [
        AuditEntry(session_id=name, kind="restart", at=float(at))
        for at, name in enumerate((*NAMES, None))
    ]
    with lost_answers(store, monkeypatch):
        heard = await asyncio.gather(*map(store.record, entries), return_exceptions=True)
    assert {type(it) for it in heard} == {DatabaseUnavailableError}
    later = [replace(entry, at=(entry.at or 0.0) + 0.5) for entry in entries]
    for entry in (*entries, *entries, *later):
        await store.record(entry, again=True)
    for before, after in zip(entries, later, strict=True):
        assert await store.audit(before.session_id) == [before, after]


@on_each
async def test_each_of_a_burst_moves_its_own_columns(store: SqlStore, app: SqlApplication) -> None:
    some, others = NAMES[:3], NAMES[3:]
    await burst(store, CONNECTED)
    await asyncio.gather(
        *(store.write_status(name, 1, TIMEOUT) for name in some),
        *(store.write_status(name, 1, CONNECTED) for name in others),
    )
    for name in NAMES:
        row = await app.read(name)
        changed = name in some
        assert (row["disconnected_at"] is not None) is changed
        assert row["disconnect_details"] == ("away" if changed else None)
        assert row["last_connected_at"] is not None
        assert row["phone_number"] == f"49{name}"


@on_each
async def test_the_order_of_one_session_stays(store: SqlStore, app: SqlApplication) -> None:
    kinds = [f"k{number}" for number in range(5)]
    await asyncio.gather(
        store.write_status("s00", 1, CONNECTED),
        *(store.record(AuditEntry(session_id="s00", kind=kind)) for kind in kinds),
        store.write_status("s00", 1, TIMEOUT),
    )
    assert [entry.kind for entry in await store.audit("s00")] == kinds
    row = await store.session("s00")
    assert row
    assert row.status == "disconnected"


@on_each
async def test_a_number_without_room_costs_its_neighbours_nothing(
    store: SqlStore, app: SqlApplication
) -> None:
    await app.run(
        "CREATE UNIQUE INDEX once ON whatsapp_accounts (phone_number, workspace_id, status)"
    )
    await app.update("s00", phone_number="49s01", status="connected")
    for _ in range(2):  # with the number that is remembered too
        assert all(await burst(store, CONNECTED, NAMES[1:]))
        assert await said_of(store) == {name: ("connected", f"49{name}") for name in NAMES} | {
            "s00": ("connected", "49s01")
        }
    assert (await app.read("s01"))["phone_number"] is None
    said = [entry.kind for entry in await store.audit("s01")]
    assert sorted(said) == ["phone_number_displaced", "restart", "restart"]


@on_each
async def test_a_row_that_does_not_accept_its_status_refuses_nobody_elses(
    store: SqlStore, app: SqlApplication
) -> None:
    newer = await store.create("s00", 1, account_id=None, priority=0)
    await store.soft_delete("s01")
    await app.update("s02", provider_type="meta")
    await app.insert("new", 1, status="disconnected", is_primary=False, is_active=True)
    generations = {"new": 0}
    written = await asyncio.gather(
        *(
            store.write_status(name, generations.get(name, 1), CONNECTED)
            for name in [*NAMES, "new", "nobody", "s03\0", "S04"]
        )
    )
    refused = [False] * 3
    assert [bool(it) for it in written] == [*refused, *[True] * 4, *refused]
    assert written[0].row == newer
    assert {it.row for it in written[1:3] + written[-3:]} == {None}
    assert (await app.read("new"))["status"] == "connected"


@on_each
@pytest.mark.parametrize("error", [DatabaseUnavailableError("lost"), TypeError("a bug")])
async def test_a_transaction_that_fails_is_repeated_for_each_alone(
    store: SqlStore, app: SqlApplication, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Deadlocks and lost connections too: nothing of it was committed."""
    update = statuses._update

    async def failing(work: Work, changes: object) -> None:
        monkeypatch.setattr(statuses, "_update", update)
        raise error

    monkeypatch.setattr(statuses, "_update", failing)
    assert all(await burst(store, CONNECTED))
    assert {row.status for row in await store.sessions()} == {"connected"}
    for name in NAMES:
        assert len(await store.audit(name)) == 1


@on_a_server
async def test_nobody_waits_for_a_row_that_the_application_holds(
    store: SqlStore, app: SqlApplication
) -> None:
    held = "SELECT status FROM whatsapp_accounts WHERE session_id = 's00' FOR UPDATE"
    async with app.holding(held):
        waits = asyncio.create_task(store.write_status("s00", 1, CONNECTED))
        assert all(await burst(store, CONNECTED, NAMES[1:]))
        assert all(await burst(store, TIMEOUT, NAMES[1:]))
        assert not waits.done()
    written = await waits
    assert written
    assert written.row == await store.session("s00")
    assert written.row
    assert written.row.status == "connected"


@on_a_server
async def test_nobody_waits_for_a_value_of_the_index_that_the_application_holds(
    store: SqlStore, app: SqlApplication
) -> None:
    await app.run(
        "CREATE UNIQUE INDEX once ON whatsapp_accounts (phone_number, workspace_id, status)"
    )
    taken = "phone_number = '49s01', status = 'connected'"
    store._database.answers_within = 600.0  # nobody gives up before the lock's own limit
    with counted(store) as said:
        async with app.holding(f"UPDATE whatsapp_accounts SET {taken} WHERE session_id = 's00'"):
            writes = {
                name: asyncio.create_task(
                    store.write_status(name, 1, CONNECTED, phone_number=f"49{name}")
                )
                for name in NAMES[1:]
            }
            await store.record(AuditEntry(session_id="s01", kind="restart"))
            assert all(await asyncio.gather(*(writes[name] for name in NAMES[2:])))
            assert not writes["s01"].done()
            said_now = await said_of(store)
            assert all(said_now[name] == ("connected", f"49{name}") for name in NAMES[2:])
        assert await writes["s01"]
    assert (await app.read("s01"))["phone_number"] is None
    kinds = [entry.kind for entry in await store.audit("s01")]
    assert kinds == ["restart", "phone_number_displaced"]
    limits = [it for it in said if it.startswith("SET innodb_lock_wait_timeout")]
    assert bool(limits) is (store._database.backend == "mysql")
    # who gets the connection next is as patient as before
    assert [it.endswith("DEFAULT") for it in limits] == [False, True] * (len(limits) // 2)


@on_each
async def test_a_server_without_skip_locked_writes_each_alone(
    store: SqlStore, app: SqlApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statuses, "skips_locked", lambda _: False)
    with counted(store) as said:
        assert all(await burst(store, CONNECTED))
    assert not [it for it in said if "SKIP LOCKED" in it]
    assert await said_of(store) == {name: ("connected", f"49{name}") for name in NAMES}


@pytest.mark.parametrize(
    ("version", "knows"),
    [
        ("5.7.44-log", False),
        ("8.0.11", True),
        ("8.4.3", True),
        ("5.5.5-10.5.28-MariaDB", False),
        ("10.6.0-MariaDB", True),
        ("11.4.2-MariaDB-ubu2404", True),
    ],
)
def test_which_server_knows_skip_locked(version: str, *, knows: bool) -> None:
    dialect = mysql.dialect()
    dialect._parse_server_version(version)
    assert skips_locked(dialect) is knows


@on_each
async def test_a_server_of_today_knows_skip_locked(store: SqlStore, app: SqlApplication) -> None:
    async with store._database.reading() as (connection, _):
        assert skips_locked(connection.dialect)


@on_each
async def test_people_of_few_sessions_are_read_at_once(
    store: SqlStore, app: SqlApplication
) -> None:
    """All that one read has found is made ready in one go."""
    names = [f"p{number:02}" for number in range(45)]
    with counted(store) as said:
        people = await asyncio.gather(*map(store.messages.people, names))
    assert len({id(it) for it in people}) == 45
    assert len([it for it in said if "FROM waguard_people" in it]) == 3


@on_each
async def test_many_sessions_ask_by_one_statement(store: SqlStore, app: SqlApplication) -> None:
    await store.messages.link_phone("s01", "4901")
    with counted(store) as said:
        phones = await asyncio.gather(*map(store.messages.linked_phone, [*NAMES, "nobody"]))
    assert phones == [None, "4901", *[None] * 5]
    assert len([it for it in said if it.startswith("SELECT")]) == 1
    with counted(store) as said:
        newest = await asyncio.gather(*(store.messages.newest(name, after=0.0) for name in NAMES))
        people = await asyncio.gather(*map(store.messages.people, NAMES))
        waiting = await asyncio.gather(
            *(store.messages.undecryptable(name, limit=5) for name in NAMES)
        )
    assert newest == [{}] * 6
    assert len({id(it) for it in people}) == 6
    assert waiting == [([], 0)] * 6
    assert len([it for it in said if it.startswith("SELECT")]) == 4


@on_each
async def test_a_caller_that_gives_up_takes_nobody_with_it(
    store: SqlStore, app: SqlApplication
) -> None:
    tasks = [asyncio.create_task(store.write_status(name, 1, CONNECTED)) for name in NAMES]
    await asyncio.sleep(0)  # each waits for the transaction, which has not begun
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert all(await asyncio.gather(*tasks[1:]))
    assert {row.status for row in await store.sessions() if row.session_id != "s00"} == {
        "connected"
    }
