"""MySQL and MariaDB: waguard's own text columns hold every text, whatever the database's default is.

``waguard.store.migrate`` makes them wide after each migration; this one is there so that it happens.
"""

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """No table is changed here."""


def downgrade() -> None:
    """Older code reads and writes wide columns as before."""
