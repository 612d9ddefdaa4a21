"""Character sets of MySQL and MariaDB: where the database's default is not utf8mb4, columns cannot hold every text.

waguard's own columns are made wide when the tables are created or migrated. A table above ``WIDENED_AT_START`` is left as
it is, for the server copies it, and so is one that cannot be converted: ``waguard doctor`` names it. The application's
table is never altered: what it cannot hold is replaced.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from loguru import logger
from msgspec import Struct
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from waguard.store.failures import in_words
from waguard.store.models import ACCOUNTS, METADATA

WIDE: Final = "utf8mb4"
# the application's columns that get other texts than ASCII: what is of an enum, JSON or a UUID is in every character set
WRITTEN: Final = frozenset({"session_id", "phone_number", "disconnect_details"})
WIDENED_AT_START: Final = 64 << 20  # bytes
_NARROW: Final = text(
    "SELECT c.table_name, c.column_name, c.character_set_name, c.column_type,"
    " CONCAT(IF(c.is_nullable = 'YES', '', ' NOT NULL'),"
    " COALESCE(CONCAT(' DEFAULT ', CASE WHEN c.column_default IS NULL THEN NULL"
    " WHEN VERSION() LIKE '%MariaDB%' THEN c.column_default"
    " WHEN c.extra LIKE '%DEFAULT_GENERATED%' THEN CONCAT('(', c.column_default, ')')"
    " ELSE QUOTE(c.column_default) END), ''),"
    " IF(c.column_comment = '', '', CONCAT(' COMMENT ', QUOTE(c.column_comment)))),"
    # only for what is found: the size of a table is read by opening it, and a join opens all of the server's. The larger one
    # of two whose names differ in case alone, which is not compared here
    " (SELECT MAX(t.data_length + t.index_length) FROM information_schema.tables t"
    " WHERE t.table_schema = DATABASE() AND t.table_name = c.table_name)"
    " FROM information_schema.columns c"
    " WHERE c.table_schema = DATABASE() AND c.character_set_name <> 'utf8mb4'"
    " ORDER BY c.table_name, c.ordinal_position"
)


class Column(Struct, frozen=True):
    """One that cannot hold every text; ``kind`` as the server writes its type, ``rest`` what follows it in a
    definition."""

    name: str
    charset: str
    kind: str
    rest: str


class Narrow(Struct, frozen=True):
    """A table with such columns; ``size`` in bytes, None: unknown."""

    table: str
    columns: Sequence[Column]
    size: int | None

    @property
    def statement(self) -> str:
        """What makes them wide, and no other column: keys stay compared byte by byte."""
        changes = [
            f"MODIFY `{it.name}` {it.kind} CHARACTER SET {WIDE}{it.rest}" for it in self.columns
        ]
        if self.table != ACCOUNTS.name:
            changes.insert(0, f"DEFAULT CHARACTER SET {WIDE}")
        return f"ALTER TABLE {self.table} {', '.join(changes)}"


def narrow(connection: Connection) -> Sequence[Narrow]:
    """waguard's tables that cannot hold every text, and the application's where waguard writes such a text to it."""
    if connection.dialect.name not in {"mysql", "mariadb"}:
        return ()
    columns, sizes = defaultdict[str, list[Column]](list), dict[str, int | None]()
    for table, name, charset, kind, rest, size in connection.execute(_NARROW):
        if table in METADATA.tables and (table != ACCOUNTS.name or name in WRITTEN):
            columns[table].append(Column(name, charset, kind, rest))
            sizes[table] = None if size is None else int(size)
    return [Narrow(table, found, sizes[table]) for table, found in columns.items()]


def is_large(it: Narrow) -> bool:
    """Whether a start does not convert it; so is a table of unknown size."""
    return it.size is None or it.size > WIDENED_AT_START


def widen(connection: Connection) -> None:
    """Make waguard's own columns wide where they are not. What stays as it is is logged."""
    for it in narrow(connection):
        if it.table == ACCOUNTS.name:
            continue
        if is_large(it):
            _report(it, f"it may be larger than {WIDENED_AT_START >> 20} MiB")
            continue
        try:
            connection.exec_driver_sql(it.statement)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            _report(it, in_words(error))


def _report(it: Narrow, why: str) -> None:
    logger.warning(
        "columns of the table {} stay without utf8mb4: {}",
        it.table,
        why,
        event="table_not_converted",
        table=it.table,
        why=why,
        remedy=it.statement,
    )


def of_accounts(connection: Connection) -> Mapping[str, str]:
    """The character sets of the application's columns that waguard writes, but for those that hold every text."""
    found = (it for it in narrow(connection) if it.table == ACCOUNTS.name)
    return {column.name: column.charset for it in found for column in it.columns}


def holdable(value: str, charset: str | None) -> str:
    """``value`` with a question mark for each character that a column of ``charset`` cannot hold; None: it holds all."""
    match charset:
        case None | "utf16" | "utf16le" | "utf32" | "gb18030":
            return value
        case "utf8mb3" | "utf8" | "ucs2":
            return "".join(it if it <= "\uffff" else "?" for it in value)
        case "latin1":  # MySQL's is Microsoft's
            return value.encode("cp1252", "replace").decode("cp1252")
        case _:
            return value.encode("ascii", "replace").decode()
