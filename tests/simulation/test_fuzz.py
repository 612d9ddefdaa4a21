"""Facts that come twice, late or out of turn do no harm."""

import pytest

from tests.simulation.fuzz import Fuzz
from tests.simulation.watched import Seen

SEEDS, STEPS = 25, 400


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("block", range(4))
def test_no_fact_in_any_state_breaks_it(block: int, *, honest: bool) -> None:
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        seen = Seen()
        fuzz = Fuzz(seed, seen, honest=honest)
        for _ in range(STEPS):
            fuzz.step()
        assert seen.pairs.total() > STEPS / 2
