"""The database: no table is made, nothing is migrated or written, no lock is kept."""

import asyncio
import shlex
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Executable,
    String,
    create_engine,
    inspect,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from waguard.config.addresses import is_loopback
from waguard.core.lease import Lease
from waguard.core.replace import replace
from waguard.doctor.checks.database import Database, Row
from waguard.errors import ConfigError, WaguardError
from waguard.store import charsets, own_tables
from waguard.store import lease as leases
from waguard.store.engine import connect, name_of, parse
from waguard.store.layout import Layout, reflect
from waguard.store.models import LEASE, OWNERS
from waguard.store.outbox import KEEPS_NONE
from waguard.store.revision import HEAD, VERSION_TABLE

WITHIN: Final = 10.0  # s for all of it
CHECKED: Final = 64 << 20  # bytes; a larger file is not read as a whole
_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
_SERVICES: Final = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mariadb"}


async def database(url: str, host: str | None = None) -> Database:
    """Ask it once. ``host``: the name of this one in a cluster, whose rows alone are read."""
    try:
        parsed = parse(url)
    except ConfigError as error:
        return Database(name="database.url", error=error.message, remedy=error.remedy)
    name = name_of(parsed)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        name = str(path)
        if not path.exists():
            return Database(name=name, absent=True)
        return await asyncio.to_thread(_sqlite, path)
    try:
        engines = connect(parsed, busy_timeout=WITHIN / 2)
    except ConfigError as error:
        return Database(
            name=name, error=error.message, remedy="Install its driver", command=error.remedy
        )
    try:
        async with asyncio.timeout(WITHIN), engines.reader.connect() as connection:
            seen = await connection.run_sync(_seen, name, host)
            return await connection.run_sync(_tried, seen)
    except TimeoutError:
        why = f"no answer within {WITHIN:g} s"
    except (OSError, SQLAlchemyError) as error:
        why = _first_line(error)
    finally:
        await engines.dispose()
    return Database(name=name, error=why, command=_asked(parsed))


def _asked(url: URL) -> str:
    """How a person sees whether its server is there."""
    if url.host and not is_loopback(url.host):
        return f"nc -vz {url.host} {url.port or _PORTS[url.get_backend_name()]}"
    return f"systemctl status {_SERVICES[url.get_backend_name()]}"


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def _sqlite(path: Path) -> Database:
    """By SQLite itself, which makes no file here: what it writes is its index of the log (-shm)."""

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=WITHIN / 2)

    engine = create_engine("sqlite://", creator=opened)
    try:
        with engine.connect() as connection:
            if path.stat().st_size <= CHECKED:
                said = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
                if said != "ok":
                    return Database(name=str(path), damage=str(said))
            return _seen(connection, str(path))
    except (OSError, SQLAlchemyError) as error:
        why = _first_line(error)
        if "malformed" in why or "not a database" in why:
            return Database(name=str(path), damage=why)
        return Database(name=str(path), error=why, command=f"ls -l {path}")
    finally:
        engine.dispose()


def _seen(connection: Connection, name: str, host: str | None = None) -> Database:
    tables = set(inspect(connection).get_table_names())
    refusal, rows = None, None
    try:
        layout = reflect(connection)
        rows = _rows(connection, layout, host if OWNERS.name in tables else None)
    except WaguardError as error:
        # an empty database gets its tables from the daemon
        refusal = error.message if "whatsapp_accounts" in tables or _is_theirs(tables) else None
    narrow = charsets.narrow(connection)
    revision = _revision(connection) if VERSION_TABLE in tables else None
    return Database(
        name=name,
        narrow=tuple(it.table for it in narrow),
        widen=_widening(connection.engine.url.database or "", narrow) if narrow else None,
        refusal=refusal,
        revision=revision,
        newest=HEAD,
        unfit=tuple(_refused(connection, own_tables.each())) if revision == HEAD else (),
        lease=_lease(connection) if LEASE.name in tables else None,
        now=_now(connection),
        rows=rows,
    )


def _tried(connection: Connection, seen: Database) -> Database:
    """With why it takes no writes: a right may be missing, or the server may be read only, or a replica."""
    if seen.revision != HEAD or seen.unfit:
        return seen
    [*why] = _refused(connection, [KEEPS_NONE])
    return replace(seen, unwritable=why[0] if why else None)


def _widening(database: str, narrow: Sequence[charsets.Narrow]) -> str:
    statements = "; ".join(it.statement for it in narrow)
    return f"mysql {database} -e {shlex.quote(statements)}"


def _is_theirs(tables: set[str]) -> bool:
    """Whether an application keeps its tables there, without that of the accounts."""
    return bool(tables - {VERSION_TABLE}) and not any(
        name.startswith("waguard_") for name in tables
    )


def _revision(connection: Connection) -> str | None:
    query = select(literal_column("version_num", String)).select_from(text(VERSION_TABLE))
    return max(map(str, connection.execute(query).scalars()), default=None)


def _refused(connection: Connection, statements: Iterable[Executable]) -> Iterator[str]:
    for statement in statements:
        try:
            with connection.begin_nested():
                connection.execute(statement)
        except SQLAlchemyError as error:
            yield _first_line(error)


def _now(connection: Connection) -> float:
    return float(connection.execute(select(leases.now_of(connection.dialect.name))).scalar_one())


def _lease(connection: Connection) -> Lease | None:
    return leases.read(connection)


def _rows(connection: Connection, layout: Layout, host: str | None) -> tuple[Row, ...]:
    columns = layout.accounts.c
    query = select(layout.accounts).where(layout.is_ours())
    if layout.has("deleted_at"):
        query = query.where(columns.deleted_at.is_(None))
    if host is not None:
        owned = select(OWNERS.c.session_id).where(OWNERS.c.host == host)
        query = query.where(columns.session_id.in_(owned))
    return tuple(_row(row._mapping) for row in connection.execute(query))  # noqa: SLF001 - its public name


def _row(row: Any) -> Row:
    get: Callable[[str], Any] = row.get
    active = get("is_active")
    return Row(
        session=str(row["session_id"]),
        workspace=int(row["workspace_id"]),
        status=str(row["status"]),
        phone=row["phone_number"],
        active=active is None or bool(active),
        address=get("assigned_instance_url"),
    )
