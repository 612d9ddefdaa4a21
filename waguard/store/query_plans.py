"""Whether a query finds its rows by an index: by what the database itself says of it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import Column, Connection, Select, inspect

_NO_INDEX = "no index begins with the column: each look-up would scan the table"


def why_scanned(connection: Connection, column: Column[Any], query: Select[Any]) -> str | None:
    """Why ``query``, which asks for values of ``column``, would scan its table; None: it would not,
    however many rows there will be."""
    text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
    match connection.dialect.name:
        case "sqlite":
            found = _sqlite(connection, column, text)
        case "postgresql":
            found = _postgresql(connection, column, text)
        case _:
            found = _mysql(connection, column, text)
    return None if found else _NO_INDEX


def _sqlite(connection: Connection, column: Column[Any], text: str) -> bool:
    # sqlite3 keeps statements with their plans, and EXPLAIN does not see that the tables have changed
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text} -- {uuid4()}").all()
    search = re.compile(rf"SEARCH {column.table.name} USING .*\({column.name}[=>]\?\)")
    return any(search.match(step.detail) for step in plan)


def _postgresql(connection: Connection, column: Column[Any], text: str) -> bool:
    """Scans are switched off: where there is one, nothing else is possible. A whole index can be
    scanned, too: a condition on its first column says that it is not."""
    (said,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}").one()
    (plan,) = json.loads(said) if isinstance(said, str) else said
    usable = _indexes(connection, column)
    return any(
        step.get("Index Name") in usable and column.name in step.get("Index Cond", "")
        for step in _steps(plan["Plan"])
    )


def _steps(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield step
    for inner in step.get("Plans", ()):
        yield from _steps(inner)


def _mysql(connection: Connection, column: Column[Any], text: str) -> bool:
    """A small table is scanned although it has an index, so what counts is what is possible. A server
    that is set to another form of EXPLAIN does not say it."""
    usable = _indexes(connection, column)
    plan = connection.exec_driver_sql(f"EXPLAIN {text}").mappings().all()
    if "possible_keys" not in plan[0]:
        return bool(usable)
    return any(
        usable & set((step["possible_keys"] or "").split(","))
        for step in plan
        if step["table"] == column.table.name
    )


def _indexes(connection: Connection, column: Column[Any]) -> set[str]:
    """Names of those that begin with the column."""
    inspector, table = inspect(connection), column.table.name
    found = [(str(it["name"]), it["column_names"]) for it in inspector.get_indexes(table)]
    key = inspector.get_pk_constraint(table)
    found.append((key.get("name") or "PRIMARY", list(key["constrained_columns"])))
    return {name for name, columns in found if columns and columns[0] == column.name}
