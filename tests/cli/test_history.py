"""``waguard top --history``."""

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from waguard.cli import history
from waguard.core.history import FLEET


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([None, 0.0, None], " ▁ "),
        ([1.0, 4.0, 8.0], "▂▅█"),
        ([None, 5.0, 5.0, 10.0, 1.0, None, None, None], " ▅▅█▁   "),
    ],
)
def test_a_plot_has_gaps_where_nothing_is_known(values: list[float | None], expected: str) -> None:
    assert history.plot(values) == expected


def test_a_long_time_is_shown_by_the_highest_of_each_part() -> None:
    assert history.plot([1.0, 8.0, None, None, 1.0], width=3) == "█ ▂"


def test_each_series_is_a_line(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    series: dict[str, list[float | None]] = {it: [None, 2.0e9, 1.5] for it in FLEET}
    reply = {"success": True, "at": 0, "step": 60, "series": series | {FLEET[-1]: [None]}}
    api.says("GET /api/history?since=2026-11-25T09%3A00%3A00%2B00%3A00", Answer(200, reply))
    assert main(["top", "--history", "--since", "2026-11-25T09:00"]) == 0
    lines, _ = said(capsys)
    assert lines[0].split() == ["SERIES", "HISTORY", "NOW", "LEAST", "MOST"]
    assert lines[1].split() == [FLEET[0], "█▁", "1.5", "1.5", "2G"]
    assert lines[-1].split() == [FLEET[-1], "-", "-", "-"]
    assert len(lines) == len(FLEET) + 1
