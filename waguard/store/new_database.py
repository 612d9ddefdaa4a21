"""A database without any table of ours gets all of them at once, without Alembic."""

from sqlalchemy import Connection, inspect
from sqlalchemy.schema import CreateIndex, CreateTable

from waguard.store.models import ACCOUNTS, METADATA
from waguard.store.revision import HEAD, VERSIONS


def is_new(connection: Connection) -> bool:
    """Whether it has no table of ours; MySQL keeps those of a migration that was interrupted."""
    import waguard.store.shared_models  # noqa: F401, PLC0415 - only a cluster needs its tables

    ours = {*METADATA.tables, VERSIONS.name} - {ACCOUNTS.name}
    return ours.isdisjoint(inspect(connection).get_table_names())


def create(connection: Connection) -> None:
    """Create the tables as the newest migration leaves them; the application's own table stays as it is."""
    for table in (*METADATA.sorted_tables, VERSIONS):
        connection.execute(CreateTable(table, if_not_exists=True))
        if table is not ACCOUNTS:
            for index in sorted(table.indexes, key=str):
                connection.execute(CreateIndex(index))
    connection.execute(VERSIONS.insert().values(version_num=HEAD))
