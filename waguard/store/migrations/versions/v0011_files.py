"""Files that are fetched after their messages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0011"
down_revision = "0010"

TABLE = "waguard_files"
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
        sa.Column("inbox_key", SESSION_ID, nullable=False),
        sa.Column("message_id", MESSAGE_ID, nullable=False),
        sa.Column("handle", sa.String(64), nullable=False),
        sa.Column("mimetype", sa.String(200), nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("error", sa.Text),
        sa.Column("at", sa.Double, nullable=False),
        sa.UniqueConstraint("handle", name="waguard_files_once"),
        sa.CheckConstraint(
            "state IN ('waiting', 'kept', 'failed')", name="waguard_files_state_check"
        ),
        if_not_exists=True,
    )
    _index("waguard_files_state", "state", "session_id", "id")
    _index("waguard_files_inbox", "session_id", "inbox_key")


def downgrade() -> None:
    op.drop_table(TABLE)


def _index(name: str, *columns: str) -> None:
    there = sa.inspect(op.get_bind()).get_indexes(TABLE)
    if name not in {index["name"] for index in there}:
        op.create_index(name, TABLE, list(columns))
