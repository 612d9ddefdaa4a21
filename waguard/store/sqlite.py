"""aiosqlite with fewer steps: a statement is one way to the connection's thread and back.

aiosqlite takes one for the cursor, one to execute, one to fetch and one to close, SQLAlchemy one to
begin and one to roll back what is committed already. Each is two switches between threads, and a
message that is to be sent waits for all of them: together they took longer than the disk.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Self

import aiosqlite


class Connection(aiosqlite.Connection):
    """What SQLAlchemy's dialect uses of aiosqlite's; ``connected`` makes one."""

    _begin: str | None = None
    _last = False
    _clean = True
    """Nothing was asked of the thread since the last end of a transaction was known."""
    _opened: sqlite3.Connection | None = None

    def open(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        """In the thread."""
        self._opened = sqlite3.connect(*args, **kwargs)
        return self._opened

    def stop(self) -> asyncio.Future[Any] | None:
        """End the thread; of a caller that was cancelled meanwhile it closes what was opened for nobody, too."""
        self._tx.put_nowait((None, self._close_opened))
        return super().stop()

    def _close_opened(self) -> None:
        if self._opened:
            self._opened.close()

    def begin_by(self, statement: str) -> None:
        """Run it with the next statement, in the same step: a transaction of none needs none."""
        self._begin = statement

    def commit_with_next(self) -> None:
        """The next statement is the last one: commit in the same step, if it does not fail. Whoever
        is cut off from it does not know whether it is committed, as with any commit."""
        self._last = True

    def cursor(self) -> "Cursor":  # type: ignore[override] # aiosqlite's is awaited
        """Made without the thread."""
        return Cursor(self)

    async def run(self, do: Callable[[sqlite3.Cursor], None]) -> None:
        """In the thread, with a cursor of its own, in the transaction that was asked for."""
        last, self._last = self._last, False
        await self._execute(_run, self._conn, self._begin, do, last)
        self._clean = last

    async def commit(self) -> None:
        await self._end(super().commit)

    async def rollback(self) -> None:
        await self._end(super().rollback)

    async def _end(self, end: Callable[[], Any]) -> None:
        self._begin, self._last = None, False
        if not self._clean:
            await end()
            self._clean = True

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # a caller that is cancelled leaves the thread at work: then only an end that was awaited helps
        self._clean = False
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call] # it has no types


class Cursor:
    """As DB-API has it, awaited; all rows are fetched at once, as SQLAlchemy does anyway."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1
        self._rows: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        await self._connection.run(lambda it: self._keep(it.execute(sql, parameters)))

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._connection.run(lambda it: self._keep(it.executemany(sql, parameters)))

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """The thread has closed its own already."""

    def _keep(self, done: sqlite3.Cursor) -> None:
        self._rows = done.fetchall()
        self.description, self.rowcount = done.description, done.rowcount
        self.lastrowid = done.lastrowid


def connected(*args: Any, **kwargs: Any) -> Connection:
    """In the place of ``aiosqlite.connect``: to be awaited. Its thread ends with the process."""
    made = Connection(lambda: made.open(*args, **kwargs), iter_chunk_size=64)
    made._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does with one of its own making
    return made


def _run(
    connection: sqlite3.Connection,
    begin: str | None,
    do: Callable[[sqlite3.Cursor], None],
    last: bool,  # noqa: FBT001 - the thread is handed all by position
) -> None:
    if begin and not connection.in_transaction:
        connection.execute(begin)
    cursor = connection.cursor()
    try:
        do(cursor)
    finally:
        cursor.close()
    if last:
        connection.commit()
