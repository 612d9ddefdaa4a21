"""Connected, but nothing is acknowledged: when that is reported, and when the worker is replaced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.fleet.ack_watch import (
    ALONE,
    FAR,
    PAUSE,
    Late,
    is_everywhere,
    late,
    pause,
    should_replace,
)
from waguard.core.recycle import APART

LIMIT = 60.0
WAITED = st.lists(st.floats(0, 1e6), max_size=20)


def replace(it: Late, *, busy: bool = False, recycled: float | None = None) -> bool:
    return should_replace(it, limit=LIMIT, busy=busy, recycled=recycled)


def test_what_is_late() -> None:
    assert late([], limit=LIMIT) is None
    assert late([1.0, LIMIT], limit=LIMIT) is None
    assert late([1.0, 61.0, 75.0], limit=LIMIT) == Late(2, 75.0)


def test_first_contacts_alone_are_late_much_later() -> None:
    """WhatsApp drops some of them, so they prove less about the page."""
    patience = ALONE * LIMIT
    assert late([], first_contacts=[LIMIT + 1, patience], limit=LIMIT) is None
    found = late([LIMIT], first_contacts=[1.0, patience + 1, patience + 2], limit=LIMIT)
    assert found == Late(2, patience + 2, first_contacts=True)
    # what waits in a known chat counts alone
    assert late([LIMIT + 1], first_contacts=[1e6] * 9, limit=LIMIT) == Late(1, LIMIT + 1)
    assert patience > FAR * LIMIT


@pytest.mark.parametrize(
    ("it", "busy", "expected"),
    [
        (Late(1, 1e6, first_contacts=True), False, False),  # it may be dropped; a person may see it
        (Late(2, ALONE * LIMIT + 1, first_contacts=True), True, True),
        (Late(1, 61.0), False, False),  # its recipient may be the cause
        (Late(2, 61.0), False, True),
        (Late(2, 61.0), True, False),  # what is under way may still be answered
        (Late(1, FAR * LIMIT), False, False),
        (Late(1, FAR * LIMIT + 1), False, True),
        (Late(1, FAR * LIMIT + 1), True, True),
    ],
)
def test_when_it_is_replaced(it: Late, busy: bool, expected: bool) -> None:  # noqa: FBT001
    assert replace(it, busy=busy) is expected


def test_nobody_is_to_blame_where_nothing_is_acknowledged() -> None:
    assert not is_everywhere(late=1, well=0, in_vain=1)
    assert is_everywhere(late=2, well=0, in_vain=1)
    assert not is_everywhere(late=2, well=1, in_vain=1)
    assert not is_everywhere(late=2, well=0, in_vain=0)  # nobody has tried a replacement


def test_one_at_a_time() -> None:
    assert pause(limit=LIMIT, on_trial=False, everywhere=False) == PAUSE
    assert pause(limit=LIMIT, on_trial=True, everywhere=False) == FAR * LIMIT
    assert pause(limit=1.0, on_trial=True, everywhere=False) == PAUSE
    assert pause(limit=LIMIT, on_trial=False, everywhere=True) == APART


def test_a_late_ack_is_described_in_a_sentence() -> None:
    one, two = str(Late(1, 61.4)), str(Late(2, 75.0))
    assert one == "it is connected, but 1 message waits for WhatsApp's ack, the first for 61 s"
    assert "2 messages wait" in two
    assert str(Late(1, 601.0, first_contacts=True)) == (
        "it is connected, but 1 first contact waits for WhatsApp's ack and nothing else is"
        " acknowledged, the first for 601 s"
    )
    assert "2 first contacts wait" in str(Late(2, 601.0, first_contacts=True))


@given(WAITED, st.floats(0.1, 1e5))
def test_only_those_over_the_limit_count(waited: list[float], limit: float) -> None:
    found = late(waited, limit=limit)
    over = [seconds for seconds in waited if seconds > limit]
    assert (found is None) == (not over)
    if found:
        assert (found.count, found.longest) == (len(over), max(over))


@given(st.integers(1, 99), st.floats(0, 1e6), st.booleans(), st.floats(0, APART, exclude_max=True))
def test_never_twice_in_a_back_off(
    count: int,
    longest: float,
    busy: bool,  # noqa: FBT001
    recycled: float,
) -> None:
    assert not replace(Late(count, longest), busy=busy, recycled=recycled)
    later = replace(Late(count, longest), busy=busy, recycled=APART)
    assert later is replace(Late(count, longest), busy=busy)
