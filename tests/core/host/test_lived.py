"""What counts as age: the time in which a daemon lived, by a clock that nobody set."""

import random

import pytest

from waguard.core.host.lived import GAPS, STEP, Gap, Lived, age, ago, seen

DAY = 86_400.0
HOUR = 3_600.0
YEAR = 365 * DAY
START = 1_790_000_000.0


class Machine:
    """Its true time, what its wall clock shows, and what its daemon makes of it."""

    def __init__(self) -> None:
        self.wall = START
        self.lived = seen(None, now=self.wall, passed=0.0)

    def live(self, seconds: float) -> None:
        """The daemon is there, and looks."""
        self.wall += seconds
        self.lived = seen(self.lived, now=self.wall, passed=seconds)

    def step(self, seconds: float) -> None:
        """Somebody sets the clock, a moment before the daemon looks."""
        self.wall += seconds
        self.lived = seen(self.lived, now=self.wall, passed=0.0)

    rest = step  # without a daemon the hours are a step to the next one

    def age(self, since: float) -> float:
        return age(self.lived, now=self.wall, since=since)

    def ago(self, seconds: float) -> float:
        return ago(self.lived, now=self.wall, seconds=seconds)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_without_a_step_it_is_the_difference(machine: Machine) -> None:
    machine.live(HOUR)
    assert machine.age(START) == HOUR
    assert machine.ago(HOUR) == START


@pytest.mark.parametrize("seconds", [HOUR, DAY, YEAR])
def test_a_step_forward_or_hours_without_a_daemon_make_nothing_older(
    machine: Machine, seconds: float
) -> None:
    machine.live(HOUR)
    machine.step(seconds)
    machine.live(HOUR)
    assert machine.age(START) == 2 * HOUR
    assert machine.age(machine.wall - HOUR / 2) == HOUR / 2
    assert machine.ago(1.5 * HOUR) == START + HOUR / 2


@pytest.mark.parametrize("seconds", [HOUR, DAY, YEAR])
def test_a_step_back_makes_nothing_older_either(machine: Machine, seconds: float) -> None:
    machine.live(HOUR)
    machine.step(-seconds)
    assert machine.age(START) <= HOUR
    born = machine.wall
    machine.live(2 * HOUR)
    assert machine.age(born) == 2 * HOUR


@pytest.mark.parametrize("seconds", [HOUR, DAY, YEAR])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_written_after_a_step_that_is_taken_back_ages(
    machine: Machine, seconds: float, sign: int
) -> None:
    machine.live(HOUR)
    machine.step(sign * seconds)
    machine.live(HOUR)
    machine.step(-sign * seconds)
    born = machine.wall
    assert born == START + 2 * HOUR
    machine.live(2 * HOUR)
    assert machine.age(born) == 2 * HOUR
    assert 3 * HOUR <= machine.age(START) <= 4 * HOUR


def test_a_clock_that_began_in_1970_makes_nothing_young_when_it_is_right_again(
    machine: Machine,
) -> None:
    machine.live(DAY)
    machine.step(-machine.wall)
    machine.live(60.0)
    machine.step(START + DAY + HOUR - machine.wall)
    assert machine.age(START) == DAY


def test_a_clock_that_drifts_or_is_read_late_is_no_step(machine: Machine) -> None:
    for _ in range(100):
        machine.step(STEP)
        machine.step(-1.0)
    assert machine.lived.gaps == ()


def test_gaps_are_few_and_what_is_merged_makes_nothing_older(machine: Machine) -> None:
    for _ in range(3 * GAPS):
        machine.live(HOUR)
        machine.rest(DAY)
    assert len(machine.lived.gaps) == GAPS
    assert machine.age(START) == 3 * GAPS * HOUR


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_to_the_clock(machine: Machine, seed: int) -> None:
    chance, lived, born = random.Random(seed), 0.0, {START: 0.0}
    for _ in range(300):
        passed = chance.choice([1.0, 60.0, HOUR])
        machine.live(passed)
        lived += passed
        if chance.random() < 0.1:
            machine.step(chance.choice([-1, 1]) * chance.choice([1.0, HOUR, DAY, YEAR]))
        born[machine.wall] = lived
        ends = [edge for gap in machine.lived.gaps for edge in gap]
        assert ends == sorted(ends)
        assert all(edge <= machine.wall for edge in ends)
        seconds = chance.choice([60.0, HOUR, 30 * DAY])
        assert machine.age(machine.ago(seconds)) == pytest.approx(seconds, abs=1e-3)


def test_only_what_lies_within_counts() -> None:
    lived = Lived(at=100.0, reached=100.0, gaps=(Gap(10.0, 20.0), Gap(50.0, 80.0)))
    assert [age(lived, now=100.0, since=since) for since in (0.0, 15.0, 60.0, 90.0, 200.0)] == [
        *(60.0, 50.0, 20.0, 10.0),
        -100.0,
    ]
