"""The owners of sessions: rows of ``waguard_owners``, each written by compare-and-set on its epoch.

A claim waits for the share locks of those who write about the session (``epochs``). A transaction that waits has nothing
else locked: the one that claims many, as after the loss of a host, leaves out what others hold.

Each host reads all of them every one or two seconds, and mostly nothing has changed: so the server is asked for a sum over
them first (``_SUMS``), which is one value. The rows are read where it is another one than at the reading before.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    Update,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.cluster.records import Owner
from waguard.core.replace import replace
from waguard.store.database import Database
from waguard.store.deliveries import PENDING
from waguard.store.engine import skips_locked
from waguard.store.layout import Layout
from waguard.store.lease import now_of
from waguard.store.models import DELIVERIES, OWNERS, SESSIONS
from waguard.store.rows import listed

_OWN: Final = OWNERS.c
_COLUMNS: Final = (
    _OWN.session_id,
    _OWN.host,
    _OWN.incarnation,
    _OWN.epoch,
    _OWN.to_host,
    _OWN.moved_at,
)
_ROWS: Final = select(*_COLUMNS).order_by(_OWN.session_id)


def _mysql_sum(content: ColumnElement[Any]) -> ColumnElement[Any]:
    # 60 of its bits are a number that is exact on every server
    digits = func.conv(func.left(func.sha1(content), 15), 16, 10)
    return func.sum(cast(digits, BigInteger))


_SUMS: Final[Mapping[str, Callable[[ColumnElement[Any]], ColumnElement[Any]]]] = {
    "postgresql": lambda it: func.sum(func.hashtextextended(it, literal_column("0"))),
    "mysql": _mysql_sum,
    "mariadb": _mysql_sum,
}
"""Over the hashes of all rows, by the kind of database: another one after any change. Without one, rows are always read."""


class _Statements:
    """Made once for a layout: what makes them takes longer than the server."""

    def __init__(self, layout: Layout, backend: str) -> None:
        self.layout = layout
        name = layout.accounts.c.session_id
        own = layout.accounts.outerjoin(SESSIONS, SESSIONS.c.session_id == name)
        living = select(name).select_from(own).where(layout.is_ours(), ~layout.is_deleted())
        self.sessions = living.order_by(name)
        """The names of all that are not deleted."""
        self.sums: Select[Any] | None = None
        """Sums over the owners and over these names; None: this kind of database has none."""
        if sum_of := _SUMS.get(backend):
            # what is NULL would be left out
            texts = [func.coalesce(cast(it, String), "") if it.nullable else it for it in _COLUMNS]
            owners = select(sum_of(func.concat_ws("\n", *texts)))
            names = select(sum_of(living.subquery().c[0]))
            self.sums = select(owners.scalar_subquery(), names.scalar_subquery())


class SqlOwners:
    """Fills ``ports.cluster.Owners``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now = now_of(database.backend)
        self._statements: _Statements | None = None
        self._sums: Sequence[Any] | None = None
        """Those of the reading before …"""
        self._found: Sequence[Owner] = ()
        """… and what it found."""

    async def owners(self) -> Sequence[Owner]:
        async with self._database.reading() as (connection, layout):
            ask = self._statements
            if ask is None or ask.layout is not layout:
                ask = self._statements = _Statements(layout, self._database.backend)
            # before the rows: what changes in between is read once more
            sums = None if ask.sums is None else tuple((await connection.execute(ask.sums)).one())
            if sums is None or sums != self._sums:
                self._found = await _read(connection, ask.sessions)
                self._sums = sums
        return self._found

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

    async def claim_free(
        self, seen: Collection[Owner], host: str, incarnation: str
    ) -> Mapping[str, int]:
        """Where the server does not know SKIP LOCKED, none is."""
        epochs = {it.session: it.epoch for it in seen}
        rows = select(_OWN.session_id, _OWN.epoch).where(_OWN.session_id.in_(sorted(epochs)))
        async with self._database.writing() as work:
            if not skips_locked(work.connection.dialect):
                return {}
            held = await work.connection.execute(rows.with_for_update(skip_locked=True))
            same = [session for session, epoch in held if epochs.get(session) == epoch]
            if same:
                new = {"host": host, "incarnation": incarnation, "epoch": _OWN.epoch + 1}
                claimed = self._written(
                    _OWN.session_id == bindparam("of"), {**new, "to_host": None}
                )
                # row by row: an IN may read the whole table, and wait for the rows that were left out
                await work.connection.execute(claimed, [{"of": it} for it in same])
        return {session: epochs[session] + 1 for session in same}

    async def release(self, session: str, epoch: int, *, to_host: str | None) -> bool:
        nobody = {"host": None, "incarnation": None, "to_host": to_host}
        return await self._move(session, epoch, nobody)

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
            return bool((await work.connection.execute(self._written(same, new))).rowcount)

    def _written(self, some: ColumnElement[bool], new: Mapping[str, Any]) -> Update:
        return update(OWNERS).where(some).values(moved_at=self._now, **new)


async def _read(connection: AsyncConnection, sessions: Select[Any]) -> list[Owner]:
    """By name; what is left of deleted ones comes last."""
    # the sessions first: one that is created meanwhile seems to be deleted, which ends nothing
    living = list(await connection.scalars(sessions))
    texts: dict[str | None, str | None] = {}

    def once(it: str | None) -> str | None:
        """Thousands of rows have a few hosts and incarnations."""
        return texts.setdefault(it, it)

    rows: dict[str, Owner] = {}
    for session, host, incarnation, epoch, to_host, moved_at in await connection.execute(_ROWS):
        rows[session] = Owner(
            session=session,
            host=once(host),
            incarnation=once(incarnation),
            epoch=epoch,
            to_host=once(to_host),
            moved_at=moved_at,
        )
    found = [rows.pop(it) if it in rows else _unowned(it) for it in living]
    return [*found, *(replace(it, deleted=True) for it in rows.values())]


def _unowned(session: str) -> Owner:
    return Owner(session=session, host=None, incarnation=None, epoch=0)
