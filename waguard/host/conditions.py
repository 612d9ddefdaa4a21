"""What this host has for a session that is to start: read for all sessions at once."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from waguard.config.sections import Config
from waguard.core.host.admission import Reading
from waguard.core.host.evidence import TO_START, disk_failure
from waguard.errors import printable
from waguard.host import resources
from waguard.host.evidence import usage, written
from waguard.host.executable import BrowserNotFoundError, find_executable

LOST_AND_FOUND: Final = "lost+found"  # of a disk that holds nothing else
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


class HostConditions:
    """Knows the folder of all profiles again: what takes its place under a running daemon (a browser that
    lives writes again where its disk was) is not it."""

    def __init__(self) -> None:
        self._folder: tuple[int, int] | None = None
        """Device and inode, since it was first seen with a profile."""

    def read(self, config: Config) -> Reading:
        """Takes about 0.3 ms and waits for nothing but the disk of the profiles."""
        found = read(config)
        if found.unreadable or found.empty:
            return found
        sessions = config.paths.sessions
        try:
            seen = sessions.stat()
        except OSError:  # gone in this very moment: the next reading says so
            return found
        folder = (seen.st_dev, seen.st_ino)
        self._folder = self._folder or folder
        if folder == self._folder:
            return found
        why = (
            f"paths.sessions ({sessions}) is another folder than before: mount its disk; where it "
            "was replaced on purpose, restart waguard"
        )
        return replace(found, unreadable=printable(why))


def read(config: Config) -> Reading:
    """Without a memory. Takes as long."""
    sessions = config.paths.sessions
    empty, unreadable = None, None
    try:
        if not _holds_folders(sessions):
            empty = f"paths.sessions ({sessions}) has no profile in it"
    except OSError as error:
        if error.errno in _ABSENT:
            empty = f"paths.sessions ({sessions}) does not exist"
        else:
            unreadable = f"paths.sessions ({sessions}) cannot be read: {error.strerror}"
    return replace(
        resources.read(),
        disk=disk_failure((usage(*it) for it in written(config)), margin=TO_START),
        executable=_executable(config),
        empty=_mounted(empty, sessions) if empty else None,
        unreadable=printable(f"{unreadable}: mount its disk, or repair it") if unreadable else None,
    )


def _holds_folders(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.is_dir() and entry.name != LOST_AND_FOUND for entry in entries)


def _mounted(why: str, sessions: Path) -> str:
    return printable(
        f"{why}, although sessions were paired: mount its disk; where all profiles are lost for good, "
        f"create a folder in it (mkdir {sessions}/workspace_1)"
    )


def _executable(config: Config) -> str | None:
    flavour: Any = config.browser.flavour
    try:
        find_executable(config.browser.executable, flavour)
    except BrowserNotFoundError as error:
        return error.line()
    return None
