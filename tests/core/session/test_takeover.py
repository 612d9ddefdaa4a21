"""How often a session is taken back from another client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.engine_bench import EngineBench
from tests.core.session.one_session import beat
from waguard.core.link import Link
from waguard.core.session.effects import TakeOver
from waguard.core.session.facts import RulesChanged
from waguard.core.session.state import Rules
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


def test_a_conflict_counts_again_only_once_the_page_has_answered_since_the_last_takeover(
    bench: EngineBench,
) -> None:
    bench.post("s", RulesChanged(Rules(takeover=True)))
    bench.report("s", Link.CONFLICT)
    assert len(bench.effects("s", TakeOver)) == 1
    bench.at += RETRY
    beat(bench, page=False)
    bench.report("s", Link.CONFLICT)  # a worker repeats what its page said before it hung
    assert len(bench.effects("s", TakeOver)) == 1
    beat(bench)
    bench.tick()
    assert len(bench.effects("s", TakeOver)) == 2
