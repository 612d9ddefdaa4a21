"""A deadline for each statement on the application's tables, which the server itself keeps."""

from math import ceil
from typing import Final

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

# with old statistics PostgreSQL may scan a table that has an index; where nothing but a scan is possible
# its price would have each statement compiled first
_NO_SCANS: Final = (
    "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('enable_seqscan', 'jit')"
)


def limit_statements(engine: AsyncEngine, seconds: float) -> None:
    """From now on, on each new connection of ``engine``: PostgreSQL, MySQL or MariaDB."""
    backend = engine.dialect.name

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        try:
            for statement in settings(backend, cursor, seconds):
                cursor.execute(statement)
        finally:
            cursor.close()
        connection.commit()

    event.listen(engine.sync_engine, "connect", prepare)


def settings(backend: str, cursor: DBAPICursor, seconds: float) -> list[str]:
    """What a new connection executes; ``cursor`` is its own."""
    milliseconds = ceil(seconds * 1000)
    if backend == "postgresql":
        return [f"SET statement_timeout = {milliseconds}", _NO_SCANS]
    cursor.execute("SELECT VERSION()")
    limit = (
        f"max_statement_time = {seconds}"
        if "MariaDB" in str(cursor.fetchone())
        else f"max_execution_time = {milliseconds}"
    )
    return [f"SET SESSION {limit}", f"SET SESSION lock_wait_timeout = {ceil(seconds)}"]
