"""Which installation this database belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # where it is missing, as in 0001; no row of an older table is touched
    op.create_table(
        "waguard_installation",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("installation", sa.String(64), nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("waguard_installation")
