"""The application's table as it really is, and where each value lives."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    cast,
    false,
    inspect,
    literal,
    or_,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.schema import MetaData
from sqlalchemy.types import JSON, DateTime, LargeBinary, TypeEngine

from waguard.errors import WaguardError
from waguard.store.charsets import holdable, of_accounts
from waguard.store.models import ACCOUNTS, SESSIONS, Provider
from waguard.store.types import (
    JsonText,
    MysqlTimestamp,
    NativeEnum,
    UtcDateTime,
    length_of,
    storable,
)

_MIGRATE = "run the application's migrations, or name another database in database.url"
_CHARSET = "charset"
_UTF8 = {None, "utf8", "utf8mb3"}
NEEDED = ("session_id", "workspace_id", "phone_number", "status")


class Layout(Struct, frozen=True):
    """``whatsapp_accounts`` with the columns that this installation has."""

    accounts: Table
    bytewise: bool
    """The database compares text by collation (MySQL); an id must match byte by byte."""

    def has(self, name: str) -> bool:
        """Whether the application's table has the column ``name``."""
        return name in self.accounts.c

    def home(self, name: str) -> Column[Any]:
        """The column that holds ``name``: the application's, else its stand-in."""
        return (self.accounts if self.has(name) else SESSIONS).c[name]

    def split(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """``values`` for the application's row and for waguard's, each cut to what fits.

        What neither has a column for (an older table without ``is_active``) is left out.
        """
        shared = {name: value for name, value in values.items() if self.has(name)}
        own = {n: v for n, v in values.items() if n not in shared and n in SESSIONS.c}
        return fit(self.accounts, shared), fit(SESSIONS, own)

    def takes_id(self, session_id: str) -> bool:
        """Whether a row of ``session_id`` is found again: its bytes are compared, and only those of ASCII are the same
        in other character sets than UTF-8."""
        column = self.accounts.c.session_id
        same = session_id.isascii() or column.info.get(_CHARSET) in _UTF8
        return same and as_held(column, session_id) == session_id

    def is_session(self, session_id: str | BindParameter[str]) -> ColumnElement[bool]:
        """The application's row of exactly ``session_id``."""
        column = self.accounts.c.session_id
        if isinstance(session_id, str) and not self.takes_id(session_id):
            return false()
        if not self.bytewise:
            return column == session_id
        given = literal(session_id) if isinstance(session_id, str) else session_id
        exact = cast(column, LargeBinary) == cast(given, LargeBinary)
        return and_(column == session_id, exact)  # the first finds it by index

    def is_ours(self) -> ColumnElement[bool]:
        """Rows that waguard may touch: everything that is not another provider's."""
        accounts = self.accounts.c
        sessions = and_(accounts.session_id.is_not(None), accounts.workspace_id.is_not(None))
        if not self.has("provider_type"):
            return sessions
        provider = accounts.provider_type
        return and_(sessions, or_(provider.is_(None), provider == Provider.WEBJS.value))

    def is_deleted(self) -> ColumnElement[bool]:
        """Deleted here or there: an application that gains the column keeps our deletions."""
        ours = SESSIONS.c.deleted_at.is_not(None)
        return ours | self.accounts.c.deleted_at.is_not(None) if self.has("deleted_at") else ours


def fit(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with every text as its column can hold it."""
    return {
        name: as_held(table.c[name], value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def as_held(column: Column[Any], value: str) -> str:
    """``value`` as the column can hold it."""
    return holdable(storable(value, length_of(column.type)), column.info.get(_CHARSET))


def reflect(connection: Connection) -> Layout:
    """Read the table's columns, and nothing else of it. Raises ``WaguardError`` where it cannot serve."""
    try:
        found = inspect(connection).get_columns(ACCOUNTS.name)
    except NoSuchTableError:
        raise WaguardError("there is no such table", field=ACCOUNTS.name, remedy=_MIGRATE) from None
    charsets = of_accounts(connection)
    columns = (
        Column(
            it["name"],
            _portable_type(it["name"], it["type"]),
            info={_CHARSET: charsets.get(it["name"])},
        )
        for it in found
    )
    accounts = Table(ACCOUNTS.name, MetaData(), *columns)
    for name in NEEDED:
        if name not in accounts.c:
            raise WaguardError(
                f"the table has no column {name}",
                field=f"{ACCOUNTS.name}.{name}",
                remedy=_MIGRATE,
            )
    return Layout(accounts, bytewise=connection.dialect.name in {"mysql", "mariadb"})


def _portable_type(name: str, found: TypeEngine[Any]) -> TypeEngine[Any]:
    if type(found).__module__.startswith("sqlalchemy.dialects.postgresql."):
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MB that others do without

        match found:
            case postgresql.ENUM(name=str() as enum):
                return NativeEnum(enum, found.schema)
            case postgresql.JSON():
                return JSON(none_as_null=True)
            case _:
                pass
    match found:
        case mysql.ENUM():
            return ACCOUNTS.c[name].type if name in ACCOUNTS.c else found
        case mysql.TIMESTAMP():
            return MysqlTimestamp()
        case DateTime():
            return UtcDateTime(timezone=found.timezone)
        case _:
            return JsonText() if name == "metadata" else found
