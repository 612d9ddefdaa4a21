"""Quiet hours."""

import pytest

from waguard.core.alerts.quiet import holds, parse


@pytest.mark.parametrize(
    ("text", "minute", "quiet"),
    [
        ("", 0, False),
        ("22:00-07:00", 22 * 60, True),
        ("22:00-07:00", 0, True),
        ("22:00-07:00", 7 * 60 - 1, True),
        ("22:00-07:00", 7 * 60, False),
        ("22:00-07:00", 22 * 60 - 1, False),
        ("01:30-05:00", 90, True),
        ("01:30-05:00", 89, False),
        ("01:30-05:00", 300, False),
    ],
)
def test_the_hours_hold(text: str, minute: int, *, quiet: bool) -> None:
    assert holds(parse(text), minute) is quiet


@pytest.mark.parametrize(
    "text", ["22-7", "24:00-07:00", "22:00 - 07:00", "22:60-07:00", "08:00-08:00"]
)
def test_what_is_no_pair_of_times_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is not two times of the day|both times are the same"):
        parse(text)
