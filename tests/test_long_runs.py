"""`make test-long`, on a project of its own. What it does beside running what is chosen is seen when it runs."""

import asyncio
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import block_until, wait_until

RUNNER = Path(__file__).parents[1] / ".ci/long.py"
SETTINGS = """
[tool.pytest]
markers = ["long: as in waguard"]
"""
PASSES = """
import pathlib, pytest
@pytest.mark.long
def test_that_passes():
    with pathlib.Path("ran").open("a") as ran:
        ran.write(pathlib.Path(__file__).name + " ")
def test_short():
    raise AssertionError("not chosen")
"""
FAILS = """
import pathlib, pytest
@pytest.mark.long
def test_that_fails():
    assert pathlib.Path("mended").exists(), "it is not mended yet"
"""
SKIPS = """
import pytest
@pytest.mark.long
def test_that_is_skipped():
    pytest.skip("no server here")
"""
WAITS = """
import pathlib, pytest, time
@pytest.mark.long
def test_that_waits():
    name = pathlib.Path(__file__).stem
    try:
        pathlib.Path(name + " began").touch()
        time.sleep(50)
    finally:
        pathlib.Path(name + " cleaned up").touch()
"""
MANY = """
import pathlib, pytest
@pytest.mark.long
@pytest.mark.parametrize("name", ["a/b c", "mended"])
def test_that_takes_long(name):
    with pathlib.Path("ran").open("a") as ran:
        ran.write(name.replace(" ", "") + " ")
    assert name != "mended" or pathlib.Path("mended").exists()
"""
ALONE = """
import pathlib, pytest
@pytest.mark.long
def test_that_measures():
    assert sorted(pathlib.Path("ran").read_text().split()) == ["test_a.py", "test_b.py"]
"""

# without the plugins that such a project has no use for pytest starts in half the time
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "pytest_timeout",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / ".gitignore").write_text(".long\n__pycache__\n.pytest_cache\nran\nmended\n*began\n")
    (tmp_path / "test_a.py").write_text(PASSES)
    git(tmp_path, "init", "--quiet")
    return tmp_path


def git(project: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True)


