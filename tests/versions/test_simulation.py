"""What a fleet of sessions goes through: docs/versions.md has the table of a long run."""

import sys
from itertools import pairwise

import pytest

from tests.core.versions import test_bundles, test_crossover, test_rollback
from tests.seeds import share_of
from tests.versions.fuzz import Fuzz
from tests.versions.lines import watched
from tests.versions.scenarios import (
    ALL,
    BREAKAGES,
    LARGE,
    NO_BREAKAGES,
    PINNED,
    RELEASES,
    SMALL,
    Result,
    simulate,
)

HOUR = 3600.0
IN_TIME = 3 * HOUR  # in a fleet of 30 that sends seldom
SEEDS = range(20)
SHORT = (0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2)))


def test_the_releases_are_real() -> None:
    gaps = sorted(b.at - a.at for a, b in pairwise(RELEASES))
    assert len(RELEASES) > 400
    assert 2.5 * HOUR < gaps[len(gaps) // 2] < 3 * HOUR


def check_broken(name: str, seed: int, it: Result, off: Result) -> None:
    assert it.rollbacks >= 1, f"{name}, seed {seed}: nobody is helped"
    assert it.rolled_back is not None
    assert it.rolled_back < IN_TIME, f"{name}, seed {seed}: only after {it.rolled_back:.0f} s"
    # what was loaded anew, and canaries
    assert it.unhealthy_hours < off.unhealthy_hours / 4, (
        f"{name}, seed {seed}: {it.unhealthy_hours} of {off.unhealthy_hours}"
    )


@pytest.mark.parametrize("name", BREAKAGES)
@pytest.mark.parametrize("seed", SHORT)
def test_a_version_that_breaks_something_is_rolled_back(name: str, seed: int) -> None:
    off = simulate(name, seed, SMALL, "off")
    check_broken(name, seed, simulate(name, seed, SMALL), off)
    assert off.rollbacks == 0


@pytest.mark.parametrize("name", NO_BREAKAGES)
@pytest.mark.parametrize("seed", SHORT)
def test_what_only_resembles_it_rolls_nobody_back(name: str, seed: int) -> None:
    assert simulate(name, seed, SMALL).rollbacks == 0


@pytest.mark.parametrize("name", PINNED)
def test_a_pinned_version_that_is_refused_is_left(name: str) -> None:
    it = simulate(name, 0, SMALL)
    assert it.world.state.pin is None
    assert it.world.announced
    assert it.unhealthy_hours < 1.0


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", BREAKAGES)
def test_200_sessions_are_helped(name: str) -> None:
    for seed in share_of(SEEDS):
        it, off = simulate(name, seed, LARGE), simulate(name, seed, LARGE, "off")
        check_broken(name, seed, it, off)
        assert it.unhealthy_hours < off.unhealthy_hours / 20


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NO_BREAKAGES)
def test_200_sessions_are_left_alone(name: str) -> None:
    rollbacks = {seed: simulate(name, seed, LARGE).rollbacks for seed in share_of(SEEDS)}
    assert set(rollbacks.values()) == {0}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")
def test_each_line_of_the_decision_runs() -> None:
    with watched() as left:
        # the fuzz meets these by accident only
        test_bundles.test_a_new_version_while_it_goes_back_proves_nothing_about_a_bundle()
        test_bundles.test_another_version_for_all_meanwhile_proves_nothing_about_a_bundle()
        test_crossover.test_going_back_to_a_network_that_withdrew_the_version_proves_nothing()
        test_rollback.test_who_did_its_work_with_what_is_held_stays_over_a_restart_of_the_daemon()
        for name in ALL:
            simulate(name, 0, SMALL)
        for seed in range(300):
            Fuzz(seed).run(1_500)
            if not left:
                break
    assert left == set()
