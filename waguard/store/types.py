"""Column types that mean the same on SQLite, MySQL and PostgreSQL."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Dialect, String, Text, cast, func
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.types import DateTime, TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; in the database what the column keeps: UTC, with or without a zone.

    The application writes UTC wall times into columns without a zone, and so does this.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime
    cache_ok: bool | None = True

    def __init__(self, *, timezone: bool = False) -> None:
        super().__init__(timezone=timezone)
        self.timezone = timezone

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc if self.timezone else utc.replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        del dialect
        if not isinstance(value, datetime):  # MySQL's zero date comes as text, and means none
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class MysqlTimestamp(UtcDateTime):
    """As in a column without a zone, but for the hour a year that the server's zone leaves out: what is written in it
    becomes the first time after it, where the server would refuse the row."""

    cache_ok: bool | None = True

    def bind_expression(self, bindparam: BindParameter[datetime]) -> ColumnElement[datetime]:
        return func.from_unixtime(func.unix_timestamp(bindparam))


class NativeEnum(TypeDecorator[str]):
    """Text for us, a PostgreSQL enum in the table: cast both ways, so any of its values passes."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok: bool | None = True

    def __init__(self, name: str, schema: str | None = None) -> None:
        super().__init__()
        self.name = name
        self.schema = schema

    def bind_expression(self, bindparam: BindParameter[str]) -> ColumnElement[str]:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MB that others do without

        # created by the application: its values are not needed to name it in a cast
        native = postgresql.ENUM(name=self.name, schema=self.schema, create_type=False)
        return cast(cast(bindparam, Text), native)

    def column_expression(self, column: ColumnElement[str]) -> ColumnElement[str]:
        return cast(column, Text)


class JsonText(TypeDecorator[Any]):
    """JSON in a column of characters, or in MySQL's JSON, which takes and gives text."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok: bool | None = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """In ASCII. Times become ISO-8601; what JSON does not know becomes its ``str``."""
        del dialect
        if value is None:
            return None
        return as_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        del dialect
        return None if value is None else json.loads(value)


class LongJsonText(JsonText):
    """JSON that may be longer than MySQL's TEXT, which ends at 64 KiB."""

    cache_ok: bool | None = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.LONGTEXT())
        return self.impl_instance


def as_json(value: Any) -> str:
    """As ``JsonText`` writes it."""
    return json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=str))


def storable(text: str, limit: int | None = None) -> str:
    """``text`` without what some database refuses: NUL, lone surrogates, more than ``limit``."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]


def length_of(type_: object) -> int | None:
    """How many characters a column of ``type_`` holds; None: no limit that matters."""
    return type_.length if isinstance(type_, String) else None
