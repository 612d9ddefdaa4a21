"""waguard's own tables, asked for nothing: the answer says whether they are as this revision needs them."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, literal_column, select, union_all

from waguard.store.models import ACCOUNTS, METADATA


def each() -> Iterator[Select[Any]]:
    """A statement for each; it fails where the table, a column of it or the right to read it is missing."""
    return (select(it).limit(0) for it in METADATA.sorted_tables if it is not ACCOUNTS)


@cache
def at_once() -> CompoundSelect[Any]:
    """One statement for all; it fails where one of ``each`` does, with the same words."""
    one: ColumnElement[int] = literal_column("1")
    return union_all(*(select(one).select_from(it.subquery()) for it in each()))
