"""waguard's own tables, and whatsapp_accounts where the application has made none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    # each step only where it is missing: MySQL commits every statement, so an interrupted run
    # must be able to go on
    if not sa.inspect(op.get_bind()).has_table("whatsapp_accounts"):
        _create_accounts()
    op.create_table(
        "waguard_sessions",
        sa.Column("session_id", SESSION_ID, primary_key=True),
        sa.Column("workspace_id", sa.BigInteger, nullable=False),
        sa.Column("desired", sa.String(4), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.BigInteger),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("displaced_phone", sa.String(50)),
        sa.Column("disconnect_reason", sa.String(32)),
        sa.Column("disconnect_details", sa.Text),
        sa.Column("disconnected_at", sa.DateTime),
        sa.Column("last_connected_at", sa.DateTime),
        sa.Column("last_activity_at", sa.DateTime),
        sa.Column("metadata", sa.Text),
        sa.Column("deleted_at", sa.DateTime),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
        sa.CheckConstraint("desired IN ('up', 'down')", name="waguard_sessions_desired_check"),
        if_not_exists=True,
    )
    op.create_table(
        "waguard_events",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("session_id", SESSION_ID),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("evidence", sa.Text, nullable=False),
        if_not_exists=True,
    )
    indexes = sa.inspect(op.get_bind()).get_indexes("waguard_events")
    if "waguard_events_session" not in {index["name"] for index in indexes}:
        op.create_index("waguard_events_session", "waguard_events", ["session_id", "id"])


def _create_accounts() -> None:
    op.create_table(
        "whatsapp_accounts",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("uuid", sa.String(36), unique=True),
        sa.Column("workspace_id", sa.BigInteger, nullable=False),
        sa.Column("session_id", SESSION_ID, nullable=False, unique=True),
        sa.Column("phone_number", sa.String(50)),
        sa.Column("provider_type", sa.String(16), nullable=False, server_default="webjs"),
        sa.Column("status", sa.String(16), nullable=False, server_default="qr_scanning"),
        sa.Column("is_primary", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("qr_code", sa.Text),
        sa.Column("session_data", sa.Text),
        sa.Column("metadata", sa.JSON),
        sa.Column("last_activity_at", sa.DateTime),
        sa.Column("last_connected_at", sa.DateTime),
        sa.Column("disconnected_at", sa.DateTime),
        sa.Column("disconnect_reason", sa.String(32)),
        sa.Column("disconnect_details", sa.Text),
        sa.Column("health_score", sa.Integer, nullable=False, server_default="100"),
        sa.Column("session_restore_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_cleanup_at", sa.DateTime),
        sa.Column("assigned_instance_index", sa.Integer),
        sa.Column("assigned_instance_url", sa.String(255)),
        sa.Column("session_storage_path", sa.String(500)),
        sa.Column("session_file_size_bytes", sa.BigInteger),
        sa.Column("created_by", sa.BigInteger),
        sa.Column("created_at", sa.DateTime),
        sa.Column("updated_at", sa.DateTime),
        sa.Column("deleted_at", sa.DateTime),
        _one_of("provider_type", "meta", "webjs"),
        _one_of("status", "qr_scanning", "authenticated", "connected", "disconnected", "failed"),
        _one_of(
            "disconnect_reason",
            "user_initiated",
            "instance_restart",
            "timeout",
            "error",
            "qr_expired",
            "unknown",
        ),
    )


def _one_of(column: str, *values: str) -> sa.CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({allowed})", name=f"whatsapp_accounts_{column}_check")
