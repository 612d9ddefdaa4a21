"""What is done about a page in whose way something is: a reload, a replacement, then a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.page_care import (
    BLAMES,
    UPDATE_APART,
    UPDATE_FORGOTTEN,
    UPDATE_PATIENCE,
    UPDATE_RELOADS,
    Kind,
    Step,
    on_stuck,
    on_update,
)
from waguard.core.recycle import IDLE


@pytest.mark.parametrize(
    ("offered", "idle", "reloads", "step"),
    [
        (0.0, IDLE, [], Step.RELOAD),
        (0.0, IDLE - 1, [], Step.WAIT),
        (UPDATE_PATIENCE, 0.0, [], Step.RELOAD),  # never idle: between two calls
        (UPDATE_PATIENCE, None, [], Step.WAIT),  # a call is under way
        (0.0, IDLE, [UPDATE_APART - 1], Step.WAIT),
        (0.0, IDLE, [UPDATE_APART], Step.RELOAD),
        (0.0, IDLE, [2 * UPDATE_APART, UPDATE_APART], Step.ADVISE),
        (0.0, None, [2 * UPDATE_APART, UPDATE_APART], Step.ADVISE),
        (0.0, IDLE, [UPDATE_FORGOTTEN, UPDATE_APART], Step.RELOAD),
    ],
)
def test_a_newer_version(
    offered: float, idle: float | None, reloads: list[float], step: Step
) -> None:
    assert on_update(offered=offered, idle=idle, reloads=reloads) is step


@given(idle=st.lists(st.none() | st.floats(0, 7_200), min_size=1, max_size=400))
def test_a_notice_that_stays_costs_a_few_reloads_a_day(idle: list[float | None]) -> None:
    """A look each two minutes, for half a day at most."""
    reloads: list[float] = []
    for number, seconds in enumerate(idle):
        now = number * 120.0
        ago = [now - at for at in reloads]
        if on_update(offered=now, idle=seconds, reloads=ago) is Step.RELOAD:
            assert seconds is not None
            reloads.append(now)
    windows = [sum(0 <= at - first < UPDATE_FORGOTTEN for at in reloads) for first in reloads]
    assert max(windows, default=0) <= UPDATE_RELOADS


def test_a_link_that_does_not_come_back() -> None:
    tried: list[Step] = []
    for wanted in (Step.RELOAD, Step.REPLACE):
        assert on_stuck(tried) is wanted
        tried.append(wanted)
    assert on_stuck(tried) is Step.ADVISE


def test_every_condition_is_somebodys_fault() -> None:
    assert set(BLAMES) == set(Kind)
