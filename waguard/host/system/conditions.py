"""What this host has for a session that is to start: read for all sessions at once."""

import errno
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from waguard.config.sections import Config
from waguard.core.host.admission import Reading
from waguard.core.host.evidence import TO_START, disk_failure
from waguard.core.replace import replace
from waguard.errors import printable
from waguard.host.lacking import lacks
from waguard.host.process.executable import BrowserNotFoundError, find_executable
from waguard.host.system import resources
from waguard.host.system.evidence import usage, written

LOST_AND_FOUND: Final = "lost+found"  # of a disk that holds nothing else
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


class HostConditions:
    """Knows the folder of all profiles again: what takes its place under a running daemon (a browser that
    lives writes again where its disk was) is not it."""

    def __init__(self) -> None:
        self._folder: tuple[int, int] | None = None
        """Device and inode, since it was first seen with a profile."""
        self._was_empty = False

    def read(self, config: Config, unpaired: Callable[[], Collection[Path]] = tuple) -> Reading:
        """Takes about 0.3 ms and waits for nothing but the disk of the profiles. ``unpaired``: profiles that
        do not show that the folder is what it should be, where it was empty before they were made."""
        found = read(config, unpaired() if self._was_empty else ())
        self._was_empty = self._was_empty or found.empty is not None
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


def read(config: Config, unpaired: Collection[Path] = ()) -> Reading:
    """Without a memory. Takes as long."""
    sessions = config.paths.sessions
    empty, unreadable, missing = None, None, False
    try:
        if not _holds_folders(sessions, unpaired):
            empty = f"paths.sessions ({sessions}) has no profile in it"
    except OSError as error:
        if error.errno in _ABSENT:
            empty, missing = f"paths.sessions ({sessions}) does not exist", True
        elif not lacks(error):  # else nothing is known of the folder now
            unreadable = f"paths.sessions ({sessions}) cannot be read: {error.strerror}"
    return replace(
        resources.read(),
        disk=disk_failure((usage(*it) for it in written(config)), margin=TO_START),
        executable=_executable(config),
        empty=_mounted(empty, sessions) if empty else None,
        missing=missing,
        unreadable=printable(f"{unreadable}: mount its disk, or repair it") if unreadable else None,
    )


def _holds_folders(folder: Path, unpaired: Collection[Path]) -> bool:
    with os.scandir(folder) as entries:
        found = [Path(it.path) for it in entries if it.is_dir() and it.name != LOST_AND_FOUND]
    return any(not _is_of(it, unpaired) for it in found)


def _is_of(folder: Path, unpaired: Collection[Path]) -> bool:
    """Whether it has nothing but these."""
    if not any(it.parent == folder for it in unpaired):
        return False
    with os.scandir(folder) as entries:
        return all(Path(it.path) in unpaired for it in entries)


def _mounted(why: str, sessions: Path) -> str:
    return printable(
        f"{why}, although sessions were paired: mount its disk; where all profiles are lost for good, "
        f"create another folder in it (mkdir {sessions}/lost)"
    )


def _executable(config: Config) -> str | None:
    flavour: Any = config.browser.flavour
    try:
        find_executable(config.browser.executable, flavour)
    except BrowserNotFoundError as error:
        return error.line()
    return None
