"""How errors are logged: the level of a task's failures, and their line."""

import errno

import pytest

from waguard.errors import (
    DatabaseUnavailableError,
    DatabaseUnfitError,
    OutageLevels,
    UnavailableError,
    one_line,
)


def test_what_the_database_lacks_is_an_error_once_and_an_outage_never() -> None:
    away, lacks = DatabaseUnavailableError("it is away"), DatabaseUnfitError("no such table")
    levels, busy = OutageLevels(), UnavailableError("it is busy")
    failures = (away, lacks, lacks, away, lacks, busy, busy)
    wanted = ("DEBUG", "ERROR", "DEBUG", "DEBUG", "ERROR", "ERROR", "ERROR")
    assert tuple(map(levels.level, failures)) == wanted


def test_what_it_lacks_again_is_news() -> None:
    levels, lacks = OutageLevels(), DatabaseUnfitError("no such table")
    assert levels.level(lacks) == "ERROR"
    levels.is_unfit = False
    assert levels.level(lacks) == "ERROR"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UnavailableError("it is busy", field="f", remedy="wait"), "f: it is busy (wait)"),
        (OSError(errno.EIO, "no\nluck"), r"[Errno 5] no\nluck"),
        (TimeoutError(), ""),
    ],
)
def test_an_error_is_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line
