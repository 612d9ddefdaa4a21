"""The application's rows of sessions as they are now, and their correction."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, Select, bindparam
from sqlalchemy.exc import DBAPIError

from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.core.webhooks.account_row_gate import AccountRow
from waguard.core.webhooks.stored import Unknown
from waguard.errors import WaguardError
from waguard.store.database import Database
from waguard.store.failures import in_words
from waguard.store.layout import Layout
from waguard.store.rows import Held, held, rows
from waguard.store.types import storable

_CONNECTED = DerivedStatus(Status.CONNECTED)


class SqlAccountRows:
    """``ports.stored.AccountRows``; a part of ``SqlStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()  # it has one of the two connections
        self._kept: tuple[Layout, Select[Any]] | None = None

    async def rows_of(self, session_ids: Collection[str]) -> Mapping[str, AccountRow] | Unknown:
        """As the port says; a session of another provider has no row."""
        wanted = {name for name in session_ids if storable(name) == name}
        if not wanted:
            return {}
        try:
            async with self._database.reading_limited(self._turn) as (connection, layout):
                query = self._query(layout)
                found = (await connection.execute(query, {"ids": sorted(wanted)})).all()
        except (WaguardError, DBAPIError) as error:
            return Unknown(in_words(error))
        # the database compares by collation, we do not
        return {
            row.session_id: _read(row) for row in found if row.ours and row.session_id in wanted
        }

    def _query(self, layout: Layout) -> Select[Any]:
        """Kept: to put it together takes longer than the question."""
        if self._kept is None or self._kept[0] is not layout:
            some = layout.accounts.c.session_id.in_(bindparam("ids", expanding=True))
            self._kept = layout, rows(layout).where(some)
        return self._kept[1]

    async def correct(self, session_id: str, *, said: str, generation: int) -> bool:
        """As the port says."""
        async with self._database.writing() as work:
            lost = await work.lost((session_id,))
            session = None if lost else await work.lock_ours(session_id)
            if session is None or not _is_as_read(session, said, generation):
                return False
            await work.derive(session, _CONNECTED, None)
            return True


def _read(row: Row[Any]) -> AccountRow:
    account = held(row)
    return AccountRow(
        status=account.row.status,
        active=account.active,
        deleted=account.deleted,
        wanted=account.wanted and account.row.removed_at is None,
        reason=account.row.disconnect_reason,
        phone=row.phone_number,
        displaced=account.displaced is not None,
        generation=account.row.generation,
    )


def _is_as_read(session: Held, said: str, generation: int) -> bool:
    """Under its lock, where nobody has decided otherwise meanwhile."""
    row = session.row
    wanted = row.desired_up and row.removed_at is None
    by_person = row.status == Status.DISCONNECTED and row.disconnect_reason == Reason.USER_INITIATED
    return wanted and not by_person and row.status == said and row.generation == generation
