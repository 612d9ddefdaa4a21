"""Small file systems in memory, where this user may mount one; and disks on which nothing can be stored."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from waguard.lab.chaos.world import NotInTimeError


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[bool]:
    """A tmpfs on the folder ``place`` while the body runs; False where that is not allowed."""
    is_mounted = _ran("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place))
    try:
        yield is_mounted
    finally:
        if is_mounted:
            _ran("umount", "-l", str(place))  # lazily: an open file does not keep it


@contextlib.contextmanager
def remounted(place: Path, options: str, afterwards: str) -> Iterator[None]:
    """A tmpfs with other options while the body runs. Raises ``NotInTimeError``."""
    if not _ran("mount", "-o", f"remount,{options}", str(place)):
        raise NotInTimeError(f"{place} cannot be mounted with {options}")
    try:
        yield
    finally:
        _ran("mount", "-o", f"remount,{afterwards}", str(place))


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Mount the folder so that nobody can write who opens it while the body runs. Raises ``NotInTimeError``."""
    if not _ran("mount", "--bind", str(place), str(place)):
        raise NotInTimeError(f"nothing can be mounted on {place}")
    try:
        if not _ran("mount", "-o", "remount,bind,ro", str(place)):
            raise NotInTimeError(f"{place} cannot be made read-only")
        yield
    finally:
        _ran("umount", "-l", str(place))


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free there while the body runs."""
    filler = disk / "filler"
    free = os.statvfs(disk)
    try:
        with filler.open("wb") as file:
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(4096))
        yield
    finally:
        filler.unlink(missing_ok=True)


def _ran(*command: str) -> bool:
    """Whether there is such a command and it went well."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own words
    except OSError:
        return False
