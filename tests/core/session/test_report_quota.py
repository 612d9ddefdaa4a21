"""How much of what a page reports is kept: messages all, later; anything else within its allowances."""

from typing import Final

import pytest

from waguard.core.session.report_quota import (
    LEAST,
    OVER_FOR,
    Allowance,
    Counted,
    Quota,
    Sort,
    floods,
    report,
)

KB: Final = 1_000
DAY: Final = 86_400.0
QUOTA: Final = Quota(
    message=Allowance(100 * KB, 10 * KB),
    beside=Allowance(100 * KB, 10 * KB),
    day=Allowance(500 * KB, 500 * KB / DAY),
    signal=Allowance(5, 1),
)


def flood(
    sort: Sort, *, size: int, count: int, each: float = 0.0
) -> tuple[Counted, list[float | None]]:
    """``count`` reports of ``size`` bytes, ``each`` seconds apart."""
    counted, waits = Counted(), []
    for number in range(count):
        counted, wait = report(QUOTA, counted, sort, size, now=number * each)
        waits.append(wait)
    return counted, waits


def test_messages_are_never_dropped_only_read_more_slowly() -> None:
    counted, waits = flood(Sort.MESSAGE, size=10 * KB, count=12)
    assert waits == [*[0.0] * 10, 1.0, 2.0]
    assert floods(counted, now=0.0)


def test_all_else_is_dropped_beyond_what_is_allowed_at_once() -> None:
    counted, waits = flood(Sort.BESIDE, size=10 * KB, count=12)
    assert waits == [*[0.0] * 10, None, None]
    assert floods(counted, now=0.0)
    assert report(QUOTA, counted, Sort.BESIDE, 10 * KB, now=0.9)[1] is None
    assert report(QUOTA, counted, Sort.BESIDE, 10 * KB, now=1.0)[1] == 0.0, (
        "what was dropped is not counted"
    )


def test_for_a_whole_day_there_is_less_than_the_rate_allows() -> None:
    _, waits = flood(Sort.BESIDE, size=10 * KB, count=1_000, each=1.0)
    kept = sum(wait is not None for wait in waits)
    assert kept == 50 + int(1_000 * 50 / DAY)
    counted, _ = flood(Sort.BESIDE, size=10 * KB, count=1_000, each=1.0)
    assert report(QUOTA, counted, Sort.BESIDE, 10 * KB, now=DAY)[1] == 0.0


def test_a_small_report_counts_for_the_row_that_it_becomes() -> None:
    _, waits = flood(Sort.BESIDE, size=1, count=1_000)
    assert sum(wait is not None for wait in waits) == 100 * KB // LEAST


def test_signals_count_as_one_whatever_their_size() -> None:
    _, waits = flood(Sort.SIGNAL, size=10 * KB, count=7)
    assert waits == [*[0.0] * 5, None, None]


@pytest.mark.parametrize("sort", [Sort.MESSAGE, Sort.BESIDE])
def test_a_flood_takes_nothing_from_the_others(sort: Sort) -> None:
    counted, _ = flood(sort, size=10 * KB, count=100)
    for other in set(Sort) - {sort}:
        assert report(QUOTA, counted, other, KB, now=0.0)[1] == 0.0


def test_a_flood_is_over_a_minute_after_the_last_report_too_many() -> None:
    counted, _ = flood(Sort.BESIDE, size=10 * KB, count=12)
    assert floods(counted, now=OVER_FOR - 0.1)
    assert not floods(counted, now=OVER_FOR)
    assert not floods(Counted(), now=0.0)


def test_the_largest_honest_burst_fits() -> None:
    """Receipts and reactions that waited for days, and messages of a busy week, in one second."""
    counted = Counted()
    for _ in range(30_000):
        counted, wait = report(Quota(), counted, Sort.BESIDE, 400, now=0.0)
        assert wait == 0.0
        counted, wait = report(Quota(), counted, Sort.MESSAGE, 1_000, now=0.0)
        assert wait == 0.0
