"""What a receiver's Retry-After means, however it is written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.webhooks.retry_after import seconds

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
CENTURY = 3_153_600_000.0


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("0000000000007", 7.0),
        ("1000000000", 999_999_999.0),
        ("9" * 5_000, 999_999_999.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:50:37 -0000", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 10:50:37 +0200", 60.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
        ("Mon, 01 Jan 1900 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    header: str | None, wait: float | None
) -> None:
    assert seconds(header, now=NOW) == wait


@pytest.mark.parametrize("zone", ["GMT", "-2359", "+2359"])
def test_the_last_day_of_the_calendar(zone: str) -> None:
    wait = seconds(f"Fri, 31 Dec 9999 23:59:59 {zone}", now=NOW)
    assert wait is not None
    assert 79 * CENTURY < wait < 81 * CENTURY


@pytest.mark.parametrize(
    "header",
    [
        "",
        "1e300",
        "inf",
        "nan",
        "-5",
        "0.5",
        "²",
        "soon",
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 31 Dec 2024 99:59:59 GMT",
        "Fri, 31 Dec 2024 23:59:59 +9999999",
        "Fri, 31 Dec 2024 23:59:59 +99999999999999999",  # OverflowError
    ],
)
def test_what_is_no_time(header: str) -> None:
    assert seconds(header, now=NOW) is None


SIGNED = st.builds("{}{}".format, st.sampled_from("+- "), st.integers(0).map(str))


@given(
    st.text()
    | st.from_regex(r"[0-9.eE+-]{1,400}", fullmatch=True)
    | st.builds(
        "Fri, {} Dec {} {}:{}:{} {}".format, *[st.integers(0, 10**20)] * 5, SIGNED | st.text()
    )
)
def test_a_header_never_raises(header: str) -> None:
    wait = seconds(header, now=NOW)
    assert wait is None or (wait >= 0 and math.isfinite(wait))
