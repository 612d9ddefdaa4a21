"""Which database is ours."""

import pytest

from waguard.core.installation import (
    Found,
    Known,
    Marker,
    Unknown,
    Unmarked,
    identify,
    may_be_marked,
    words,
)

OURS = Marker(installation="a", database="sqlite /state/waguard.db")
UNREADABLE = Marker(installation="")


def found(installation: str | None = None, *, rows: int | None = None) -> Found:
    return Found(name="sqlite /state/waguard.db", installation=installation, rows=rows)


@pytest.mark.parametrize("rows", [None, 0, 3])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("folder", [OURS, None, UNREADABLE])
def test_a_database_with_our_marker_is_a_fact_even_where_it_is_empty(
    folder: Marker | None, workers: int, rows: int | None
) -> None:
    assert identify(folder, found("a", rows=rows), workers=workers) == Known("a")


@pytest.mark.parametrize("rows", [None, 0, 3])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("other", [None, "b"])
def test_where_the_folder_alone_is_marked_the_database_is_unknown(
    other: str | None, workers: int, rows: int | None
) -> None:
    it = identify(OURS, found(other, rows=rows), workers=workers)
    assert isinstance(it, Unknown)
    assert (it.expected, it.marked, it.installation) == (OURS.database, "a", other)
    assert OURS.database in words(it)


@pytest.mark.parametrize("rows", [None, 0, 3])
@pytest.mark.parametrize("bare", [True, False])
def test_an_empty_folder_under_sessions_gets_no_marker(rows: int | None, *, bare: bool) -> None:
    assert may_be_marked(found("a", rows=rows), bare=bare) is not (bare and rows == 3)


def test_a_marker_that_cannot_be_read_is_not_a_missing_one() -> None:
    it = identify(UNREADABLE, found(rows=0), workers=0)
    assert isinstance(it, Unknown)
    assert identify(UNREADABLE, found(rows=0), workers=0, accepted=it) == Unmarked(None)


def test_where_nobody_has_a_marker_it_is_written() -> None:
    assert identify(None, found(rows=0), workers=0) == Unmarked(None)
    assert identify(None, found(rows=2), workers=2) == Unmarked(None)
    assert identify(None, found(rows=None), workers=2) == Unmarked(None), "rows come later"


def test_living_workers_contradict_a_database_without_any_session() -> None:
    it = identify(None, found(rows=0), workers=2)
    assert isinstance(it, Unknown)
    assert "living workers" in words(it)


@pytest.mark.parametrize(
    ("folder", "other", "then"),
    [
        (OURS, None, Unmarked("a")),
        (OURS, "b", Known("b")),
        (None, None, Unmarked(None)),
    ],
)
def test_what_a_person_accepts_is_that_database_and_no_other(
    folder: Marker | None, other: str | None, then: Known | Unmarked
) -> None:
    it = identify(folder, found(other, rows=0), workers=2)
    assert isinstance(it, Unknown)
    assert identify(folder, found(other, rows=0), workers=2, accepted=it) == then
    third = identify(OURS, found("c", rows=0), workers=2, accepted=it)
    assert isinstance(third, Unknown)
