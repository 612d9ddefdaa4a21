"""A database that is put back to an older state of itself under a running daemon."""

import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from tests.store.application import SqlApplication

_TABLES: Final = ("waguard_inbox", "waguard_deliveries")
# ids begin again behind those of the copy, as after the restore of a dump
_NEXT_ID: Final = {
    "postgresql": "SELECT setval(pg_get_serial_sequence('{0}', 'id'), {1}, false)",
    "mysql": "ALTER TABLE {0} AUTO_INCREMENT = {1}",
}


class Copy:
    """Of an SQLite file; on a server, of the rows that are received."""

    def __init__(self, url: str) -> None:
        self._app = SqlApplication(url)
        self._backend = make_url(url).get_backend_name()
        self._file = Path(make_url(url).database or "")

    async def make(self) -> "Copy":
        if self._backend == "sqlite":
            with sqlite3.connect(self._file) as connection:
                connection.execute("VACUUM INTO ?", (str(self._copied),))
            connection.close()
        else:
            await self._app.run(
                *(f"CREATE TABLE copy_of_{it} AS SELECT * FROM {it}" for it in _TABLES)
            )
        return self

    async def put_back(self) -> None:
        if self._backend == "sqlite":
            for suffix in ("", "-wal", "-shm"):
                file = Path(f"{self._file}{suffix}")
                if file.exists():
                    file.rename(f"{file}.newer")
            self._copied.rename(self._file)
            return
        kind = "postgresql" if self._backend == "postgresql" else "mysql"
        for table in _TABLES:
            newest = f"SELECT max(id) AS id FROM copy_of_{table}"
            number = (await self._app.rows(newest))[0]["id"] or 0
            await self._app.run(
                f"DELETE FROM {table}",
                f"INSERT INTO {table} SELECT * FROM copy_of_{table}",
                f"DROP TABLE copy_of_{table}",
                _NEXT_ID[kind].format(table, number + 1),
            )

    @property
    def _copied(self) -> Path:
        return self._file.with_name("copy.db")
