"""Whether the database needs a migration, asked without Alembic.

Alembic costs 11 MB until the daemon ends, and a fifth of a second; nearly every start finds nothing to do.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    inspect,
    select,
)

VERSION_TABLE: Final = "waguard_alembic_version"
HEAD: Final = "0017"

VERSIONS: Final = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
"""As Alembic makes it."""


def noted(connection: Connection) -> list[str]:
    """The revisions that the database says it has; none of a new one."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return []
    return list(connection.execute(select(VERSIONS.c.version_num)).scalars())


def is_newer(revisions: Sequence[str]) -> bool:
    """Whether a newer waguard has migrated it: its tables serve this one too, as migrations only add."""
    return len(revisions) == 1 and revisions[0].isdecimal() and int(revisions[0]) > int(HEAD)


def is_current(revisions: Sequence[str]) -> bool:
    """Whether there is nothing to migrate."""
    return list(revisions) == [HEAD] or is_newer(revisions)
