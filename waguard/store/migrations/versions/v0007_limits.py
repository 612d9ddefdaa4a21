"""What WhatsApp grants a session no more of for a while: first contacts, pairing codes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # only where it is missing, as in 0001; there is one row a session
    columns = sa.inspect(op.get_bind()).get_columns("waguard_sessions")
    if "limits" not in {column["name"] for column in columns}:
        op.add_column("waguard_sessions", sa.Column("limits", sa.Text))


def downgrade() -> None:
    op.drop_column("waguard_sessions", "limits")
