"""The simulation finds each wrong decision that is planted, and makes a short story of it."""

import pytest

from tests.simulation.planted import PLANTED, Planted
from tests.simulation.story import DAY, breaks, draw_plan, shrink

pytestmark = pytest.mark.timeout(300)

SEEDS = 12
SHORT = 8  # faults


@pytest.mark.parametrize("planted", PLANTED, ids=lambda it: it.plant.__name__)
def test_a_planted_mistake_is_found(planted: Planted) -> None:
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
            why = breaks(seed, sessions, plan, dense=dense)
            if why is None:
                continue
            short = shrink(seed, sessions, plan, dense=dense)
            why = breaks(seed, sessions, short, dense=dense)
        assert why is not None
        assert planted.finds in why
        assert len(short) <= SHORT
        assert breaks(seed, sessions, short, dense=dense) is None, "the core breaks without it, too"
        print(f"{planted.plant.__name__}: seed {seed}, {len(plan)} faults -> {len(short)}: {why}")
        return
    pytest.fail(f"not found in {SEEDS} seeds")
