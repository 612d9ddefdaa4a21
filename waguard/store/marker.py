"""The marker of the installation as the database has it: one row, written once."""

from typing import Final

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.store.models import INSTALLATION

_ROW: Final = 1
_QUERY: Final = select(INSTALLATION.c.installation).where(INSTALLATION.c.id == _ROW)


def read_at_first(connection: Connection) -> str | None:
    """The marker, also of a database that has no table for it; None: it has none."""
    if not inspect(connection).has_table(INSTALLATION.name):
        return None
    return connection.execute(_QUERY).scalar()


async def read(connection: AsyncConnection) -> str | None:
    """The marker of a database that was opened; None: it has none."""
    found: str | None = await connection.scalar(_QUERY)
    return found


async def write(connection: AsyncConnection, installation: str) -> None:
    """Raises ``IntegrityError`` where there is one."""
    await connection.execute(insert(INSTALLATION).values(id=_ROW, installation=installation))
