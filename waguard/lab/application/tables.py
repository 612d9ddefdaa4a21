"""The application's own tables, as it made them, in the database of the daemon."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    func,
    true,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

_PATIENCE: Final = 10.0  # s for SQLite's lock


def _enum(*values: str, name: str) -> Enum:
    """As Laravel makes one: MySQL has enums, elsewhere it is a text with a check."""
    checked = Enum(*values, name=name, native_enum=False, create_constraint=True, length=255)
    return Enum(*values, name=name).with_variant(checked, "postgresql", "sqlite")


METADATA: Final = MetaData()
_ID: Final = BigInteger().with_variant(Integer, "sqlite")
ACCOUNTS: Final = Table(
    "whatsapp_accounts",
    METADATA,
    Column("id", _ID, primary_key=True),
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
CONTACTS: Final = Table(
    "contacts",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("workspace_id", BigInteger, nullable=False),
    Column("phone", String(255), nullable=False),
    Column("created_at", DateTime),
    Column("deleted_at", DateTime),
)
CHATS: Final = Table(
    "chats",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("workspace_id", BigInteger, nullable=False),
    Column("whatsapp_account_id", BigInteger, index=True),
    Column("contact_id", _ID, ForeignKey(CONTACTS.c.id), nullable=False, index=True),
    Column("wam_id", String(128)),
    Column("whatsapp_message_id", String(128), index=True),
    Column("type", _enum("inbound", "outbound", name="type")),
    Column("message_status", String(16), nullable=False, server_default="pending"),
    Column("metadata", Text, nullable=False),
    Column("deleted_at", DateTime),
    Column("created_at", DateTime, server_default=func.now(), index=True),
)


def engine_of(url: str, *, create: bool = False) -> AsyncEngine:
    """An engine whose connections are closed after each use: a file that is moved away is not kept open."""
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
