"""The one backoff: its formula, its bounds, and that no count of failures raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.backoff import backoff

seconds = st.floats(min_value=0.0, max_value=1e9)
failures = st.integers(min_value=-3, max_value=10**30)


@pytest.mark.parametrize(
    ("failed", "expected"), [(-1, 1.0), (0, 1.0), (1, 2.0), (5, 32.0), (6, 60.0), (2_000, 60.0)]
)
def test_a_pause_doubles_with_each_failure_until_the_longest(failed: int, expected: float) -> None:
    assert backoff(1.0, failed, longest=60.0) == expected


@given(base=seconds, failed=st.integers(min_value=0, max_value=60), longest=seconds)
def test_a_pause_is_what_its_formula_says(base: float, failed: int, longest: float) -> None:
    assert backoff(base, failed, longest=longest) == min(base * 2.0**failed, longest)


@given(base=seconds, failed=failures, longest=seconds)
def test_a_pause_stays_within_its_bounds(base: float, failed: int, longest: float) -> None:
    assert min(base, longest) <= backoff(base, failed, longest=longest) <= longest


@given(base=seconds, failed=failures, longest=seconds)
def test_a_further_failure_shortens_no_pause(base: float, failed: int, longest: float) -> None:
    pause = backoff(base, failed, longest=longest)
    assert backoff(base, failed + 1, longest=longest) >= pause


@given(failed=failures, longest=seconds)
def test_a_pause_of_nothing_stays_nothing(failed: int, longest: float) -> None:
    assert backoff(0.0, failed, longest=longest) == 0.0
