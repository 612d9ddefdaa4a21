"""What was received, what is to be delivered to whom."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    # each step only where it is missing, as in 0001
    op.create_table(
        "waguard_inbox",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("session_id", SESSION_ID, nullable=False),
        sa.Column("key", SESSION_ID, nullable=False),
        sa.Column("workspace_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("chat", sa.String(128)),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.Column("backfilled", sa.Boolean, nullable=False),
        sa.Column("payload", LONG_TEXT, nullable=False),
        sa.UniqueConstraint("session_id", "key", name="waguard_inbox_once"),
        if_not_exists=True,
    )
    op.create_table(
        "waguard_deliveries",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("endpoint", SESSION_ID, nullable=False),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("session_id", SESSION_ID, nullable=False),
        sa.Column("lane", sa.String(255), nullable=False),
        sa.Column("body", BODY, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("died_at", sa.Double),
        sa.CheckConstraint("state IN ('pending', 'dead')", name="waguard_deliveries_state_check"),
        sqlite_autoincrement=True,
        if_not_exists=True,
    )
    op.create_table(
        "waguard_endpoints",
        sa.Column("session_id", SESSION_ID, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text),
        sa.Column("updated_at", sa.DateTime, nullable=False),
        if_not_exists=True,
    )
    _index("waguard_inbox", "waguard_inbox_chat", "session_id", "chat", "at")
    _index("waguard_inbox", "waguard_inbox_age", "stored_at")
    _index("waguard_deliveries", "waguard_deliveries_queue", "state", "endpoint", "id")
    _index("waguard_deliveries", "waguard_deliveries_session", "session_id", "event")


def _index(table: str, name: str, *columns: str) -> None:
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns))
