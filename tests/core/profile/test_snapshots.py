"""When credentials are copied, and which copies are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.profile.test_before_start import ALL, BROKEN, OLD, OTHERS, many_snapshots, names
from waguard.core.profile.snapshots import STORED_AFTER, Snapshot, due_in, superfluous


@pytest.mark.parametrize(
    ("connected_for", "last_taken_ago", "wait"),
    [
        (0.0, None, STORED_AFTER),
        (STORED_AFTER - 5.0, None, 5.0),
        (STORED_AFTER, None, 0.0),
        (STORED_AFTER - 5.0, 1e9, 5.0),
        (STORED_AFTER, 1000.0, 0.0),  # taken before this connection
        (500.0, 400.0, 3200.0),  # taken in it
        (5000.0, 3600.0, 0.0),
        (10.0, 5.0, 3595.0),  # taken before Chromium had written: by hand
    ],
)
def test_when_a_running_session_is_copied(
    connected_for: float, last_taken_ago: float | None, wait: float
) -> None:
    answer = due_in(connected_for=connected_for, last_taken_ago=last_taken_ago, every=3600.0)
    assert answer == wait


def test_the_newest_two_of_this_pairing_are_kept() -> None:
    third = Snapshot(id="third", taken_at=5.0, pairing="me")
    assert superfluous((*ALL, third), pairing="me", generations=2) == [OLD, BROKEN, OTHERS]
    assert superfluous(ALL, pairing="me", generations=2) == [BROKEN, OTHERS]


def test_one_that_cannot_be_read_now_stays() -> None:
    unread = Snapshot(id="unread", taken_at=0.0, pairing="", intact=False, unread="too many files")
    assert superfluous((unread, *ALL), pairing="me", generations=2) == [BROKEN, OTHERS]


def test_while_there_is_no_good_one_of_this_pairing_all_stay() -> None:
    assert superfluous((BROKEN, OTHERS), pairing="me", generations=2) == []
    assert superfluous(ALL, pairing="a new one", generations=2) == []


@given(many_snapshots, st.none() | names, st.integers(0, 4))
def test_the_newest_good_one_always_stays(
    snapshots: tuple[Snapshot, ...], pairing: str | None, generations: int
) -> None:
    doomed = superfluous(snapshots, pairing=pairing, generations=generations)
    left = [snapshot for snapshot in snapshots if snapshot not in doomed]
    good = [s for s in snapshots if s.intact and s.pairing == pairing]
    if good:
        assert max(good, key=lambda s: (s.taken_at, s.id)) in left
        assert len(left) <= max(1, generations)
    else:
        assert left == list(snapshots)
