"""Which kept files are deleted."""

from collections.abc import Collection
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.media_retention import Held, expired

NOW = 1_000.0


def held(name: str, *, age: float, size: int = 10) -> Held:
    return Held(name=name, size=size, at=NOW - age)


def gone(*files: Held, size_limit: int = 1_000, spared: Collection[str] = ()) -> list[str]:
    doomed = expired(files, now=NOW, keep_for=100.0, size_limit=size_limit, spared=spared)
    return [file.name for file in doomed]


def test_what_is_too_old_goes() -> None:
    assert gone(held("new", age=99), held("edge", age=100), held("old", age=101)) == ["old"]
    assert gone() == []


def test_the_oldest_go_first_until_the_rest_fits() -> None:
    files = [held(f"{age}", age=age) for age in (3, 1, 4, 2)]
    assert gone(*files, size_limit=40) == []
    assert gone(*files, size_limit=39) == ["4"]
    assert gone(*files, size_limit=10) == ["4", "3", "2"]
    assert gone(*files, size_limit=0) == ["4", "3", "2", "1"]


def test_what_a_webhook_waits_for_stays_and_newer_ones_go_instead() -> None:
    files = [held(f"{age}", age=age) for age in (3, 1, 4, 2)]
    assert gone(*files, size_limit=20, spared={"4"}) == ["3", "2"]
    assert gone(*files, size_limit=0, spared={"4", "3", "2", "1"}) == []
    assert gone(held("old", age=200), spared={"old"}) == []


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50)), max_size=20),
    st.integers(0, 500),
)
def test_what_is_left_is_the_newest_and_fits(
    reported: list[tuple[int, int]], size_limit: int
) -> None:
    files = [held(str(n), age=age, size=size) for n, (age, size) in enumerate(reported)]
    doomed = expired(files, now=NOW, keep_for=100.0, size_limit=size_limit)
    left = [file for file in files if file not in doomed]
    assert sum(file.size for file in left) <= size_limit
    assert all(NOW - file.at <= 100.0 for file in left)
    assert all(older.at <= newer.at for older, newer in pairwise(doomed))
    assert all(file.at >= doomed[-1].at for file in left if doomed)
