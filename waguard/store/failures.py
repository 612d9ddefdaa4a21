"""Which errors mean that the database does not answer, which that it is not as it has to be, and which may be the
fault of the row."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, InternalError
from sqlalchemy.exc import OperationalError as DatabaseOperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from waguard.errors import DatabaseUnavailableError, DatabaseUnfitError, WaguardError, is_outage

RETRY_AFTER = 5.0  # s

# SQLSTATE classes of PostgreSQL that say "not now" or "not this server": connection, wrong
# database or credentials, deadlock, resources, lock not available, operator, system, corruption
_POSTGRESQL_OUTAGES = {"08", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX"}
_POSTGRESQL_READ_ONLY = "25006"  # a primary that became a standby

# what may be the fault of the values, with those that the driver cannot bind: data, constraints, too large for an index
_ROW_FAULTS = {"22", "23", "54"}

# the same for the whole server: connection, resources; the server ends or begins
_POSTGRESQL_AWAY = {"08", "53"}
_POSTGRESQL_ENDS = "57P"

# MySQL reports these among its operational errors: no default for a column, a CHECK (MySQL's,
# MariaDB's); denied; unknown column, duplicate key name, wrong number of values; a text of a character set that the
# column has not, which is compared or written (MySQL 8 has codes of its own), a time that does not exist there
_MYSQL_REFUSALS = {1364, 3819, 4025}
_MYSQL_DENIALS = {1142, 1143}
# too many connections (of all, of this user), a server that ends; no connection, or a lost one
_MYSQL_AWAY = {1040, 1203, 1226, 1053, 2002, 2003, 2006, 2013}
# a lock was waited for too long; a statement took too long: MariaDB's, MySQL's
_MYSQL_LATE = {1205, 1969, 3024}
_POSTGRESQL_LATE = {"55P03", "57014"}
_MYSQL_UNFIT = {1054, 1061, 1136} | _MYSQL_DENIALS
_MYSQL_VALUES = {1267, 1292, 1300, 1366, 3854, 3988}


@asynccontextmanager
async def answering(database: str, *, within: float) -> AsyncIterator[asyncio.Timeout]:
    """Turn every outage inside into ``DatabaseUnavailableError``, also ``within`` s without an answer.

    Only what the row may be to blame for passes through: a violated constraint, a value that the column does not take.
    Everything else that the database refuses is ``DatabaseUnfitError``: it may be put right.
    """
    try:
        async with asyncio.timeout(within) as deadline:
            yield deadline
    except DBAPIError as error:
        if _is_of_the_row(error):
            raise
        made = unavailable if _is_outage(error) else unfit
        raise made(database, error.orig or error) from error
    except TimeoutError as error:
        why = f"no answer in {within:g} s" if deadline.expired() else "no answer in time"
        raise unavailable(database, why) from error
    except (OSError, PoolTimeoutError) as error:
        raise unavailable(database, error) from error


def unavailable(database: str, cause: BaseException | str) -> DatabaseUnavailableError:
    """The error, with the first line of its cause; ``database`` names it without a password."""
    return DatabaseUnavailableError(
        f"the database {database} does not answer: {_first_line(cause)}",
        field="database.url",
        remedy="check that it runs, can be reached and written, and is intact",
        retry_after=RETRY_AFTER,
    )


def unfit(database: str, cause: BaseException) -> DatabaseUnfitError:
    """As ``unavailable``, where a table, a column or a right is missing."""
    return DatabaseUnfitError(
        f"the database {database} refuses a statement: {_first_line(cause)}",
        field="database.url",
        remedy="put back the table, the column or the right that is missing; after a dump of an older waguard was"
        " restored, restart this one: it migrates the database",
        retry_after=RETRY_AFTER,
    )


def _first_line(cause: BaseException | str) -> str:
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def is_refusal(error: DBAPIError) -> bool:
    """Whether a constraint of the table refuses the row."""
    return isinstance(error, IntegrityError) or _mysql_code(error.orig) in _MYSQL_REFUSALS


def _is_of_the_row(error: DBAPIError) -> bool:
    """Whether the row may be to blame: the database refuses its values, or the driver cannot bind them."""
    if error.connection_invalidated:
        return False
    cause = error.orig
    if isinstance(error, DataError) or is_refusal(error) or _mysql_code(cause) in _MYSQL_VALUES:
        return True
    if isinstance(cause, sqlite3.Error):
        by_module = getattr(cause, "sqlite_errorcode", None) is None
        return by_module and not isinstance(cause, sqlite3.OperationalError)
    state = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None) or ""
    return state[:2] in _ROW_FAULTS


def _is_outage(error: DBAPIError) -> bool:
    """Whether the database does not answer now; ``error`` is no row's fault."""
    if error.connection_invalidated:
        return True
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _is_sqlite_outage(cause)
    state = getattr(cause, "pgcode", None)
    if state is not None:
        return state[:2] in _POSTGRESQL_OUTAGES or state == _POSTGRESQL_READ_ONLY
    if isinstance(error, DatabaseOperationalError | InterfaceError | InternalError):
        return _mysql_code(cause) not in _MYSQL_UNFIT
    return False


def _is_sqlite_outage(cause: sqlite3.Error) -> bool:
    """Busy, full, corrupt, read-only, no database…: all but SQLITE_ERROR, which is about the statement."""
    return getattr(cause, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR


def _mysql_code(cause: BaseException | None) -> object:
    return cause.args[0] if cause is not None and cause.args else None


def is_denial(error: DBAPIError) -> bool:
    """Whether the database's user lacks a right: on the schema, the table or the column."""
    state = getattr(error.orig, "pgcode", None)
    return state == "42501" or _mysql_code(error.orig) in _MYSQL_DENIALS


def is_away(error: Exception) -> bool:
    """Whether the database as a whole is away now. A deadline may be the statement's own, and a denial stays."""
    if not is_outage(error):
        return False
    cause = error.__cause__
    if not isinstance(cause, DBAPIError):
        return not isinstance(cause, TimeoutError | PoolTimeoutError)
    if cause.connection_invalidated or isinstance(cause.orig, sqlite3.Error):
        return True
    state = getattr(cause.orig, "pgcode", None) or ""
    return (
        state[:2] in _POSTGRESQL_AWAY
        or state[:3] == _POSTGRESQL_ENDS
        or (_mysql_code(cause.orig) in _MYSQL_AWAY)
    )


def is_late(error: Exception) -> bool:
    """Whether no answer came in time: ours or the server's deadline was over. Somebody's lock is one, too."""
    if not isinstance(error, DatabaseUnavailableError):
        return False
    cause = error.__cause__
    if not isinstance(cause, DBAPIError):
        return isinstance(cause, TimeoutError | PoolTimeoutError)
    state = getattr(cause.orig, "pgcode", None)
    return state in _POSTGRESQL_LATE or _mysql_code(cause.orig) in _MYSQL_LATE


def in_words(error: Exception) -> str:
    """What went wrong, in one line, without the statement."""
    if isinstance(error, DatabaseUnfitError) and isinstance(error.__cause__, DBAPIError):
        error = error.__cause__
    if isinstance(error, DBAPIError):
        return _first_line(error.orig or error)
    return error.message if isinstance(error, WaguardError) else str(error)
