"""Several hosts: who owns which session, and the leases of hosts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0014"
down_revision = "0013"

SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    # where they are missing, as in 0001; no row of an older table is touched
    op.create_table(
        "waguard_owners",
        sa.Column("session_id", SESSION_ID, primary_key=True),
        sa.Column("host", sa.String(255)),
        sa.Column("incarnation", sa.String(64)),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("to_host", sa.String(255)),
        sa.Column("moved_at", sa.Double),
        if_not_exists=True,
    )
    op.create_table(
        "waguard_hosts",
        sa.Column("host", SESSION_ID, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("waguard_hosts")
    op.drop_table("waguard_owners")
