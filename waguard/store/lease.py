"""The lease: one row, read and written by the database's own clock."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from sqlalchemy import Connection, Double, Row, false, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from waguard.core.lease import Holder, Lease, Terms, next_epoch
from waguard.store import marker
from waguard.store.engine import commit_with_next
from waguard.store.models import LEASE

_ROW: Final = 1
_OWN: Final = LEASE.c
# unix time with its fraction, wherever the server or the session thinks that it is
_NOW: Final = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    # CURRENT_TIMESTAMP is the beginning of the transaction, which may have waited for the row
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)",
    "mysql": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000e0)",
}
_NOW_OF: Final = _NOW | {"mariadb": _NOW["mysql"]}


LOCKED: Final = select(_OWN.epoch).where(_OWN.id == _ROW).with_for_update(read=True, key_share=True)
"""The epoch, with a lock that lets others read it and nobody take the lease until the transaction ends.

On PostgreSQL it does not wait for a renewal, nor a renewal for it: there new share locks pass an update that waits, and
writes that overlap would starve it. Only ``FOR UPDATE``, as ``acquire`` locks the row, waits for it. On MySQL and MariaDB,
whose locks wait in one queue, it is a share lock.
"""

Transaction = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


class SqlLease:
    """Fills ``ports.store.LeaseStore``. ``writing`` opens a transaction that is committed at its end, ``reading`` one
    that locks nothing."""

    def __init__(self, backend: str, writing: Transaction, reading: Transaction) -> None:
        self._now = now_of(backend)
        self._writing = writing
        self._reading = reading

    async def acquire(
        self, holder: Holder, terms: Terms, may: Callable[[Lease | None], bool], *, above: int = 0
    ) -> int | None:
        """See ``ports.store.LeaseStore``."""
        # who waits locks nothing: a waiter that stands still would keep the holder from renewing it
        async with self._reading() as connection:
            found = await connection.run_sync(read)
        if not may(found):
            return None
        try:
            return await self._try_acquire(holder, terms, may, above)
        except IntegrityError:  # somebody inserted the row a moment ago: now it can be read
            return await self._try_acquire(holder, terms, may, above)

    async def _try_acquire(
        self, holder: Holder, terms: Terms, may: Callable[[Lease | None], bool], above: int
    ) -> int | None:
        async with self._writing() as connection:
            query = select(LEASE, self._now.label("now")).where(_OWN.id == _ROW).with_for_update()
            row = (await connection.execute(query)).first()
            found = _lease(row) if row is not None else None
            if not may(found):
                return None
            epoch = next_epoch(holder, found, above)
            values = {
                **self._renewal(terms),
                "epoch": epoch,
                "machine": holder.machine,
                "runtime": holder.runtime,
                "host": holder.host,
                "pid": holder.pid,
                "instance": holder.instance,
                "taken_at": self._now,
                "released": False,
            }
            if found is None:
                await connection.execute(insert(LEASE).values(id=_ROW, **values))
            else:
                await connection.execute(update(LEASE).where(_OWN.id == _ROW).values(values))
        return epoch

    async def renew(self, epoch: int, terms: Terms, *, of: str | None = None) -> bool:
        """See ``ports.store.LeaseStore``."""
        ours = (_OWN.id == _ROW) & (_OWN.epoch == epoch) & (_OWN.released == false())
        if of is not None:
            ours &= marker.of(of)
        renewal = update(LEASE).where(ours).values(self._renewal(terms))
        async with self._writing() as connection:
            commit_with_next(connection)
            return (await connection.execute(renewal)).rowcount == 1

    async def release(self, epoch: int) -> None:
        """See ``ports.store.LeaseStore``."""
        ours = (_OWN.id == _ROW) & (_OWN.epoch == epoch)
        async with self._writing() as connection:
            await connection.execute(update(LEASE).where(ours).values(released=True))

    def _renewal(self, terms: Terms) -> dict[str, Any]:
        return {
            "renewed_at": self._now,
            "lasts": terms.lasts,
            "renewed_every": terms.renewed_every,
        }


def now_of(backend: str) -> ColumnElement[float]:
    """Unix time by the database's clock."""
    return literal_column(_NOW_OF[backend], Double)


def read(connection: Connection) -> Lease | None:
    """The lease as it is, without a lock on it; None: nobody ever took it."""
    query = select(LEASE, now_of(connection.dialect.name).label("now")).where(_OWN.id == _ROW)
    row = connection.execute(query).first()
    return _lease(row) if row is not None else None


def _lease(row: Row[Any]) -> Lease:
    return Lease(
        epoch=row.epoch,
        holder=Holder(
            machine=row.machine,
            runtime=row.runtime,
            host=row.host,
            pid=row.pid,
            instance=row.instance,
        ),
        terms=Terms(lasts=row.lasts, renewed_every=row.renewed_every),
        taken_at=row.taken_at,
        renewed_at=row.renewed_at,
        released=row.released,
        now=row.now,
    )
