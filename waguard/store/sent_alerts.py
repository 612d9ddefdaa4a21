"""What each destination of alerts has got, for the next host of a cluster that sends them: a row each."""

import contextlib
from collections.abc import Mapping

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from waguard.store.database import Database
from waguard.store.shared_models import SENT_ALERTS


class SqlSentAlerts:
    """Each call raises ``DatabaseUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> Mapping[str, str]:
        """The records by the ids of destinations."""
        async with self._database.reading() as (connection, _):
            rows = await connection.execute(select(SENT_ALERTS))
            return {row.destination: row.record for row in rows}

    async def write(self, records: Mapping[str, tuple[float, str]]) -> None:
        """Replace these, which are of that unix time, but for later ones; others stay: hosts may have other destinations.
        The records are ASCII."""
        for destination, (at, record) in sorted(records.items()):
            if await self._replaced(destination, at, record):
                continue
            with contextlib.suppress(IntegrityError):  # another host was faster
                async with self._database.writing() as work:
                    row = {"destination": destination, "at": at, "record": record}
                    await work.connection.execute(insert(SENT_ALERTS).values(row))

    async def _replaced(self, destination: str, at: float, record: str) -> bool:
        """Whether there was one."""
        same = SENT_ALERTS.c.destination == destination
        async with self._database.writing() as work:
            there = select(SENT_ALERTS.c.at).where(same).with_for_update()
            before = await work.connection.scalar(there)
            if before is not None and before < at:
                later = update(SENT_ALERTS).where(same)
                await work.connection.execute(later.values(at=at, record=record))
        return before is not None
