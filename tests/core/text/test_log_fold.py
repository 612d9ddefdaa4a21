"""Repetitions are counted and said, none is lost, and nothing else is taken for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.text.log_fold import WINDOW, WINDOWS, Fold, Repeated, signature


def said(fold: Fold[str], what: str, now: float) -> list[str]:
    """What a log would show for a line."""
    shown = [f"{it.line} x{it.times}" for it in fold.due(now)]
    return [*shown, what] if fold.accept(what, what, now) else shown


def test_a_storm_is_said_once_and_then_counted() -> None:
    fold = Fold[str]()
    shown = [line for second in range(38) for line in said(fold, "down", float(second))]
    assert shown == ["down"]
    assert list(fold.due(WINDOW - 0.1)) == []
    assert list(fold.due(WINDOW)) == [Repeated("down", 37, WINDOW)]


def test_a_storm_is_logged_each_minute_and_a_later_one_from_its_first_line() -> None:
    fold = Fold[str]()
    shown = [line for second in range(130) for line in said(fold, "down", float(second))]
    assert shown == ["down", "down x59", "down x60"]
    assert list(fold.due(180.0)) == [Repeated("down", 10, WINDOW)]
    assert list(fold.due(240.0)) == []
    assert said(fold, "down", 300.0) == ["down"]


def test_the_end_says_what_was_not_said_yet() -> None:
    fold = Fold[str]()
    for what, now in (("a", 0.0), ("b", 1.0), ("a", 2.0), ("a", 3.0)):
        said(fold, what, now)
    assert list(fold.flush(10.0)) == [Repeated("a", 2, 10.0)]
    assert list(fold.flush(10.0)) == []


def test_so_many_kinds_of_lines_end_the_oldest_early() -> None:
    fold = Fold[str]()
    said(fold, "first", 0.0)
    said(fold, "first", 0.0)
    shown = [line for number in range(WINDOWS + 1) for line in said(fold, f"{number}", 1.0)]
    assert "first x1" in shown
    assert len(shown) == WINDOWS + 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 40)), max_size=200))
def test_no_line_is_lost(lines: list[tuple[str, float]]) -> None:
    fold, now, counted = Fold[str](), 0.0, dict.fromkeys("abc", 0)
    for what, passed in lines:
        now += passed
        for it in fold.due(now):
            counted[it.line] += it.times
            assert it.seconds >= WINDOW
        counted[what] += fold.accept(what, what, now)
    for it in fold.flush(now):
        counted[it.line] += it.times
    assert counted == {what: sum(one == what for one, _ in lines) for what in "abc"}


LINE: dict[str, Any] = {"event": "webhook_failed", "session": "a", "why": "HTTP 500", "id": 1}


@pytest.mark.parametrize(
    "changes", [{"id": 2}, {"attempt": 3}, {"count": 4, "delay": 0.5}, {"seconds": 7}]
)
def test_what_varies_makes_no_other_line(changes: dict[str, Any]) -> None:
    assert signature("error", "x", LINE | changes) == signature("error", "x", LINE)


@pytest.mark.parametrize(
    "changes",
    [
        *({"session": "b"}, {"event": "webhook_dead"}, {"why": "HTTP 404"}, {"worker": 7}),
        *({"exception": "KeyError: 1"}, {"done": ["a"]}),
    ],
)
def test_what_says_something_else_is_another_line(changes: dict[str, Any]) -> None:
    assert signature("error", "x", LINE | changes) != signature("error", "x", LINE)
    assert signature("error", "y", LINE) != signature("error", "x", LINE)
    assert signature("warning", "x", LINE) != signature("error", "x", LINE)


@pytest.mark.parametrize("change", [{"after": "offline"}, {"condition": "page"}])
def test_a_change_is_no_repetition(change: dict[str, Any]) -> None:
    """Else the newest state would be missing for a minute."""
    assert signature("info", "link", LINE | change) is None
