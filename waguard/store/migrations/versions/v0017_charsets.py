"""MySQL and MariaDB: waguard's own text columns hold every text, whatever the database's default is.

What was cut off is made at the next start: the revision is written when all tables were tried.
"""

from alembic import op

from waguard.store.charsets import widen

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    widen(op.get_bind())


def downgrade() -> None:
    """Older code reads and writes wide columns as before."""
