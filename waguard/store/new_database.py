"""A database without any table of ours gets all of them at once, without Alembic."""

from sqlalchemy import Connection, MetaData, Table, inspect
from sqlalchemy.schema import CreateIndex, CreateTable

from waguard.store.charsets import widen
from waguard.store.models import ACCOUNTS, METADATA
from waguard.store.revision import HEAD, VERSIONS


def is_new(connection: Connection) -> bool:
    """Whether it has no table of ours; MySQL keeps those of a migration that was interrupted."""
    import waguard.store.shared_models  # noqa: F401, PLC0415 - only a cluster needs its tables

    ours = {*METADATA.tables, VERSIONS.name} - {ACCOUNTS.name}
    return ours.isdisjoint(inspect(connection).get_table_names())


def create(connection: Connection) -> None:
    """Create the tables as the newest migration leaves them; the application's own table stays as it is."""
    has_accounts = inspect(connection).has_table(ACCOUNTS.name)
    for table in (*METADATA.sorted_tables, _versions(connection)):
        if table is not ACCOUNTS or not has_accounts:  # MariaDB warns of IF NOT EXISTS
            connection.execute(CreateTable(table, if_not_exists=True))
        if table is not ACCOUNTS:
            for index in sorted(table.indexes, key=str):
                connection.execute(CreateIndex(index))
    widen(connection)
    connection.execute(VERSIONS.insert().values(version_num=HEAD))


def _versions(connection: Connection) -> Table:
    """Without the name of its key where that is ignored: MariaDB warns of it, as of a migration that failed."""
    if connection.dialect.name in {"postgresql", "sqlite"}:
        return VERSIONS
    versions = VERSIONS.to_metadata(MetaData())
    versions.primary_key.name = None
    return versions
