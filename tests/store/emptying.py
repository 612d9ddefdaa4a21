"""A database of a server whose test is over, as it was made: empty, its numbers begin again, its tables unchanged."""

from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from waguard.store.revision import VERSION_TABLE

_POSTGRESQL: Final = f"""
DO $$
DECLARE it record;
BEGIN
  SET LOCAL lock_timeout = '1s';
  SET LOCAL session_replication_role = replica;
  FOR it IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    IF it.tablename <> '{VERSION_TABLE}' THEN EXECUTE format('DELETE FROM %I', it.tablename); END IF;
  END LOOP;
  PERFORM setval(seqrelid::regclass, seqstart, false) FROM pg_sequence;
END $$
"""
_POSTGRESQL_SHAPE: Final = f"""
SELECT attrelid::regclass || ' ' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull
       || ' ' || coalesce(pg_get_expr(adbin, adrelid), '') AS it
  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE relnamespace = 'public'::regnamespace AND attnum > 0
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT version_num FROM {VERSION_TABLE}
ORDER BY it
"""
_MARIADB: Final = (
    "SET SESSION innodb_lock_wait_timeout = 1, lock_wait_timeout = 1, foreign_key_checks = 0"
)
_MARIADB_SHAPE: Final = f"""
SELECT CONCAT_WS(' ', TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME) AS it
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
UNION ALL SELECT CONCAT_WS(' ', TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, NON_UNIQUE)
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()
UNION ALL SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
UNION ALL SELECT version_num FROM {VERSION_TABLE}
ORDER BY it
"""
_MARIADB_TABLES: Final = "SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"


async def shape(url: str) -> list[str]:
    """How its tables are made."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        return await _shape(connection)


async def emptied(url: str) -> list[str] | None:
    """Its shape, and nothing is in it; None: something still uses it."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.exec_driver_sql(_POSTGRESQL)
            else:
                await _empty_mariadb(connection)
            return await _shape(connection)
    except DBAPIError:
        return None


async def _shape(connection: AsyncConnection) -> list[str]:
    query = _POSTGRESQL_SHAPE if connection.dialect.name == "postgresql" else _MARIADB_SHAPE
    return list((await connection.exec_driver_sql(query)).scalars())


async def _empty_mariadb(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql(_MARIADB)
    for name, number in [tuple(it) for it in await connection.exec_driver_sql(_MARIADB_TABLES)]:
        if name != VERSION_TABLE:
            await connection.exec_driver_sql(f"DELETE FROM `{name}`")
        if (number or 1) > 1:
            await connection.exec_driver_sql(f"ALTER TABLE `{name}` AUTO_INCREMENT = 1")
