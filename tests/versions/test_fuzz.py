"""The decision about versions, under facts in any order."""

import pytest

from tests.seeds import share_of
from tests.versions.fuzz import Fuzz

STEPS = 1_500


def run(seeds: range) -> None:
    for seed in seeds:
        try:
            Fuzz(seed).run(STEPS)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_whatever_comes_the_rules_hold_and_it_comes_to_rest() -> None:
    run(range(4))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, 1_000, 100))
def test_whatever_comes_a_thousand_times(first: int) -> None:
    run(share_of(range(first, first + 100)))
