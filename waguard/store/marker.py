"""The markers of the installation as the database has them: a row each, of which the first is written once.

The second is the id of the etcd that has the leases of the hosts that own sessions: what such a lease says decides whose
a session is, so nobody may compare it with a lease in another etcd.
"""

from typing import Final

from sqlalchemy import Connection, exists, insert, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from waguard.store.models import INSTALLATION

_ROW: Final = 1
_ETCD: Final = 2
_QUERY: Final = select(INSTALLATION.c.installation).where(INSTALLATION.c.id == _ROW)


def read_at_first(connection: Connection) -> str | None:
    """The marker, also of a database that has no table for it; None: it has none."""
    if not inspect(connection).has_table(INSTALLATION.name):
        return None
    return connection.execute(_QUERY).scalar()


def of(installation: str) -> ColumnElement[bool]:
    """Whether the database is marked as this installation's."""
    own = INSTALLATION.c
    return exists().where((own.id == _ROW) & (own.installation == installation))


async def read(connection: AsyncConnection) -> str | None:
    """The marker of a database that was opened; None: it has none."""
    found: str | None = await connection.scalar(_QUERY)
    return found


async def write(connection: AsyncConnection, installation: str) -> None:
    """Raises ``IntegrityError`` where there is one."""
    await connection.execute(insert(INSTALLATION).values(id=_ROW, installation=installation))


async def read_etcd(connection: AsyncConnection) -> str | None:
    """None: the hosts' leases were never in an etcd."""
    of = select(INSTALLATION.c.installation).where(INSTALLATION.c.id == _ETCD)
    found: str | None = await connection.scalar(of)
    return found


async def write_etcd(connection: AsyncConnection, etcd: str) -> None:
    """Raises ``IntegrityError`` where there is one."""
    await connection.execute(insert(INSTALLATION).values(id=_ETCD, installation=etcd))


async def change_etcd(connection: AsyncConnection, etcd: str) -> None:
    """From now on leases are in another one."""
    own = update(INSTALLATION).where(INSTALLATION.c.id == _ETCD)
    await connection.execute(own.values(installation=etcd))
