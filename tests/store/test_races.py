"""Two transactions at once, in the one order that hurts. SQLite has one writer: nothing to race."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.replace import replace
from waguard.store.rows import Held
from waguard.store.sql import SqlStore
from waguard.store.work import Work

on_a_server = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)


@on_a_server
async def test_a_session_created_by_another_between_two_checks_is_taken_over(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = SqlStore(database), SqlStore(database)
    await first.open()
    await second.open()
    take, begun = Work.lock, False

    async def lock_late(work: Work, session_id: str) -> Held | None:
        nonlocal begun
        found = await take(work, session_id)
        if not begun:
            begun = True
            assert found is None
            await second.create("s1", 1, account_id=None, priority=0)
        return found

    monkeypatch.setattr(Work, "lock", lock_late)
    try:
        row: Any = await first.create("s1", 1, account_id=None, priority=0)
        assert (row.session_id, row.generation) == ("s1", 2)
    finally:
        await first.close()
        await second.close()


class Late:
    """A connection; something else happens between its first statement and the next."""

    def __init__(
        self, connection: AsyncConnection, between: Callable[[], Awaitable[object]]
    ) -> None:
        self._connection = connection
        self._between: Callable[[], Awaitable[object]] | None = between

    async def execute(self, statement: Any) -> Any:
        result = await self._connection.execute(statement)
        between, self._between = self._between, None
        if between:
            await between()
        return result


@on_a_server
async def test_a_row_that_came_after_the_lock_was_asked_for_is_not_used_unlocked(
    database: str,
) -> None:
    """It would be written from a reading that another transaction may have outdated."""
    first, second = SqlStore(database), SqlStore(database)
    await first.open()
    await second.open()
    try:
        async with first._database.writing() as work:
            late: Any = Late(
                work.connection, lambda: second.create("s1", 1, account_id=None, priority=0)
            )
            assert await replace(work, connection=late).lock("s1") is None
            locked = await work.lock("s1")
            assert locked is not None
            assert locked.row.generation == 1
    finally:
        await first.close()
        await second.close()
