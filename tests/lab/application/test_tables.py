"""Its tables, in the database that it shares with the daemon."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import inspect

from tests.store.conftest import BACKENDS, new_database
from waguard.lab.application.accounts import Accounts
from waguard.lab.application.chats import Chats, Seen
from waguard.lab.application.tables import engine_of
from waguard.store.sql import SqlStore

ON_EACH = pytest.mark.parametrize(
    "url",
    [
        backend if backend == "sqlite" else pytest.param(backend, marks=pytest.mark.long)
        for backend in BACKENDS
    ],
    indirect=True,
)


@pytest.fixture
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database that has been migrated by the application first, then by waguard."""
    made = await new_database(request.param, request, tmp_path)
    await Accounts(made).migrate()
    store = SqlStore(made)
    await store.open()
    yield made
    await store.close()


async def account(url: str, session: str, workspace: int = 1) -> dict[str, object]:
    accounts = Accounts(url)
    await accounts.insert(session, uuid=session, workspace_id=workspace, status="qr_scanning")
    row = await accounts.read(session)
    assert row
    return row


@ON_EACH
async def test_rows_are_seen_in_their_order_whatever_they_say(url: str) -> None:
    one, chats = await account(url, "s1"), Chats(url)
    first = await chats.add(one, "62", "id-1", "inbound", '"a"', "delivered")
    again = await chats.add(one, "62", "id-1", "inbound", '"a"', "delivered")  # it does not dedupe
    own = await chats.add(one, "63", None, "outbound", '"b"', "sent")
    assert first < again < own
    assert await chats.seen() == [
        Seen(first, "s1", "62", "id-1", "inbound", '"a"'),
        Seen(again, "s1", "62", "id-1", "inbound", '"a"'),
        Seen(own, "s1", "63", None, "outbound", '"b"'),
    ]
    assert await chats.find("id-1") == first
    assert await chats.find("id-2") is None
    await Accounts(url).delete("s1")
    assert len(await chats.seen()) == 3  # its users see them all the same


@ON_EACH
async def test_ready_is_the_primary_account_unless_there_is_one(url: str) -> None:
    accounts = Accounts(url)
    for session in ("s1", "s2"):
        await account(url, session)
        assert await accounts.connected(session, f"6{session[1:]}")
    primaries = [(await accounts.read(session) or {})["is_primary"] for session in ("s1", "s2")]
    assert primaries == [True, False]
    assert await accounts.available(1) == ["s1", "s2"]
    await accounts.disconnected("s1")
    assert await accounts.available(1) == ["s2"]
    assert await accounts.available(2) == []


@ON_EACH
async def test_a_message_is_found_by_an_index(url: str) -> None:
    engine = engine_of(url)
    async with engine.connect() as connection:
        indexes = await connection.run_sync(lambda it: inspect(it).get_indexes("chats"))
    assert ["whatsapp_message_id"] in [one["column_names"] for one in indexes]
    await engine.dispose()
