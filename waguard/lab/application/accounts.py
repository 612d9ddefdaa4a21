"""``whatsapp_accounts`` as the application made and uses it, in the database of the daemon."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

_PATIENCE: Final = 10.0  # s for SQLite's lock


def _enum(*values: str, name: str) -> Enum:
    """As Laravel makes one: MySQL has enums, elsewhere it is a text with a check."""
    checked = Enum(*values, name=name, native_enum=False, create_constraint=True, length=255)
    return Enum(*values, name=name).with_variant(checked, "postgresql", "sqlite")


_METADATA: Final = MetaData()
ACCOUNTS: Final = Table(
    "whatsapp_accounts",
    _METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("workspace_id", BigInteger, nullable=False),
    Column("session_id", String(191), nullable=False, unique=True),
    Column("phone_number", String(50)),
    Column("provider_type", _enum("meta", "webjs", name="provider_type"), server_default="webjs"),
    Column(
        "status",
        _enum("qr_scanning", "authenticated", "connected", "disconnected", "failed", name="status"),
        nullable=False,
    ),
    Column("is_primary", Boolean, nullable=False, server_default=false()),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    Column("qr_code", Text),
    Column("session_data", Text),
    Column("metadata", JSON(none_as_null=True)),
    Column("last_activity_at", DateTime),
    Column("last_connected_at", DateTime),
    Column("disconnected_at", DateTime),
    Column(
        "disconnect_reason",
        _enum(
            *("user_initiated", "instance_restart", "timeout", "error", "qr_expired", "unknown"),
            name="disconnect_reason",
        ),
    ),
    Column("disconnect_details", Text),
    Column("health_score", Integer, nullable=False, server_default="100"),
    Column("assigned_instance_index", Integer),
    Column("assigned_instance_url", String(255)),
    Column("created_by", BigInteger),
    Column("created_at", DateTime),
    Column("updated_at", DateTime),
    Column("deleted_at", DateTime),
)


class Accounts:
    """Reads and writes the rows past the daemon. A row that is soft-deleted is gone for it."""

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)
        self._url = url

    async def migrate(self) -> None:
        """Make the table, before the daemon starts for the first time."""
        engine = engine_of(self._url, create=True)
        async with engine.begin() as connection:
            await connection.run_sync(_METADATA.create_all)
        await engine.dispose()

    async def insert(self, session: str, **columns: Any) -> None:
        """A new row."""
        now = _now()
        row = {"session_id": session, "created_at": now, "updated_at": now, **columns}
        async with self._engine.begin() as connection:
            await connection.execute(insert(ACCOUNTS).values(row))

    async def update(self, session: str, **columns: Any) -> bool:
        """Whether there is such a row."""
        changed = (
            update(ACCOUNTS)
            .where(ACCOUNTS.c.session_id == session, ACCOUNTS.c.deleted_at.is_(None))
            .values(updated_at=_now(), **columns)
        )
        async with self._engine.begin() as connection:
            return bool((await connection.execute(changed)).rowcount)

    async def read(self, session: str) -> dict[str, Any] | None:
        """The row, or None where it is gone or soft-deleted."""
        wanted = select(*(column for column in ACCOUNTS.c if not isinstance(column.type, DateTime)))
        wanted = wanted.where(ACCOUNTS.c.session_id == session, ACCOUNTS.c.deleted_at.is_(None))
        async with self._engine.connect() as connection:
            found = (await connection.execute(wanted)).mappings().first()
        return None if found is None else dict(found)

    async def statuses(self) -> dict[str, str]:
        """By session."""
        wanted = select(ACCOUNTS.c.session_id, ACCOUNTS.c.status)
        async with self._engine.connect() as connection:
            found = await connection.execute(wanted.where(ACCOUNTS.c.deleted_at.is_(None)))
            return {row.session_id: row.status for row in found}

    async def connected(self, session: str, phone: str | None) -> bool:
        """What ``session_ready`` does to the row."""
        return await self.update(
            session, status="connected", phone_number=phone, last_connected_at=_now()
        )

    async def disconnected(self, session: str) -> bool:
        """What ``session_disconnected`` does, and a status that cannot be had."""
        return await self.update(session, status="disconnected", disconnected_at=_now())

    async def delete(self, session: str) -> bool:
        """Soft."""
        return await self.update(session, deleted_at=_now())


def engine_of(url: str, *, create: bool = False) -> AsyncEngine:
    """Of connections that are closed after each use: a file that is moved away is not kept open."""
    made = make_url(url)
    if made.get_backend_name() != "sqlite":
        return create_async_engine(made, poolclass=NullPool)
    path = URL.create(
        made.drivername,
        database=f"file:{made.database}",
        # only ``create`` may make the file: an empty one where the database is away would be a lie
        query={"mode": "rwc" if create else "rw", "uri": "true"},
    )
    return create_async_engine(path, poolclass=NullPool, connect_args={"timeout": _PATIENCE})


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
