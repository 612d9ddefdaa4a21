"""Facts that come twice, late or out of turn do no harm."""

import pytest

from tests.simulation.fuzz import Fuzz
from tests.simulation.watched import Seen

SEEDS, STEPS = 25, 400


@pytest.mark.parametrize("honest", [True, False])
# test_simulation fuzzes a hundred more and asks what they met
@pytest.mark.parametrize(
    "block", [0, *(pytest.param(block, marks=pytest.mark.long) for block in range(1, 4))]
)
def test_no_fact_in_any_state_breaks_it(block: int, *, honest: bool) -> None:
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        seen = Seen()
        fuzz = Fuzz(seed, seen, honest=honest)
        for _ in range(STEPS):
            fuzz.step()
        assert seen.pairs.total() > STEPS / 2
