"""Which sessions have proxies of their own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0013"
down_revision = "0012"

SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    # where it is missing, as in 0001; no row of an older table is touched
    op.create_table(
        "waguard_proxies",
        sa.Column("session_id", SESSION_ID, primary_key=True),
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("waguard_proxies")
