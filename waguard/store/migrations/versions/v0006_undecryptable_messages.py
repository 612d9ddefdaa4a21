"""Messages that WhatsApp Web could not decrypt yet."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

TABLE = "waguard_undecryptable"
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
MESSAGE_ID = sa.String(256).with_variant(
    mysql.VARCHAR(256, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    # each step only where it is missing, as in 0001; no row of an older table is touched
    op.create_table(
        TABLE,
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("session_id", SESSION_ID, nullable=False),
        sa.Column("workspace_id", sa.BigInteger, nullable=False),
        sa.Column("message_id", MESSAGE_ID, nullable=False),
        sa.Column("chat", sa.String(128)),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("inbox_key", SESSION_ID),
        sa.UniqueConstraint("session_id", "message_id", name="waguard_undecryptable_once"),
        sa.CheckConstraint(
            "state IN ('waiting', 'readable', 'over', 'given_up')",
            name="waguard_undecryptable_state_check",
        ),
        if_not_exists=True,
    )
    _index("waguard_undecryptable_age", "state", "since")
    _index("waguard_undecryptable_inbox", "session_id", "inbox_key")


def downgrade() -> None:
    op.drop_table(TABLE)


def _index(name: str, *columns: str) -> None:
    there = sa.inspect(op.get_bind()).get_indexes(TABLE)
    if name not in {index["name"] for index in there}:
        op.create_index(name, TABLE, list(columns))
