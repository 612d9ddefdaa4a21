"""Several hosts: the keys that all of them accept, and which alerts were sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0016"
down_revision = "0015"

LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    # where they are missing, as in 0001; no row of an older table is touched
    op.create_table(
        "waguard_keys",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(8), nullable=False, unique=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_by", sa.String(255)),
        sa.Column("used_at", sa.Double),
        sa.Column("seal", sa.String(64), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "waguard_key_changes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "waguard_alerts",
        sa.Column("destination", sa.String(32), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("record", LONG, nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("waguard_alerts")
    op.drop_table("waguard_key_changes")
    op.drop_table("waguard_keys")
