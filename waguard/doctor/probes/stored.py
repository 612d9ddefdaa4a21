"""The receiver's own table of messages, as waguard's database user sees it."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from waguard.core.webhooks.stored import DROP_IN, StoredKey, Unknown, parse
from waguard.doctor.checks.stored import Login, Stored
from waguard.errors import ConfigError, WaguardError
from waguard.store.engine import connect
from waguard.store.engine import parse as parse_url
from waguard.store.failures import in_words, is_denial
from waguard.store.layout import reflect
from waguard.store.stored import checked

WITHIN: Final = 10.0  # s for all of it


async def stored(url: str, key: str | None) -> Stored | None:
    """Try ``key``, or else where the application keeps its ids; None: the database does not answer."""
    tried = parse(key) if key else DROP_IN
    try:
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            return await asyncio.to_thread(_sqlite, Path(parsed.database or ""), tried)
        engines = connect(parsed, busy_timeout=WITHIN / 2, deadline=WITHIN / 2)
    except ConfigError:
        return None
    try:
        async with asyncio.timeout(WITHIN), engines.limited.connect() as connection:
            return await connection.run_sync(_tried, tried)
    except (OSError, TimeoutError, SQLAlchemyError):
        return None
    finally:
        await engines.dispose()


def _sqlite(path: Path, key: StoredKey) -> Stored | None:
    """Read only: no file is made here."""

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=WITHIN / 2)

    engine = create_engine("sqlite://", creator=opened)
    try:
        with engine.connect() as connection:
            return _tried(connection, key)
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()


def _tried(connection: Connection, key: StoredKey) -> Stored:
    login, problem, denied = _login(connection), None, False
    try:
        found = checked(connection, key, reflect(connection))
        if isinstance(found, Unknown):
            problem = found.reason
    except (DBAPIError, WaguardError) as error:
        denied = isinstance(error, DBAPIError) and is_denial(error)
        problem = f"{key}: {in_words(error)}"
    return Stored(key=key, problem=problem, denied=denied, login=login)


def _login(connection: Connection) -> Login | None:
    match connection.dialect.name:
        case "sqlite":
            return None
        case "postgresql":
            asked = text("SELECT current_user, current_database()")
            user, database = connection.execute(asked).one()
            space = inspect(connection).default_schema_name or "public"
            return Login("postgresql", str(user), "", str(database), space)
        case _:
            asked = text("SELECT CURRENT_USER(), DATABASE()")
            account, database = connection.execute(asked).one()
            user, _, host = str(account).rpartition("@")
            client = "mariadb" if getattr(connection.dialect, "is_mariadb", False) else "mysql"
            return Login(client, user, host, str(database), str(database))
