"""Which daemon supervises what is in this database."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # where it is missing, as in 0001; no row of an older table is touched
    op.create_table(
        "waguard_lease",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("machine", sa.String(64), nullable=False),
        sa.Column("runtime", sa.Text, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("instance", sa.String(64), nullable=False),
        sa.Column("taken_at", sa.Double, nullable=False),
        sa.Column("renewed_at", sa.Double, nullable=False),
        sa.Column("lasts", sa.Double, nullable=False),
        sa.Column("renewed_every", sa.Double, nullable=False),
        sa.Column("released", sa.Boolean, nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("waguard_lease")
