"""What a build mounts below a test's folder is seen by nobody else, and gone with the build: pytest deletes that folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.first_minutes.minimal_root import APART, descendants

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root can mount, and unshare is needed",
)


def mounted_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(folder) in line]


def test_a_killed_build_leaves_neither_mounts_nor_processes(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "root" / "dev"
    outside.mkdir()
    (outside / "kept").touch()
    inside.mkdir(parents=True)
    script = f"mount --bind {outside} {inside} && ls {inside} && exec sleep 600"
    with subprocess.Popen([*APART, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as build:
        assert build.stdout
        try:
            assert build.stdout.readline() == "kept\n", "it is mounted"
            assert mounted_below(tmp_path) == []
            assert list(inside.iterdir()) == []
            assert descendants(build.pid)
            shutil.rmtree(tmp_path / "root")
            assert (outside / "kept").exists()
        finally:
            build.kill()
        assert build.stdout.read() == "", "the last of its processes closes it"
    assert mounted_below(tmp_path) == []
