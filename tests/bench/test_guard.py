"""What ``bench/guard.py`` makes of its figures; the whole in its short form."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import guard
from bench.supervisors.fleet import ROWS

CHECKOUT = Path(__file__).parents[2]
ROW = {"stop": "stop of all, ms"}


def test_a_ratio_is_taken_turn_by_turn() -> None:
    base: list[guard.Found] = [{"stop": [10.0, 30.0, 20.0]}, {"stop": [40.0]}]
    ours: list[guard.Found] = [{"stop": [40.0]}, {"stop": [20.0]}]
    assert guard.ratios(ours, base, "stop") == [2.0, 0.5]


def test_what_one_side_has_not_has_no_ratio() -> None:
    base: list[guard.Found] = [{"stop": [10.0]}, {"stop": "no reason"}, {}, {"stop": [0.0]}]
    assert guard.ratios([{"stop": [20.0]}] * 4, base, "stop") == [2.0]


@pytest.mark.parametrize(
    ("changed", "equal", "difference"),
    [
        ([1.2, 1.3, 1.1], [1.0, 0.9, 1.1], "**slower**"),
        ([0.8] * 3, [1.0, 1.1, 1.0], "faster"),
        ([1.3] * 3, [1.0, 0.7, 1.0], "same"),
        ([0.72] * 3, [1.0, 0.7, 1.0], "same"),
        ([1.015] * 3, [1.0] * 3, "same"),
        ([1.5] * 2, [1.0] * 3, ""),
        ([], [], ""),
    ],
)
def test_only_what_is_beyond_the_noise_is_a_difference(
    changed: list[float], equal: list[float], difference: str
) -> None:
    assert guard.difference(changed, equal) == difference


def test_the_table_says_why_a_figure_is_absent() -> None:
    base: guard.Found = {"stop": [100.0, 120.0]}
    shown = guard.compared([base], [base], [{"stop": "not within 120 s"}])
    assert "| stop of all, ms | 110 (120) | - | - | 1.00 (1.00 to 1.00) |  |" in shown
    assert "- other: not within 120 s (stop of all, ms)" in shown


def test_a_row_that_nobody_measured_is_never_zero() -> None:
    assert guard.merged([{"stop": []}], "stop") == "not measured"
    assert guard.table(ROW, {"s6": [{}]}, {}).splitlines()[2:] == [
        "| stop of all, ms | - |",
        "",
        "- s6: not measured",
    ]


def test_each_side_is_first_in_turn() -> None:
    assert [guard.order(3, number) for number in range(4)] == [
        [0, 1, 2],
        [1, 2, 0],
        [2, 0, 1],
        [0, 1, 2],
    ]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def test_a_commit_is_cloned_and_set_up_once(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "--quiet")
    (project / "Makefile").write_text("setup:\n\tmkdir -p .venv\n\techo x >>.venv/.installed\n")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "one")
    commit = git(project, "rev-parse", "HEAD")
    git(project, "commit", "--quiet", "--allow-empty", "--message", "two")
    made = [guard.checkout("HEAD^", tmp_path / "clones", project) for _ in range(2)]
    assert made == [tmp_path / "clones" / commit[:12]] * 2
    assert git(made[0], "rev-parse", "HEAD") == commit
    assert (made[0] / ".venv/.installed").read_text() == "x\n"


def test_no_such_commit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        guard.checkout("no-such-commit", tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_short_form_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-P", "-m", "bench.guard", ".", ".", "--short", "--rounds", "1"]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, text=True, stdout=subprocess.PIPE)
    with capsys.disabled():
        print("", done.stdout, sep="\n")
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    figures = {row[0].removeprefix("| "): row[1:3] for row in rows}
    assert {name: "-" in figures[name] for name in ROWS.values()} == dict.fromkeys(
        ROWS.values(), False
    )
    assert all(figures[name] == ["-", "-"] for name in guard.REAL.values())
