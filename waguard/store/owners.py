"""The owners of sessions: rows of ``waguard_owners``, each written by compare-and-set on its epoch.

A claim waits for the share locks of those who write about the session (``epochs``). Each transaction locks one row of
these: so it waits with nothing locked.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from waguard.core.cluster.records import Owner
from waguard.store.database import Database
from waguard.store.deliveries import PENDING
from waguard.store.lease import now_of
from waguard.store.models import DELIVERIES, OWNERS, SESSIONS
from waguard.store.rows import listed

_OWN: Final = OWNERS.c
_ROWS: Final = select(
    _OWN.session_id.label("session"),
    _OWN.host,
    _OWN.incarnation,
    _OWN.epoch,
    _OWN.to_host,
    _OWN.moved_at,
).order_by(_OWN.session_id)
_NOBODY: Final = {"host": None, "incarnation": None, "epoch": 0}


class SqlOwners:
    """Fills ``ports.cluster.Owners``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now = now_of(database.backend)

    async def owners(self) -> Sequence[Owner]:
        async with self._database.reading() as (connection, layout):
            name = layout.accounts.c.session_id
            own = layout.accounts.outerjoin(SESSIONS, SESSIONS.c.session_id == name)
            query = select(name).select_from(own).where(layout.is_ours(), ~layout.is_deleted())
            # the sessions first: one that is created meanwhile seems to be deleted, which ends nothing
            living = list(await connection.scalars(query.order_by(name)))
            rows = {row.session: row._asdict() for row in await connection.execute(_ROWS)}
        found = [Owner(**rows.pop(it, _NOBODY | {"session": it})) for it in living]
        return [*found, *(Owner(**row, deleted=True) for row in rows.values())]

    async def claim(self, seen: Owner, host: str, incarnation: str) -> int | None:
        epoch = seen.epoch + 1
        new = {"host": host, "incarnation": incarnation, "epoch": epoch, "to_host": None}
        if await self._move(seen.session, seen.epoch, new):
            return epoch
        if seen.epoch:
            return None
        # apart: what a duplicate locks would be in the way of another's update
        try:
            async with self._database.writing() as work:
                row = {"session_id": seen.session, "moved_at": self._now, **new}
                await work.connection.execute(insert(OWNERS).values(row))
        except IntegrityError:
            return None
        return epoch

    async def release(self, session: str, epoch: int, *, to_host: str | None) -> bool:
        nobody = {"host": None, "incarnation": None, "to_host": to_host}
        return await self._move(session, epoch, nobody)

    async def ask_for_move(self, session: str, to_host: str) -> bool:
        asked = update(OWNERS).where(_OWN.session_id == session).values(to_host=to_host)
        async with self._database.writing() as work:
            return bool((await work.connection.execute(asked)).rowcount)

    async def drop(self, sessions: Collection[str]) -> None:
        """One that is being created has its row locked: it is waited for."""
        waiting = select(DELIVERIES.c.session_id).where(PENDING).distinct()
        async with self._database.reading() as (connection, _):
            some = waiting.where(DELIVERIES.c.session_id.in_(sorted(sessions)))
            sessions = set(sessions).difference(await connection.scalars(some))
        for session in sorted(sessions):
            own = _OWN.session_id == session
            async with self._database.writing() as work:
                held = select(_OWN.epoch).where(own).with_for_update()
                if await work.connection.scalar(held) is not None:
                    lives = listed(work.layout).where(work.layout.is_session(session)).exists()
                    # whoever adds a webhook holds the row
                    waits = waiting.where(DELIVERIES.c.session_id == session).exists()
                    await work.connection.execute(delete(OWNERS).where(own, ~lives, ~waits))

    async def _move(self, session: str, epoch: int, new: Mapping[str, Any]) -> bool:
        same: ColumnElement[bool] = (_OWN.session_id == session) & (_OWN.epoch == epoch)
        async with self._database.writing() as work:
            moved = update(OWNERS).where(same).values(moved_at=self._now, **new)
            return bool((await work.connection.execute(moved)).rowcount)
