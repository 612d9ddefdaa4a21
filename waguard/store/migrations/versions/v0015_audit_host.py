"""Which host of a cluster has recorded an entry of the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    names = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("waguard_events")}
    if "host" not in names:
        op.add_column("waguard_events", sa.Column("host", sa.String(255)))


def downgrade() -> None:
    op.drop_column("waguard_events", "host")
