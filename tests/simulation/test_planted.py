"""The simulation finds each wrong decision that is planted, and makes a short story of it."""

import pytest

from tests.simulation.faults import Fault
from tests.simulation.planted import PLANTED, Planted
from tests.simulation.story import DAY, breaks, draw_plan, shrink

pytestmark = pytest.mark.timeout(300)

SEEDS = 12
SHORT = 8  # faults


# to make a story short takes twenty lives: one of a session, one of a fleet, one of beats, and the rest with
# `make test-long`
SHORTENED = (
    "takeovers_are_unbounded",
    "all_parked_are_tried_at_once",
    "a_standstill_counts_as_unresponsive",
)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda it: it.plant.__name__)
def test_a_planted_mistake_is_found(planted: Planted) -> None:
    seed, plan, why = found(planted)
    assert planted.finds in why
    again = breaks(seed, planted.sessions, plan, dense=planted.dense)
    assert again is None, "the core breaks without it, too"


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(it, marks=[] if it.plant.__name__ in SHORTENED else pytest.mark.long)
        for it in PLANTED
    ],
    ids=lambda it: it.plant.__name__,
)
def test_a_short_story_is_made_of_it(planted: Planted) -> None:
    seed, plan, _ = found(planted)
    sessions, dense = planted.sessions, planted.dense
    with planted.plant():
        short = shrink(seed, sessions, plan, dense=dense)
        why = breaks(seed, sessions, short, dense=dense)
    assert why is not None
    assert planted.finds in why
    assert len(short) <= SHORT
    assert breaks(seed, sessions, short, dense=dense) is None, "the core breaks without it, too"
    print(f"{planted.plant.__name__}: seed {seed}, {len(plan)} faults -> {len(short)}: {why}")


def found(planted: Planted) -> tuple[int, list[Fault], str]:
    """The first seed that finds it, its faults until then, and what is broken."""
    sessions, dense = planted.sessions, planted.dense
    for seed in (planted.seed, *range(1, SEEDS + 1)):
        plan = draw_plan(
            seed,
            sessions,
            DAY / 12 if dense else DAY,
            own=24.0,
            host=600.0 if dense else 60.0,
            kinds=planted.kinds,
        )
        with planted.plant():
            if why := breaks(seed, sessions, plan, dense=dense):
                broken_at = float(why.split(" ", 1)[0])
                return seed, [fault for fault in plan if fault.at <= broken_at], why
    pytest.fail(f"not found in {SEEDS} seeds")
