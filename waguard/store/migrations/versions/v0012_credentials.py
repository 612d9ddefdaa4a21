"""Credentials that hosts share."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"

SESSION_ID = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    # where they are missing, as in 0001; no row of an older table is touched
    op.create_table(
        "waguard_credentials",
        sa.Column("session_id", SESSION_ID, primary_key=True),
        sa.Column("host", sa.String(64), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("pairing", sa.String(64)),
        sa.Column("files", BODY),
        sa.Column("files_epoch", sa.BigInteger, nullable=False),
        sa.Column("shipped_at", sa.Double, nullable=False),
        sa.Column("orderly", sa.Boolean, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "waguard_credential_parts",
        sa.Column("session_id", SESSION_ID, primary_key=True),
        sa.Column("file", sa.String(32), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("bytes", BODY, nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("waguard_credential_parts")
    op.drop_table("waguard_credentials")
