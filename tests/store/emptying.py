"""A database of a server whose test is over, as it was made: empty, its numbers begin again, its tables unchanged.
By the drivers alone: SQLAlchemy connects for three times as long."""

from typing import Any, Final

import asyncmy
import asyncpg  # type: ignore[import-untyped]
from asyncmy.errors import MySQLError
from sqlalchemy import make_url

from waguard.store.revision import VERSION_TABLE

# a table that nothing was ever written to has no pages
_POSTGRESQL: Final = f"""
DO $$
DECLARE it regclass;
BEGIN
  SET LOCAL lock_timeout = '1s';
  SET LOCAL session_replication_role = replica;
  FOR it IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname <> '{VERSION_TABLE}' AND pg_relation_size(oid) > 0 LOOP
    EXECUTE format('DELETE FROM %s', it);
  END LOOP;
  PERFORM setval(seqrelid::regclass, seqstart, false) FROM pg_sequence
    WHERE pg_sequence_last_value(seqrelid) IS NOT NULL;
END $$
"""
# who wrote each row of the catalogue: a copy has those of its template until something is altered
_CATALOGUE: Final = (
    "class", "attribute", "attrdef", "constraint", "index", "trigger", "type", "enum", "proc", "namespace", "rewrite"
)  # fmt: skip
_ROWS: Final = " UNION ALL ".join(
    f"SELECT '{name} ' || count(*) || ' ' || sum(xmin::text::bigint) FROM pg_{name}"
    for name in _CATALOGUE
)
_POSTGRESQL_SHAPE: Final = f"{_ROWS} UNION ALL SELECT version_num FROM {VERSION_TABLE}"
_MARIADB: Final = "SET SESSION innodb_lock_wait_timeout = 1, lock_wait_timeout = 1, foreign_key_checks = 0"  # fmt: skip
# with the name itself: by DATABASE() every database is searched
_MARIADB_SHAPE: Final = f"""
SELECT CONCAT_WS(' ', TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME) AS it
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{{name}}'
UNION ALL SELECT CONCAT_WS(' ', TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, NON_UNIQUE)
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = '{{name}}'
UNION ALL SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{{name}}'
UNION ALL SELECT version_num FROM {VERSION_TABLE}
ORDER BY it
"""
_MARIADB_TABLES: Final = "SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{name}'"  # fmt: skip


async def shape(url: str) -> list[str]:
    """How its tables are made."""
    return await (_postgresql if _is_postgresql(url) else _mariadb)(url, empty=False)


async def emptied(url: str) -> list[str] | None:
    """Its shape, and nothing is in it; None: something still uses it."""
    try:
        return await (_postgresql if _is_postgresql(url) else _mariadb)(url, empty=True)
    except (asyncpg.PostgresError, MySQLError):
        return None


def _is_postgresql(url: str) -> bool:
    return url.startswith("postgresql")


async def _postgresql(url: str, *, empty: bool) -> list[str]:
    place = make_url(url)
    connection = await asyncpg.connect(
        host=place.query["host"], user=place.username, database=place.database
    )
    try:
        if empty:
            await connection.execute(_POSTGRESQL)
        return [row[0] for row in await connection.fetch(_POSTGRESQL_SHAPE)]
    finally:
        await connection.close()


async def _mariadb(url: str, *, empty: bool) -> list[str]:
    place = make_url(url)
    connection = await asyncmy.connect(
        unix_socket=place.query["unix_socket"],
        user=place.username,
        database=place.database,
        charset="utf8mb4",
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            if empty:
                await _empty_mariadb(cursor, str(place.database))
            await cursor.execute(_MARIADB_SHAPE.format(name=place.database))
            return [row[0] for row in await cursor.fetchall()]
    finally:
        await connection.ensure_closed()


async def _empty_mariadb(cursor: Any, name: str) -> None:
    await cursor.execute(_MARIADB)
    await cursor.execute(_MARIADB_TABLES.format(name=name))
    for table, number in await cursor.fetchall():
        if table != VERSION_TABLE:
            await cursor.execute(f"DELETE FROM `{table}`")
        if (number or 1) > 1:
            await cursor.execute(f"ALTER TABLE `{table}` AUTO_INCREMENT = 1")