def commit(project: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--allow-empty", "--message", "a commit")


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUNNER), *arguments]
    return subprocess.run(
        command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def ran(project: Path) -> list[str]:
    reported = project / "ran"
    return reported.read_text().split() if reported.exists() else []


def test_what_passed_is_not_run_again_on_this_commit(project: Path) -> None:
    (project / "test_b.py").write_text(FAILS)
    commit(project)
    first = run(project)
    assert first.returncode == 1
    assert "it is not mended yet" in first.stdout
    assert "1 passed" in (project / ".long/test_a.log").read_text()
    (project / "mended").touch()
    second = run(project)
    assert second.returncode == 0
    assert "test_a.py: passed before on this commit" in second.stdout
    assert ran(project) == ["test_a.py"]
    commit(project)
    assert run(project).returncode == 0
    assert ran(project) == ["test_a.py", "test_a.py"]


@pytest.mark.long
def test_nothing_is_remembered_of_what_has_no_commit(project: Path) -> None:
    commit(project)
    (project / "new.txt").touch()
    reported = [run(project), run(project)]
    assert [one.returncode for one in reported] == [0, 0]
    assert "something is not committed" in reported[1].stdout
    assert ran(project) == ["test_a.py", "test_a.py"]


@pytest.mark.long
def test_a_choice_is_no_more_than_what_it_chose(project: Path) -> None:
    (project / "test_b.py").write_text(PASSES)
    commit(project)
    assert run(project, "test_b.py").returncode == 0
    assert run(project).returncode == 0
    assert ran(project) == ["test_b.py", "test_a.py"]


@pytest.mark.long
def test_skipped_is_not_passed(project: Path) -> None:
    (project / "test_a.py").write_text(SKIPS)
    commit(project)
    reported = [run(project), run(project)]
    assert [one.returncode for one in reported] == [0, 0]
    assert "test_a.py: 1 skipped" in reported[1].stdout


@pytest.mark.long
def test_of_a_file_that_takes_longest_each_test_is_a_part(project: Path) -> None:
    versions = project / "tests/versions"
    versions.mkdir(parents=True)
    (versions / "test_simulation.py").write_text(MANY)
    commit(project)
    assert run(project).returncode == 1
    logs = {log.name: log.read_text() for log in (project / ".long").glob("*.log")}
    names = {
        f"tests.versions.test_simulation.test_that_takes_long[{it}].log"
        for it in ("a.b.c", "mended")
    }
    assert logs.keys() == {*names, "test_a.log"}
    assert sum("1 passed" in log for log in logs.values()) == 2
    (project / "mended").touch()
    assert run(project).returncode == 0
    assert sorted(ran(project)) == ["a/bc", "mended", "mended", "test_a.py"]


@pytest.mark.long
def test_the_longest_begins_first(project: Path) -> None:
    (project / "test_b.py").write_text(PASSES)
    (project / "test_c.py").write_text(PASSES)
    commit(project)
    assert run(project, "test_a.py", "test_b.py").returncode == 0
    took = project / ".long/seconds.json"
    seconds = json.loads(took.read_text())
    assert seconds.keys() == {"test_a.py", "test_b.py"}
    took.write_text(json.dumps(seconds | {"test_b.py": seconds["test_a.py"] + 1}))
    commit(project)
    lines = run(project).stdout.splitlines()
    begun = [line.partition(":")[0] for line in lines if line.endswith("…")]
    assert begun == ["test_c.py", "test_b.py", "test_a.py"], "what never ran may take longest"


def test_no_test_chosen_is_no_success(project: Path) -> None:
    commit(project)
    assert run(project, "-k", "nothing").returncode == 2


@pytest.mark.long
def test_interrupted_parts_end_in_order(project: Path) -> None:
    parts = ("test_a", "test_b")
    for part in parts:
        (project / f"{part}.py").write_text(WAITS)
    commit(project)
    runner = subprocess.Popen([sys.executable, RUNNER], cwd=project, env=ENVIRONMENT)
    began = [project / f"{part} began" for part in parts]
    block_until(lambda: all(it.exists() for it in began), "both begin")
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(30) == 130
    assert all((project / f"{part} cleaned up").exists() for part in parts)


@pytest.mark.long
def test_what_measures_runs_alone(project: Path) -> None:
    bench = project / "tests/bench"
    bench.mkdir(parents=True)
    (bench / "test_c.py").write_text(ALONE)
    (project / "test_b.py").write_text(PASSES)
    commit(project)
    assert run(project).returncode == 0
    assert sorted(ran(project)) == ["test_a.py", "test_b.py"]


@pytest.mark.parametrize(("load", "together"), [(0.0, 3), (99.0, 1)], ids=["at rest", "busy"])
async def test_further_parts_begin_while_the_machine_is_not_busy(
    monkeypatch: pytest.MonkeyPatch, load: float, together: int
) -> None:
    runner = runpy.run_path(str(RUNNER))
    places = runner["Places"]()
    there = type(places).__aenter__.__globals__
    for name, value in {"AT_LEAST": 1, "AT_MOST": 3, "SHOWN_AFTER": 0.001}.items():
        monkeypatch.setitem(there, name, value)
    asked = list[None]()

    def getloadavg() -> tuple[float, ...]:
        asked.append(None)
        return (load, load, load)

    monkeypatch.setattr(os, "getloadavg", getloadavg)
    begun, over = list[int](), asyncio.Event()

    async def part(number: int) -> None:
        async with places:
            begun.append(number)
            await over.wait()

    parts = asyncio.gather(*map(part, range(5)))
    await wait_until(lambda: len(begun) >= together and len(asked) >= 2, "it has asked again")
    assert begun == [*range(together)]
    over.set()
    await parts
    assert begun == [*range(5)]
