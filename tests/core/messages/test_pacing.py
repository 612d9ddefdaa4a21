"""How fast messages may go: never more than the rate allows, never held back for good."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.pacing import FRESH, Pace, after, changed, next_at

SLACK = 1e-6  # s; for sums of floats

PACES = st.builds(
    lambda rate, burst, gaps: Pace(rate=rate, burst=burst, gap=(min(gaps), max(gaps))),
    st.just(0.0) | st.floats(0.1, 6_000),
    st.integers(1, 20),
    st.tuples(st.floats(0, 60), st.floats(0, 60)),
)
CHANCES = st.floats(0, 1)
ARRIVALS = st.lists(st.tuples(st.floats(0, 90), CHANCES), min_size=1, max_size=40)


def run(pace: Pace, arrivals: list[tuple[float, float]]) -> list[float]:
    """When each went that came so long after the one before had gone; as early as it may."""
    now, paced, went = 0.0, FRESH, list[float]()
    for wait, chance in arrivals:
        now = next_at(pace, paced, now=now + wait)
        paced = after(pace, paced, at=now, chance=chance)
        went.append(now)
    return went


def test_nothing_configured_holds_nothing_back() -> None:
    assert run(Pace(), [(0.0, 1.0)] * 5) == [0.0] * 5


def test_a_burst_and_then_one_by_one() -> None:
    assert run(Pace(rate=30, burst=3), [(0.0, 0.0)] * 6) == [0.0, 0.0, 0.0, 2.0, 4.0, 6.0]


def test_a_pause_earns_the_burst_again_and_no_more() -> None:
    went = run(Pace(rate=60, burst=2), [(0.0, 0.0)] * 3 + [(50.0, 0.0)] + [(0.0, 0.0)] * 2)
    assert went == [0.0, 0.0, 1.0, 51.0, 51.0, 52.0]


def test_a_gap_follows_each() -> None:
    went = run(Pace(gap=(2.0, 6.0)), [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (0.0, 0.0)])
    assert went == [0.0, 2.0, 6.0, 12.0]


@given(pace=PACES, arrivals=ARRIVALS)
def test_never_more_in_any_time_than_the_burst_and_the_rate_allow(
    pace: Pace, arrivals: list[tuple[float, float]]
) -> None:
    went = run(pace, arrivals)
    if not pace.rate:
        return
    for first in range(len(went)):
        for last in range(first, len(went)):
            allowed = pace.burst + (went[last] - went[first] + SLACK) / pace.interval
            assert last - first + 1 <= allowed


@given(pace=PACES, arrivals=ARRIVALS)
def test_the_gap_is_kept(pace: Pace, arrivals: list[tuple[float, float]]) -> None:
    went = run(pace, arrivals)
    for earlier, later in itertools.pairwise(went):
        assert later - earlier >= pace.gap[0] - SLACK


@given(pace=PACES, before=PACES, arrivals=ARRIVALS, wait=st.floats(0, 90))
def test_nobody_waits_longer_than_one_interval_or_gap(
    pace: Pace, before: Pace, arrivals: list[tuple[float, float]], wait: float
) -> None:
    """Also where another pace was configured before."""
    now, paced = 0.0, FRESH
    for late, chance in arrivals:
        now = next_at(before, paced, now=now + late)
        paced = after(before, paced, at=now, chance=chance)
    now += wait
    for one, remembered in ((before, paced), (pace, changed(pace, paced, now=now))):
        at = next_at(one, remembered, now=now)
        assert now <= at <= now + max(one.interval, one.gap[1]) + SLACK


@given(pace=PACES, arrivals=ARRIVALS)
def test_who_comes_when_it_may_go_goes(pace: Pace, arrivals: list[tuple[float, float]]) -> None:
    now, paced = 0.0, FRESH
    for late, chance in arrivals:
        now = next_at(pace, paced, now=now + late)
        assert next_at(pace, paced, now=now) == now
        paced = after(pace, paced, at=now, chance=chance)
