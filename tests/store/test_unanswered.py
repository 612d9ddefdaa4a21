"""What any host finds of the requests without a key whose replies were lost: on every database."""

import asyncio
from typing import Any

import pytest

from tests.store.conftest import BACKENDS, Wall
from tests.store.test_outbox import draft, find, keep, write
from waguard.core.messages.send_states import State
from waguard.ports.outbox import StateUpdate, Withdrawal
from waguard.store.models import OUTBOX
from waguard.store.outbox import UNANSWERED
from waguard.store.query_plans import why_scanned
from waguard.store.sql import SqlStore

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)


@every_database
async def test_a_request_is_found_by_its_content_while_its_reply_is_not_written(
    store: SqlStore, wall: Wall
) -> None:
    async def found(since: float = 0.0) -> int | None:
        row = await store.outbox.find_unanswered("same", since=since)
        return None if row is None else row.id

    same: dict[str, Any] = {"fingerprint": "same"}
    await keep(store, "other")
    await keep(store, "k", key="k", **same)
    await keep(store, "b", bulk_id="b", **same)
    assert await found() is None
    older, newer = await keep(store, "m", **same), await keep(store, "n", **same)
    assert await found() == newer
    assert await found(wall.time + 1) is None
    await write(store, StateUpdate(id=newer, state=State.FAILED))
    assert await found() == older, "what was never sent may be sent now"
    await write(store, StateUpdate(id=older, state=State.SENDING))
    await write(store, StateUpdate(id=older, state=State.SENT))
    assert await found() == older
    await write(store, StateUpdate(id=older, answered=True))
    assert await found() is None


@every_database
async def test_no_scan_finds_it(store: SqlStore) -> None:
    query = UNANSWERED.params(same="same", since=1.5)
    async with store._database.reading_limited(asyncio.Lock()) as (connection, _):
        why = await connection.run_sync(why_scanned, OUTBOX.c.created_at, query)
    assert why is None


@every_database
async def test_what_another_host_found_and_answered_is_not_withdrawn(store: SqlStore) -> None:
    """Its keeping seemed to fail at the host that was asked first."""
    numbers = [await keep(store, "m"), await keep(store, "n")]
    await write(store, StateUpdate(id=numbers[0], answered=True))
    withdrawn = [Withdrawal(draft(name).message_id) for name in ("m", "n")]
    assert await write(store, *withdrawn) == (0, 1)
    assert (await find(store, numbers[0])).state is State.ACCEPTED
