"""The wheel, on a minimal Debian with pipx and Chromium, by somebody who has no checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.first_minutes.minimal_root import CHECKOUT, USER, make_root, why_not, within

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

FOLDER = f"/home/{USER}"
WAGUARD = f"{FOLDER}/.local/bin/waguard"


def test_the_demo_works_from_the_wheel(tmp_path: Path) -> None:
    root = tmp_path / "root"
    if why := make_root(root, ("python3", "pipx", "chromium", "ca-certificates")):
        pytest.skip(f"no root file system can be made here: {why}")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, CHECKOUT)
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    [wheel] = tmp_path.glob("waguard-*.whl")
    shutil.copy(wheel, root / FOLDER.lstrip("/"))

    def run(*argv: str, fails: bool = False) -> str:
        done = within(root, *argv, user=USER, folder=FOLDER, timeout=1_800.0)
        assert bool(done.returncode) is fails, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout + done.stderr

    run("pipx", "install", wheel.name)
    refused = run(WAGUARD, "demo", "--once", fails=True).splitlines()
    assert "(pipx inject waguard cryptography)" in refused[-1]
    run("pipx", "inject", "waguard", "cryptography")
    assert "connected again" in run(WAGUARD, "demo", "--once")
    run("pipx", "uninstall", "waguard")
    # Debian's pipx leaves out what stands in brackets behind a path
    run("pipx", "install", f"waguard[lab] @ file://{FOLDER}/{wheel.name}")
    assert "connected again" in run(WAGUARD, "demo", "--once")
