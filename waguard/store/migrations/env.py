"""Alembic's entry: migrates over the connection that ``waguard.store.migrate`` hands in."""

from alembic import context

import waguard.store.shared_models  # noqa: F401 - its tables are some of them
from waguard.store.models import METADATA
from waguard.store.revision import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    # on SQLite too: BEGIN is ours (see ``engine``), so half a migration never stays
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
