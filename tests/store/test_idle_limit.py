"""The server's limit for a transaction in which its client says nothing."""

from typing import Any

import pytest

from waguard.store import engine


class Server:
    """Takes what it knows."""

    def __init__(self, *unknown: str, code: int = 1193) -> None:
        self.unknown = unknown
        self.code = code
        self.said: list[str] = []

    def cursor(self) -> "Server":
        return self

    def execute(self, statement: str) -> None:
        if any(word in statement for word in self.unknown):
            raise RuntimeError(self.code, "Unknown system variable")
        self.said.append(statement)

    def close(self) -> None:
        """It is a cursor, too."""


def limited(server: Server) -> list[str]:
    connection: Any = server
    engine._limit_idle_transactions(connection, None)
    return server.said


def test_mariadb_has_one_for_transactions() -> None:
    assert limited(Server()) == ["SET SESSION idle_transaction_timeout = 4"]


def test_mysql_has_one_for_connections() -> None:
    assert limited(Server("idle_transaction")) == ["SET SESSION wait_timeout = 4"]


def test_any_other_failure_is_one() -> None:
    with pytest.raises(RuntimeError):
        limited(Server("idle_transaction", code=2013))
