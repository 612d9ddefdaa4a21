"""The history's file: its slots, its layout, and what moves from one to the next."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from waguard.core import history
from waguard.core.history import DAY, FLEET, NAN, Layout, Ring

NOW = 1_790_000_000.0
WIDTH = len(FLEET)


def written(content: bytes, ring: Ring, span: int, values: Sequence[float]) -> bytes:
    offset = ring.offset(span)
    return content[:offset] + ring.encoded(span, values) + content[offset + ring.size :]


def same(found: Sequence[float] | None, expected: Sequence[float]) -> bool:
    return found is not None and str(list(found)) == str(list(expected))


def test_with_200_sessions_it_has_little_more_than_a_megabyte() -> None:
    names = tuple(f"webjs_4_1732240003_{number:08d}" for number in range(200))
    assert Layout(tuple(f"s{number}" for number in range(24)), names).size < 1_400_000
    assert Layout(FLEET, names).size < 1_100_000


def test_a_slot_is_of_its_own_span_alone() -> None:
    layout = Layout(sessions=("a",))
    ring = layout.minutes
    span = ring.span(NOW)
    content = written(layout.empty, ring, span, [1.5] * WIDTH)
    assert ring.values(content, span) == (1.5,) * WIDTH
    for other in (span - 1, span + 1, span - ring.slots, span + ring.slots):
        assert ring.values(content, other) is None
    assert len(content) == layout.size
    assert history.layout_of(content) == layout


def test_a_damaged_slot_is_unknown_wherever_it_is_cut() -> None:
    layout = Layout()
    ring = layout.means
    span = ring.span(NOW)
    before = written(layout.empty, ring, span - ring.slots, [1.0] * WIDTH)
    after = written(before, ring, span, [2.0] * WIDTH)
    offset = ring.offset(span)
    for cut in range(1, ring.size):
        torn = after[: offset + cut] + before[offset + cut :]
        found = ring.values(torn, span)
        assert found in (None, (2.0,) * WIDTH)
        assert found is None or torn == after


DAMAGED: Final[dict[str, tuple[Callable[[bytes], bytes], str]]] = {
    "nothing": (lambda it: it[:0], "not a history"),
    "cut in its head": (lambda it: it[:20], "not a history"),
    "a later version": (lambda it: b"waguard history 2\n" + it[18:], "of this version"),
    "other names": (lambda it: it.replace(b'"fleet"', b'"sleet"', 1), "head is damaged"),
    "cut": (lambda it: it[:-1], "bytes"),
    "more": (lambda it: it + b"\0", "bytes"),
}


@pytest.mark.parametrize(("damage", "why"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_history_is_not_read(damage: Callable[[bytes], bytes], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        history.layout_of(damage(Layout(sessions=("a",)).empty))


def test_a_new_session_takes_nothing_from_the_others() -> None:
    old = Layout(("connected", "of_later"), ("b", "gone"))
    fleet, each = old.minutes.span(NOW), old.of_sessions.span(NOW)
    content = written(old.empty, old.minutes, fleet, [7.0, 9.0])
    content = written(content, old.means, 5, [3.0, 4.0])
    content = written(content, old.of_sessions, each, [1.0, 2.0, NAN, NAN])
    content = history.with_places(content, old, ["a"], now=NOW)
    new = history.layout_of(content)
    assert new.sessions == ("a", "b"), "who was not measured for a day leaves"
    assert new.fleet[:2] == ("connected", "of_later"), "series are only added"
    assert set(FLEET) < set(new.fleet)
    assert new.has(["a", "b"])
    assert not new.has(["c"])
    assert not old.has(["b"])
    unknown = [NAN] * (len(new.fleet) - 2)
    assert same(new.minutes.values(content, fleet), [7.0, 9.0, *unknown])
    assert same(new.means.values(content, 5), [3.0, 4.0, *unknown])
    assert same(new.of_sessions.values(content, each), [NAN, NAN, 1.0, 2.0])


def test_an_old_measurement_keeps_no_place() -> None:
    old = Layout(FLEET, ("a",))
    ring = old.of_sessions
    content = written(old.empty, ring, ring.span(NOW - DAY), [1.0, 2.0])
    assert history.layout_of(history.with_places(content, old, ["b"], now=NOW)).sessions == ("b",)


@pytest.mark.parametrize(
    ("last", "expected"), [(None, [9]), (8, [9]), (9, [9]), (7, [8, 9]), (6, [9]), (12, [9])]
)
def test_one_span_that_was_left_out_is_written_too(last: int | None, expected: list[int]) -> None:
    assert list(history.due(last, 9)) == expected


def test_a_mean_is_of_what_is_known() -> None:
    rows = [(1.0, NAN, 5.0), None, (3.0, NAN, NAN)]
    assert same(history.mean(rows, 3), [2.0, NAN, 5.0])
    assert all(math.isnan(it) for it in history.mean([None], 2))
