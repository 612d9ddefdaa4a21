"""What a session's own receiver gets of a message."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # where it is missing, as in 0001; it is empty, so no row is rewritten
    columns = sa.inspect(op.get_bind()).get_columns("waguard_endpoints")
    if "fields" not in {column["name"] for column in columns}:
        op.add_column("waguard_endpoints", sa.Column("fields", sa.String(16)))


def downgrade() -> None:
    op.drop_column("waguard_endpoints", "fields")
