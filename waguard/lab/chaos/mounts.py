"""Small file systems in memory, where this user may mount one."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[bool]:
    """A tmpfs on the folder ``place`` while the body runs; False where that is not allowed."""
    is_mounted = _ran("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place))
    try:
        yield is_mounted
    finally:
        if is_mounted:
            _ran("umount", "-l", str(place))  # lazily: an open file does not keep it


def _ran(*command: str) -> bool:
    """Whether there is such a command and it went well."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own words
    except OSError:
        return False
