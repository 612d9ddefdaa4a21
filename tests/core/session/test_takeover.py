"""How often a session is taken back from another client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.session.takeover import LIMIT, PERIOD, RETRY, Answer, answer, recent


@pytest.mark.parametrize(
    ("takeovers", "now", "wanted"),
    [
        ([], 0.0, Answer.TAKE_OVER),
        ([0.0], RETRY - 0.1, Answer.WAIT),
        ([0.0], RETRY, Answer.TAKE_OVER),
        ([0.0, 100.0], 200.0, Answer.TAKE_OVER),
        ([0.0, 100.0, 200.0], 200.0 + RETRY - 0.1, Answer.WAIT),
        ([0.0, 100.0, 200.0], 300.0, Answer.PARK),
        ([0.0, 100.0, 200.0], PERIOD, Answer.TAKE_OVER),
    ],
)
def test_three_times_in_ten_minutes(takeovers: list[float], now: float, wanted: Answer) -> None:
    assert answer(takeovers, now=now) is wanted


@given(times=st.lists(st.floats(0, 10_000), max_size=200))
def test_never_more_than_the_limit_in_any_ten_minutes(times: list[float]) -> None:
    """A conflict at any times, until it is parked."""
    takeovers: list[float] = []
    for now in sorted(times):
        decision = answer(takeovers, now=now)
        if decision is Answer.TAKE_OVER:
            takeovers.append(now)
        assert len(recent(takeovers, now=now)) <= LIMIT
        if decision is Answer.PARK:
            assert len(recent(takeovers, now=now)) == LIMIT
