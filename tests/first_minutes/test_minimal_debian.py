"""The README's first two commands, in a fresh clone on a minimal Debian with exactly what it names."""

import re
from pathlib import Path

import pytest

from tests.first_minutes.minimal_root import (
    CHECKOUT,
    NAMED,
    USER,
    clone,
    make_root,
    running,
    why_not,
    within,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(params=["root", USER])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Each user finds it as minimal as the other."""
    made = tmp_path / "root"
    if why := make_root(made):
        pytest.skip(f"no root file system can be made here: {why}")
    return made


def test_the_readme_names_what_is_installed_here() -> None:
    text = (CHECKOUT / "README.md").read_text()
    [named] = re.findall(r"On Debian 13 with (.*), as root", text)
    assert set(re.findall(r"python3|npm|make", named)) == set(NAMED)


def test_demo_and_run_work_in_a_fresh_clone(root: Path, user: str) -> None:
    folder = "/srv/waguard"
    clone(root, folder, owner=user)
    done = within(root, "make", "demo", "ARGS=--once", user=user, folder=folder, timeout=2_400.0)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    sandbox = "WAGUARD_BROWSER__SANDBOX=false"
    with running(
        root, "env", sandbox, "WAGUARD_API__PORT=0", "make", "run", user=user, folder=folder
    ) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "daemon_up" in line:
                break
        else:
            pytest.fail("".join(lines[-30:]))


def test_what_is_missing_is_named_before_anything_long(root: Path) -> None:
    """By who may install nothing."""
    folder = "/srv/waguard"
    clone(root, folder, owner=USER)
    (root / "etc/sudoers.d" / USER).unlink()
    done = within(root, "make", "demo", user=USER, folder=folder, timeout=120.0)
    assert done.returncode != 0
    assert "apt-get install" in done.stderr
    assert "python3-venv" in done.stderr
    assert not (root / folder.lstrip("/") / ".venv").exists()
