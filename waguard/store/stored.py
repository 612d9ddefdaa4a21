"""The receiver's own table of messages, looked up by WhatsApp's ids."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, String, Table, Text, bindparam, cast, null, select
from sqlalchemy.exc import DBAPIError, NoSuchTableError
from sqlalchemy.schema import MetaData

from waguard.core.webhooks import stored
from waguard.core.webhooks.stored import (
    ACCOUNT,
    TYPE,
    Columns,
    Message,
    Presence,
    StoredKey,
    Unknown,
    kept_as,
)
from waguard.errors import WaguardError
from waguard.store.database import Database
from waguard.store.failures import in_words, is_away, is_late
from waguard.store.layout import Layout
from waguard.store.query_plans import why_scanned
from waguard.store.types import length_of

SIZES: Final = (1, 10, 100)
"""How many ids a statement has, so that the server prepares three; the last one is its bound."""
_TRIED: Final = ["waguard", "waguard 2"]
"""Ids that no message has."""


class Target:
    """A table that can be looked up."""

    def __init__(self, key: StoredKey, table: Table, layout: Layout) -> None:
        accounts = layout.accounts
        self.key = key
        self.ids = table.c[key.column]
        account = table.c.get(ACCOUNT) if layout.has("id") else None
        self.columns = Columns(
            length=length_of(self.ids.type),
            has_type=TYPE in table.c,
            has_account=account is not None,
        )
        type_ = cast(table.c[TYPE], Text) if TYPE in table.c else null()
        session: ColumnElement[Any] = null() if account is None else accounts.c.session_id
        found = select(self.ids.label("id"), type_.label("type"), session.label("session"))
        if account is not None:
            # outer: the receiver's table comes first in every plan, and few rows of it
            found = found.select_from(table.outerjoin(accounts, accounts.c.id == account))
        self.query = found.where(self.ids.in_(bindparam("ids", expanding=True)))


def _padded(values: Sequence[str]) -> dict[str, list[str]]:
    """Parameters for the query: the last value is repeated up to one of ``SIZES``."""
    size = next(size for size in SIZES if size >= len(values))
    return {"ids": [*values, *(values[-1] for _ in range(size - len(values)))]}


class SqlStored:
    """``ports.stored.StoredTable``; a part of ``SqlStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()  # it has one of the two connections
        self._target: Target | None = None

    @property
    def usable(self) -> bool:
        """Whether the database was opened, and may be used now."""
        return self._database.usable

    async def check(self, key: StoredKey) -> Unknown | None:
        """As the port says: reads the table's columns, the plan of its query, and two rows."""
        self._target = None
        try:
            async with self._database.reading_limited(self._turn) as (connection, layout):
                found = await connection.run_sync(checked, key, layout)
        except (WaguardError, DBAPIError) as error:
            return _unknown(key, error)
        if isinstance(found, Unknown):
            return found
        self._target = found
        return None

    async def received(
        self, key: StoredKey, messages: Collection[Message]
    ) -> Mapping[Message, Presence] | Unknown:
        found = await self._find(key, (message_id for _, message_id in messages))
        if isinstance(found, Unknown):
            return found
        return stored.received(messages, *found)

    async def sent(
        self, key: StoredKey, message_ids: Collection[str]
    ) -> Mapping[str, Presence] | Unknown:
        found = await self._find(key, message_ids)
        if isinstance(found, Unknown):
            return found
        return stored.sent(message_ids, *found)

    async def _find(
        self, key: StoredKey, message_ids: Iterable[str]
    ) -> tuple[list[stored.Row], Columns] | Unknown:
        target = self._target
        if target is None or target.key != key:
            if why := await self.check(key):
                return why
            return await self._find(key, message_ids)
        kept = (kept_as(it, target.columns) for it in message_ids)
        values = list(dict.fromkeys(it for it in kept if it is not None))
        rows: list[stored.Row] = []
        try:
            for first in range(0, len(values), SIZES[-1]):
                some = values[first : first + SIZES[-1]]
                async with self._database.reading_limited(self._turn) as (connection, _):
                    found = (await connection.execute(target.query, _padded(some))).all()
                rows += (stored.Row(row.id, row.type, row.session) for row in found)
        except (WaguardError, DBAPIError) as error:
            return _unknown(key, error)
        return rows, target.columns


def _unknown(key: StoredKey, error: Exception) -> Unknown:
    return Unknown(f"{key}: {in_words(error)}", passes=is_away(error), late=is_late(error))


def checked(connection: Connection, key: StoredKey, layout: Layout) -> Target | Unknown:
    """The table as it is, or why it does not serve. Raises ``DBAPIError``."""
    try:
        table = Table(key.table, MetaData(), autoload_with=connection, resolve_fks=False)
    except NoSuchTableError:
        return Unknown(f"{key}: there is no such table, or it may not be read")
    if key.column not in table.c:
        return Unknown(f"{key}: the table has no such column")
    if not isinstance(table.c[key.column].type, String):
        return Unknown(f"{key}: the column is no text")
    target = Target(key, table, layout)
    if why := why_scanned(connection, target.ids, target.query.params(ids=_TRIED)):
        return Unknown(f"{key}: {why}")
    connection.execute(target.query, _padded(_TRIED[:1])).all()
    return target
