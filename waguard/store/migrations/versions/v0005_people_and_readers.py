"""Whose LIDs and which numbers a session knows, and who of a group has read a message."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    # each step only where it is missing, as in 0001; no row of an older table is touched
    op.create_table(
        "waguard_people",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("session_id", SESSION_ID, nullable=False),
        sa.Column("lid", sa.String(128), nullable=False),
        sa.Column("number", sa.String(128), nullable=False),
        sa.Column("learned_at", sa.Double, nullable=False),
        if_not_exists=True,
    )
    _index("waguard_people", "waguard_people_session", "session_id", "id")
    op.create_table(
        "waguard_numbers",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("session_id", SESSION_ID, nullable=False),
        sa.Column("number", sa.String(128), nullable=False),
        sa.Column("known", sa.Boolean, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.UniqueConstraint("session_id", "number", name="waguard_numbers_once"),
        if_not_exists=True,
    )
    op.create_table(
        "waguard_readers",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("session_id", SESSION_ID, nullable=False),
        sa.Column("message_id", SESSION_ID, nullable=False),
        sa.Column("reader", sa.String(128), nullable=False),
        sa.Column("ack", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        if_not_exists=True,
    )
    _index("waguard_readers", "waguard_readers_message", "message_id", "session_id")
    _index("waguard_readers", "waguard_readers_age", "at")


def downgrade() -> None:
    op.drop_table("waguard_readers")
    op.drop_table("waguard_numbers")
    op.drop_table("waguard_people")


def _index(table: str, name: str, *columns: str) -> None:
    there = sa.inspect(op.get_bind()).get_indexes(table)
    if name not in {index["name"] for index in there}:
        op.create_index(name, table, list(columns))
