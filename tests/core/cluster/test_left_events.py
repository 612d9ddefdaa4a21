"""What an owner's answer means for what is handed to it, when it is asked again, and what a person is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.cluster.left_events import (
    PART_BYTES,
    PART_EVENTS,
    PAUSES,
    Answer,
    Failure,
    Left,
    answer_of,
    failed,
    in_parts,
    is_due,
    left_behind_words,
)


@pytest.mark.parametrize(
    ("status", "same", "other"),
    [
        (200, Answer.STORED, Answer.STORED),
        (409, Answer.NOT_OWNER, Answer.NOT_OWNER),
        (422, Answer.REFUSED, Answer.REFUSED),
        (404, Answer.OLDER, Answer.OLDER),
        (405, Answer.OLDER, Answer.OLDER),
        (400, Answer.REFUSED, Answer.OLDER),
        (413, Answer.REFUSED, Answer.OLDER),
        (415, Answer.REFUSED, Answer.OLDER),
        (401, Answer.AWAY, Answer.AWAY),
        (403, Answer.AWAY, Answer.AWAY),
        (500, Answer.AWAY, Answer.AWAY),
        (503, Answer.AWAY, Answer.AWAY),
        (507, Answer.AWAY, Answer.AWAY),
        (204, Answer.AWAY, Answer.AWAY),
        (None, Answer.AWAY, Answer.AWAY),
    ],
)
def test_only_200_says_that_it_is_stored(status: int | None, same: Answer, other: Answer) -> None:
    assert answer_of(status, same_version=True) is same
    assert answer_of(status, same_version=False) is other


def test_an_owner_is_asked_again_later_and_later_and_another_one_at_once() -> None:
    failure: Failure | None = None
    now = 100.0
    assert is_due(failure, "b", now)
    for pause in (*PAUSES, PAUSES[-1]):
        failure = failed(failure, "b", Answer.AWAY, now)
        assert failure.due == now + pause
        assert not is_due(failure, "b", failure.due - 0.1)
        assert is_due(failure, "b", failure.due)
        assert is_due(failure, "c", now)
    assert failed(failure, "c", Answer.AWAY, now).due == now + PAUSES[0]


@given(st.lists(st.integers(1, 2 * PART_BYTES), max_size=30), st.integers(0, 1_100))
def test_each_event_is_in_one_part_and_no_part_is_too_large(large: list[int], small: int) -> None:
    sizes = [*large, *[1] * small]
    parts = [sizes[it] for it in in_parts(sizes)]
    assert [size for part in parts for size in part] == sizes
    for part in parts:
        assert 0 < len(part) <= PART_EVENTS
        assert len(part) == 1 or sum(part) <= PART_BYTES


def words(*left: Left, quarantined: tuple[str, ...] = ()) -> str:
    return left_behind_words(left, quarantined) or ""


def failure(owner: str, answer: Answer) -> Failure:
    return Failure(owner=owner, answer=answer, count=1, due=0.0)


def test_nothing_is_no_condition() -> None:
    assert left_behind_words((), ()) is None


def test_it_says_to_whom_it_is_handed_and_why_it_is_not_there_yet() -> None:
    one = Left(session="s", count=2, files=("k.3.unstored",), owner="b")
    assert words(one) == (
        "this host has events that are not stored, of sessions that it does not own: of s 2 in memory and those in"
        " k.3.unstored below `workers`, which are being handed to b"
    )
    for answer in (Answer.AWAY, Answer.OLDER, Answer.NOT_OWNER):
        it = Left(session="s", count=2, owner="b", failure=failure("b", answer))
        assert words(it).endswith(f"which are being handed to b: it {answer}")
    runs = Left(session="s", count=2, owner="b", failure=failure("b", Answer.RUNS))
    assert words(runs).endswith("being handed to b: its worker here has not ended")
    unusable = Left(session="s", count=2, owner="b", failure=failure("b", Answer.UNUSABLE))
    assert "being handed to b: not all of that can be read, moved" in words(unusable)
    moved = Left(session="s", count=2, owner="c", failure=failure("b", Answer.AWAY))
    assert words(moved).endswith("which are being handed to c")
    nobodys = Left(session="s", count=2)
    assert words(nobodys).endswith("of s 2 in memory, which wait until a host owns it")
    unknown = Left(session=None, files=("k.3.unstored",))
    assert words(unknown).endswith("whose session is not there any more: they stay there")


def test_what_no_host_takes_is_named_too() -> None:
    assert words(quarantined=("b.untaken", "a.untaken")) == (
        "events that no host takes are kept in a.untaken, b.untaken below `workers`: they are not delivered"
    )
    it = Left(session="s", count=2)
    assert "; " not in words(it, quarantined=("a",))
    assert words(it, quarantined=("a",)).endswith("not delivered")


def test_many_are_counted() -> None:
    said = words(*(Left(session=f"s{it}", count=1, owner="b") for it in range(9)))
    assert "of s4 1" in said
    assert said.endswith("; those of 4 more")
    files = tuple(f"f{it}" for it in range(7))
    assert "f4 and 2 more" in words(Left(session="s", files=files))
