"""Webhooks that wait for their session, receivers with wishes, and the number that it all is of."""

import sqlalchemy as sa
from alembic import op

from waguard.store.types import JsonText, UtcDateTime

revision = "0004"
down_revision = "0003"

COLUMNS = {
    "waguard_deliveries": (
        lambda: sa.Column("tried_since", sa.Double),
        lambda: sa.Column("held_since", sa.Double),
        lambda: sa.Column("cause", sa.String(16)),
    ),
    "waguard_endpoints": (
        lambda: sa.Column("hold", sa.Boolean),
        lambda: sa.Column("events", JsonText),
    ),
    "waguard_outbox": (lambda: sa.Column("phone", sa.String(50)),),
    "waguard_sessions": (
        lambda: sa.Column("linked_phone", sa.String(50)),
        lambda: sa.Column("removed_at", UtcDateTime),
        lambda: sa.Column("unpaired", sa.Boolean),
    ),
}
LANE = "waguard_deliveries_lane"


def upgrade() -> None:
    # each step only where it is missing, as in 0001; new columns are empty, so no row is rewritten
    inspector = sa.inspect(op.get_bind())
    for table, columns in COLUMNS.items():
        there = {column["name"] for column in inspector.get_columns(table)}
        for column in (make() for make in columns):
            if column.name not in there:
                op.add_column(table, column)
    indexes = {index["name"] for index in inspector.get_indexes("waguard_deliveries")}
    if LANE not in indexes:
        op.create_index(LANE, "waguard_deliveries", ["session_id", "lane", "id"])


def downgrade() -> None:
    op.drop_index(LANE, "waguard_deliveries")
    for table, columns in COLUMNS.items():
        for column in (make() for make in columns):
            op.drop_column(table, column.name)
