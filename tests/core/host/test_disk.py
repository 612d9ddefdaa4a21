"""When a disk is too full, and when it is free again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.host.disk import FULL, RELEASE, is_full, is_low

SIZES = st.integers(0, 1 << 50)


def test_a_low_disk_is_over_somewhat_above_the_reserve() -> None:
    assert is_low(before=False, free=99, reserve=100)
    assert not is_low(before=False, free=100, reserve=100)
    assert is_low(before=True, free=109, reserve=100)
    assert not is_low(before=True, free=111, reserve=100)


def test_unknown_changes_nothing() -> None:
    assert is_low(before=True, free=None, reserve=100)
    assert not is_low(before=False, free=None, reserve=100)


def test_no_reserve_is_never_too_little() -> None:
    assert not is_low(before=True, free=0, reserve=0)


@given(SIZES, SIZES, st.booleans())
def test_what_is_low_stays_so_without_more_space(
    free: int,
    reserve: int,
    before: bool,  # noqa: FBT001
) -> None:
    low = is_low(before=before, free=free, reserve=reserve)
    assert is_low(before=low, free=free, reserve=reserve) is low
    if low:
        assert free < RELEASE * reserve


@pytest.mark.parametrize(
    ("free", "files", "full"),
    [
        (FULL, 1, False),
        (FULL - 1, 1, True),
        (0, None, True),
        (FULL, 0, True),  # no file can be made
        (None, None, False),  # unknown is not full
    ],
)
def test_a_disk_is_full_without_bytes_or_without_files(
    *, free: int | None, files: int | None, full: bool
) -> None:
    assert is_full(free=free, files=files) is full
