"""Which sessions have grown too big."""

import pytest

from waguard.core.recycle import APART, Size, size_of

MB = 1 << 20


@pytest.mark.parametrize(
    ("limit", "memory", "idle", "size"),
    [
        (0, 9_000, 3_600.0, Size.FITS),
        (400, 400, 3_600.0, Size.FITS),
        (400, 401, 60.0, Size.TOO_BIG),
        (400, 401, 59.0, Size.FITS),
        (400, 600, None, Size.FITS),
        (400, 601, None, Size.FAR_TOO_BIG),
        (400, 601, 0.0, Size.FAR_TOO_BIG),
    ],
)
def test_too_big_when_idle_and_far_too_big_at_once(
    limit: int, memory: int, idle: float | None, size: Size
) -> None:
    assert size_of(limit=limit * MB, memory=memory * MB, idle=idle, recycled=None) is size


def test_one_that_is_as_big_again_at_once_is_left_alone() -> None:
    """A limit below what a session needs would have it replaced forever."""
    big = {"limit": 100 * MB, "memory": 900 * MB}
    assert size_of(**big, idle=None, recycled=APART - 1) is Size.BIG_AGAIN
    assert size_of(**big, idle=None, recycled=APART) is Size.FAR_TOO_BIG


def test_where_recycling_was_in_vain_it_is_not_tried_again_unless_it_has_doubled() -> None:
    limit, again = 400 * MB, 500 * MB
    sizes = [
        size_of(limit=limit, memory=memory * MB, idle=3_600.0, recycled=recycled, in_vain=again)
        for memory, recycled in (
            (400, 9_000.0),
            (401, 9_000.0),
            (1_000, 9_000.0),
            (1_001, APART - 1),
            (1_001, APART),
        )
    ]
    assert sizes == [
        Size.FITS,
        *(Size.BIG_AGAIN, Size.BIG_AGAIN, Size.BIG_AGAIN),
        Size.FAR_TOO_BIG,
    ]
