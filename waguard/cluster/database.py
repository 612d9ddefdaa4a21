"""Hosts' leases in the database: one row for each host, changed by compare-and-set on its revision."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from waguard.cluster.record_format import decode, encode
from waguard.core.cluster.records import Found, HostRecord
from waguard.errors import DatabaseUnavailableError, EngineUnavailableError
from waguard.store.lease import Transaction
from waguard.store.models import HOSTS

DEADLINE: Final = 3.0  # s for a call
POLL: Final = 1.0  # s between two reads: what is seen late delays a takeover by as much, and 20 rows cost nothing
_OWN: Final = HOSTS.c


class DatabaseLeases:
    """Fills ``ports.cluster.HostLeases``, also while nobody may use the database otherwise. ``writing`` and ``reading``
    are as ``SqlLease`` has them; ``deadline`` and ``poll`` are seconds."""

    def __init__(
        self,
        writing: Transaction,
        reading: Transaction,
        *,
        deadline: float = DEADLINE,
        poll: float = POLL,
    ) -> None:
        self._writing, self._reading = writing, reading
        self._deadline = deadline
        self._poll = poll

    async def read(self, host: str) -> Found | None:
        """See ``ports.cluster.HostLeases``."""
        async with self._answering(), self._reading() as connection:
            row = (await connection.execute(select(HOSTS).where(_OWN.host == host))).first()
        return _found(row) if row is not None else None

    async def hosts(self) -> Sequence[Found]:
        """See ``ports.cluster.HostLeases``."""
        async with self._answering(), self._reading() as connection:
            rows = (await connection.execute(select(HOSTS).order_by(_OWN.host))).all()
        return [_found(row) for row in rows]

    async def put(self, record: HostRecord, revision: int) -> int | None:
        """See ``ports.cluster.HostLeases``."""
        # by the clock, so that one does not come back either when a row was deleted, or the database put back
        new = max(revision + 1, int(time.time() * 1_000_000))
        values = {"revision": new, "record": encode(record).decode()}
        seen = (_OWN.host == record.host) & (_OWN.revision == revision)
        try:
            async with self._answering(), self._writing() as connection:
                # the statement alone is the transaction: a host that stands still leaves no lock on the row
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                if revision == 0:
                    await connection.execute(insert(HOSTS).values(host=record.host, **values))
                    return new
                changed = await connection.execute(update(HOSTS).where(seen).values(values))
                return new if changed.rowcount == 1 else None
        except IntegrityError:  # there is one
            return None

    async def delete(self, host: str, revision: int) -> bool:
        """See ``ports.cluster.HostLeases``."""
        seen = (_OWN.host == host) & (_OWN.revision == revision)
        async with self._answering(), self._writing() as connection:
            return bool((await connection.execute(delete(HOSTS).where(seen))).rowcount)

    async def changes(self) -> AsyncIterator[Sequence[Found]]:
        """See ``ports.cluster.HostLeases``."""
        before: Sequence[Found] | None = None
        while True:
            found = await self.hosts()
            if found != before:
                yield found
                before = found
            await asyncio.sleep(self._poll)

    async def close(self) -> None:
        """Nothing of its own is open: the connections are the store's."""

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline):
                yield
        except TimeoutError as error:
            raise _unavailable(f"the database did not answer for {self._deadline:g} s") from error
        except DatabaseUnavailableError as error:
            raise _unavailable(error.message) from error


def _found(row: Row[Any]) -> Found:
    return Found(decode(row.record, row.host), row.revision)


def _unavailable(why: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"the hosts' leases cannot be read or written: {why}",
        field="database.url",
        remedy="check that the database runs, and can be reached and written",
    )
