"""Which fault comes when."""

from hypothesis import given
from hypothesis import strategies as st

from waguard.lab.chaos.drawing import draw

FAULTS = ("kill", "hang", "damage")
SESSIONS = ("s1", "s2")
seeds, counts = st.integers(0, 2**32), st.integers(0, 20)


def test_a_seed_is_a_campaign() -> None:
    assert draw(7, FAULTS, SESSIONS, 9) == draw(7, FAULTS, SESSIONS, 9)
    assert draw(7, FAULTS, SESSIONS, 9) != draw(8, FAULTS, SESSIONS, 9)


@given(seeds, counts)
def test_each_fault_comes_before_any_comes_again(seed: int, count: int) -> None:
    names = [drawn.fault for drawn in draw(seed, FAULTS, SESSIONS, count)]
    assert len(names) == count
    for first in range(0, count, len(FAULTS)):
        part = names[first : first + len(FAULTS)]
        assert len(part) == len(set(part))
        assert set(part) <= set(FAULTS)


@given(seeds, counts, counts)
def test_a_longer_campaign_begins_as_a_shorter_one(seed: int, one: int, other: int) -> None:
    short, long = sorted((one, other))
    assert draw(seed, FAULTS, SESSIONS, long)[:short] == draw(seed, FAULTS, SESSIONS, short)
