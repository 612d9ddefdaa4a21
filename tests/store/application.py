"""The application's side of the table: it inserts, updates and reads rows past waguard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.store.memory import Account, MemoryStore


class Application(Protocol):
    """What the tests do in the application's name; ``provider_type`` etc. where it has them."""

    async def insert(self, session_id: str, workspace_id: int, **columns: Any) -> None: ...
    async def update(self, session_id: str, **columns: Any) -> None: ...
    async def read(self, session_id: str) -> dict[str, Any]: ...


class MemoryApplication:
    """Changes the rows of a ``MemoryStore``."""

    def __init__(self, store: MemoryStore) -> None:
        self._accounts = store.accounts

    async def insert(self, session_id: str, workspace_id: int, **columns: Any) -> None:
        self._accounts[session_id] = Account(session_id, workspace_id, **columns)

    async def update(self, session_id: str, **columns: Any) -> None:
        for name, value in columns.items():
            setattr(self._accounts[session_id], name, value)

    async def read(self, session_id: str) -> dict[str, Any]:
        return asdict(self._accounts[session_id])


class SqlApplication:
    """Speaks plain SQL over connections of its own; ``lasting`` ones are there until it is closed."""

    def __init__(self, url: str, *, lasting: bool = False) -> None:
        self._engine = create_async_engine(url, poolclass=None if lasting else NullPool)

    async def close(self) -> None:
        await self._engine.dispose()

    async def insert(self, session_id: str, workspace_id: int, **columns: Any) -> None:
        row = {"session_id": session_id, "workspace_id": workspace_id, **columns}
        values = ", ".join(map(_literal, row.values()))
        await self.run(f"INSERT INTO whatsapp_accounts ({', '.join(row)}) VALUES ({values})")

    async def update(self, session_id: str, **columns: Any) -> None:
        values = ", ".join(f"{name} = {_literal(value)}" for name, value in columns.items())
        where = f"session_id = {_literal(session_id)}"
        await self.run(f"UPDATE whatsapp_accounts SET {values} WHERE {where}")

    async def read(self, session_id: str) -> dict[str, Any]:
        query = f"SELECT * FROM whatsapp_accounts WHERE session_id = {_literal(session_id)}"
        return (await self.rows(query))[0]

    async def rows(self, query: str) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            found = await connection.execute(text(query.replace(":", r"\:")))
            return [dict(row._mapping) for row in found]

    async def run(self, *statements: str) -> None:
        async with self._engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement.replace(":", r"\:")))

    async def run_alone(self, statement: str) -> None:
        """Outside of a transaction, as CREATE DATABASE wants it."""
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text(statement))

    @asynccontextmanager
    async def holding(self, query: str) -> AsyncIterator[None]:
        """A transaction that keeps what ``query`` locks."""
        async with self._engine.begin() as connection:
            await connection.execute(text(query))
            yield


def _literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case datetime():
            return f"'{value:%Y-%m-%d %H:%M:%S}'"
        case _:
            return "'" + str(value).replace("'", "''") + "'"
