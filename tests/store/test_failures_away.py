"""Whether the database as a whole is away, by the error."""

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.waiting import DEADLINE
from waguard.errors import ConflictError
from waguard.store.failures import answering, is_away, is_late, unavailable, unfit


class _PostgreSQLError(Exception):
    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.pgcode = state


def _of(cause: BaseException | None) -> Exception:
    error = unavailable("the test's", cause or "it was moved")
    error.__cause__ = cause
    return error


def _unfit(cause: BaseException) -> Exception:
    error = unfit("the test's", cause)
    error.__cause__ = cause
    return error


def _statement(cause: BaseException) -> OperationalError:
    return OperationalError("SELECT 1", None, cause)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (_of(None), True),
        (_of(ConnectionRefusedError()), True),
        (_of(_statement(sqlite3.OperationalError("database is locked"))), True),
        (_of(_statement(_PostgreSQLError("08006"))), True),
        (_of(_statement(_PostgreSQLError("57P01"))), True),
        (_of(_statement(_PostgreSQLError("57014"))), False),
        (_of(_statement(Exception(2013, "lost"))), True),
        (_of(_statement(Exception(1203, "max_user_connections"))), True),
        (_of(_statement(Exception(1226, "max_user_connections"))), True),
        (_of(_statement(Exception(1142, "denied"))), False),
        (_of(_statement(Exception(1969, "max_statement_time"))), False),
        (_of(TimeoutError()), False),
        (_of(PoolTimeoutError()), False),
        (ConflictError("it is another's"), False),
        (_unfit(_statement(sqlite3.OperationalError("no such table: chats"))), False),
    ],
    ids=[
        "moved",
        "refused",
        "SQLite locked",
        "connection lost",
        "server ends",
        "statement's deadline",
        "connection lost, MariaDB",
        "too many connections of this user",
        "the user's limit, MariaDB",
        "denied",
        "statement's deadline, MariaDB",
        "deadline",
        "pool",
        "no outage",
        "SQLite without a table",
    ],
)
def test_a_database_is_away_where_no_statement_would_be_answered(
    error: Exception, *, away: bool
) -> None:
    assert is_away(error) is away


@pytest.mark.parametrize(
    ("error", "late"),
    [
        (_of(TimeoutError()), True),
        (_of(PoolTimeoutError()), True),
        (_of(_statement(_PostgreSQLError("57014"))), True),
        (_of(_statement(_PostgreSQLError("55P03"))), True),
        (_of(_statement(Exception(1205, "lock wait timeout"))), True),
        (_of(_statement(Exception(1969, "max_statement_time"))), True),
        (_of(_statement(Exception(3024, "max_execution_time"))), True),
        (_of(_statement(Exception(1142, "denied"))), False),
        (_of(_statement(sqlite3.OperationalError("database is locked"))), False),
        (_of(ConnectionRefusedError()), False),
        (_of(None), False),
        (TimeoutError(), False),
    ],
    ids=[
        "deadline",
        "pool",
        "statement's deadline",
        "lock, PostgreSQL",
        "lock",
        "statement's deadline, MariaDB",
        "statement's deadline, MySQL",
        "denied",
        "SQLite locked",
        "refused",
        "moved",
        "none of the database's",
    ],
)
def test_an_answer_is_late_where_a_deadline_was_over(error: Exception, *, late: bool) -> None:
    assert is_late(error) is late


@pytest.mark.parametrize("code", [1267, 1300, 1366, 3854, 3988])
async def test_a_text_that_a_column_of_mysql_cannot_hold_is_the_rows_fault(code: int) -> None:
    refused = _statement(Exception(code, "Conversion from collation utf8mb4_bin is impossible"))
    with pytest.raises(OperationalError):
        async with answering("the test's", within=DEADLINE):
            raise refused
