"""``waguard sweep``, and the last line of a command that failed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.processes import clean_environment, waguard
from waguard.host.files.lock import acquire

STRAY = "import signal; print('up', flush=True); signal.pause()"


def stray(folder: Path, user: int | None = None) -> "subprocess.Popen[str]":
    """It bears the mark of a worker of this folder."""
    record = folder / "run/workers/a.json"
    process = subprocess.Popen(
        [sys.executable, "-c", STRAY, "waguard.worker", "s"],
        env={**clean_environment(), "WAGUARD_RECORD": str(record), "WAGUARD_SESSION": "s"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd="/",
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    return process


def test_what_a_dead_daemon_left_is_ended_in_order(tmp_path: Path) -> None:
    with stray(tmp_path) as left:
        done = waguard("sweep", folder=tmp_path)
        assert (done.returncode, done.stdout) == (0, "1 processes ended\n")
        assert left.wait() == -signal.SIGTERM
    done = waguard("sweep", "--json", folder=tmp_path)
    assert json.loads(done.stdout) == {"ended": [], "left": []}


def test_nothing_is_taken_from_a_living_daemon(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "run")
    with stray(tmp_path) as left:
        done = waguard("sweep", folder=tmp_path)
        assert done.returncode == 3
        assert f"pid {os.getpid()}" in done.stderr
        assert left.poll() is None
        left.kill()
    lock.release()


@pytest.mark.parametrize(("journal", "begin"), [(True, "<3>waguard: "), (False, "waguard: ")])
def test_the_last_line_has_a_priority_in_the_journal_alone(
    tmp_path: Path, *, journal: bool, begin: str
) -> None:
    with (tmp_path / "err").open("w+") as err:
        stat = os.fstat(err.fileno())
        named = f"{stat.st_dev}:{stat.st_ino if journal else 1}"
        done = subprocess.run(
            [sys.executable, "-m", "waguard", "run", "--config", "missing.toml"],
            cwd=tmp_path,
            stderr=err,
            env=clean_environment({"JOURNAL_STREAM": named}),
            check=False,
        )
        err.seek(0)
        [line] = err.read().splitlines()
    assert done.returncode == 2
    assert line.startswith(begin)
