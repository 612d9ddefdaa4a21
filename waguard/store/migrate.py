"""Brings the database to the newest revision. Imported late: Alembic is heavy."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def configuration(connection: Connection) -> Config:
    """Alembic's settings without an ini file; the scripts are found inside the package."""
    config = Config()
    config.set_main_option("script_location", "waguard.store:migrations")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Run what is missing, in the connection's transaction; nothing when all is there."""
    command.upgrade(configuration(connection), "head")
