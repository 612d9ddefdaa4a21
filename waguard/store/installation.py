"""The marker of the installation: one row, written once."""

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, delete, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.installation import Found
from waguard.store.models import INSTALLATION
from waguard.store.rows import listed

if TYPE_CHECKING:
    from waguard.store.database import Database

_ROW: Final = 1
_QUERY: Final = select(INSTALLATION.c.installation).where(INSTALLATION.c.id == _ROW)


class SqlInstallation:
    """Fills ``ports.store.InstallationStore``."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def found(self, *, counted: bool) -> Found:
        """See ``ports.store.InstallationStore``."""
        every = select(func.count()).select_from(listed(self._database.layout).subquery())
        async with self._database.writing_the_lease() as connection:
            rows = await connection.scalar(every) if counted else None
            return self._database.found(await marker(connection), rows=rows)

    async def mark(self, installation: str) -> None:
        """See ``ports.store.InstallationStore``."""
        row = {"id": _ROW, "installation": installation}
        async with self._database.writing_the_lease() as connection:
            await connection.execute(delete(INSTALLATION))
            await connection.execute(insert(INSTALLATION).values(row))


def read(connection: Connection) -> str | None:
    """The marker, also of a database that has no table for it."""
    if not inspect(connection).has_table(INSTALLATION.name):
        return None
    return connection.execute(_QUERY).scalar()


async def marker(connection: AsyncConnection) -> str | None:
    """The marker of a database that was opened."""
    found: str | None = await connection.scalar(_QUERY)
    return found
