"""A file system that is soon full."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(mountpoint: Path, size: int) -> Iterator[Path]:
    """A tmpfs of ``size`` bytes; the test is skipped where none may be mounted."""
    mountpoint.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mountpoint.mkdir()
    options = f"size={size},mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mountpoint)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", "-l", str(mountpoint)], check=True)


def remount(mountpoint: Path, options: str) -> None:
    """Change it in place: ``ro``, or another size."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(mountpoint)], check=True)
