"""Which installation the database belongs to, read and written where nobody may use it."""

import contextlib

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from waguard.core.installation import Found
from waguard.store import marker
from waguard.store.database import Database
from waguard.store.engine import commit_with_next
from waguard.store.rows import listed


class SqlInstallation:
    """Fills ``ports.store.InstallationStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def found(self, *, counted: bool) -> Found:
        """See ``ports.store.InstallationStore``."""
        async with self._database.writing_the_lease() as connection:
            rows = None
            if counted:
                every = listed(self._database.layout).subquery()
                rows = await connection.scalar(select(func.count()).select_from(every))
            commit_with_next(connection)
            return self._database.found(await marker.read(connection), rows=rows)

    async def mark(self, installation: str) -> str:
        """See ``ports.store.InstallationStore``."""
        with contextlib.suppress(IntegrityError):  # another host was faster
            async with self._database.writing_the_lease() as connection:
                await marker.write(connection, installation)
        async with self._database.writing_the_lease() as connection:
            return await marker.read(connection) or installation

    async def etcd(self, seen: str) -> str:
        """See ``ports.store.InstallationStore``."""
        async with self._database.reading_the_lease() as connection:
            if found := await marker.read_etcd(connection):
                return found
        with contextlib.suppress(IntegrityError):  # another host was faster
            async with self._database.writing_the_lease() as connection:
                await marker.write_etcd(connection, seen)
        async with self._database.reading_the_lease() as connection:
            return await marker.read_etcd(connection) or seen

    async def change_etcd(self, to: str) -> None:
        """See ``ports.store.InstallationStore``."""
        async with self._database.writing_the_lease() as connection:
            await marker.change_etcd(connection, to)
