"""What is sent, from its acceptance to the last ack."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
STATES = (
    "'accepted', 'sending', 'uncertain', 'refused', 'sent', 'delivered', 'read', 'failed', "
    "'cancelled'"
)


def upgrade() -> None:
    # each step only where it is missing, as in 0001
    op.create_table(
        "waguard_outbox",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("session_id", SESSION_ID, nullable=False),
        sa.Column("workspace_id", sa.BigInteger, nullable=False),
        sa.Column("chat", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", BODY, nullable=False),
        sa.Column("content", BODY),
        sa.Column("message_id", SESSION_ID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ack", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("idempotency_key", SESSION_ID),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("queued", sa.Boolean, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("send_at", sa.Double),
        sa.Column("expires_at", sa.Double),
        sa.Column("sent_at", sa.BigInteger),
        sa.Column("bulk_id", sa.String(36)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.UniqueConstraint("session_id", "idempotency_key", name="waguard_outbox_once"),
        sa.CheckConstraint(f"state IN ({STATES})", name="waguard_outbox_state_check"),
        sqlite_autoincrement=True,
        if_not_exists=True,
    )
    _index("waguard_outbox_message", "message_id")
    _index("waguard_outbox_state", "state", "id")
    _index("waguard_outbox_bulk", "bulk_id")
    _index("waguard_outbox_age", "created_at")


def downgrade() -> None:
    op.drop_table("waguard_outbox")


def _index(name: str, *columns: str) -> None:
    there = sa.inspect(op.get_bind()).get_indexes("waguard_outbox")
    if name not in {index["name"] for index in there}:
        op.create_index(name, "waguard_outbox", list(columns))
