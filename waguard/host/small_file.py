"""A file that an earlier run wrote, and that anything may have happened to since.

Stdlib only: the lock reads its pid file before anything heavy is imported.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

LIMIT: Final = 1 << 16  # bytes; a worker's record has 500
SUFFIX: Final = ".unreadable"
_BLOCK: Final = 512  # bytes, as ``stat`` counts them


class UnreadableError(Exception):
    """The file is there, and not what we wrote; the message says what it is.

    ``by_system``: the system did not let it be read now, which says nothing of its content.
    """

    def __init__(self, why: str, *, by_system: bool = False) -> None:
        super().__init__(why)
        self.by_system = by_system


def read(path: Path, *, limit: int = LIMIT, named: bool = False) -> bytes:
    """The file's content, without following a link, waiting for a pipe or believing another user.

    ``limit`` in bytes. ``named``: a person gave this name, so a link is followed, and whose the file is
    others have checked (``ownership``). Raises ``FileNotFoundError`` where there is none,
    ``UnreadableError`` for all else.
    """
    follow = 0 if named else os.O_NOFOLLOW
    try:
        descriptor = os.open(path, os.O_RDONLY | follow | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        link = error.errno == errno.ELOOP and not named
        socket = error.errno == errno.ENXIO
        raise UnreadableError(
            "it is a symbolic link" if link else f"it cannot be opened: {error.strerror}",
            by_system=not (link or socket),
        ) from None
    try:
        _require_small(os.fstat(descriptor), None if named else path, limit)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror}", by_system=True) from None
    finally:
        os.close(descriptor)


def _require_small(found: os.stat_result, ours: Path | None, limit: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError("it is not a regular file")
    # root may ask about another user's daemon: its files belong to whoever has their folder
    if ours and found.st_uid not in {0, os.geteuid(), ours.parent.stat().st_uid}:
        raise UnreadableError(f"it belongs to user {found.st_uid}")
    if found.st_size > limit:
        raise UnreadableError(f"it has {found.st_size} bytes, {limit} at most are expected")


def overwrite(path: Path, content: bytes) -> bool:
    """Write JSON over what is there, in the room that it has on a full disk; whether it has that. A crash meanwhile damages
    it. Raises ``OSError``."""
    with open(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "wb") as file:  # noqa: PTH123 - a descriptor
        has = os.fstat(file.fileno())
        if len(content) > has.st_blocks * _BLOCK:
            return False
        file.write(content.ljust(has.st_size))  # blanks are nothing in JSON
        file.flush()
        os.fsync(file.fileno())
    return True


def quarantine(path: Path) -> Path:
    """Rename it, so that it stays as evidence and is not read again; its new path. Raises ``OSError``."""
    return path.rename(_evidence(path))


def keep(path: Path) -> Path:
    """Give it a second name, under which it stays as evidence when it is replaced; it is not away for a moment. Raises
    ``OSError``."""
    target = _evidence(path)
    target.hardlink_to(path)
    return target


def _evidence(path: Path) -> Path:
    target = path.with_name(path.name + SUFFIX)
    if os.path.lexists(target):  # evidence of an earlier time
        target = path.with_name(f"{path.name}.{os.lstat(path).st_ino}{SUFFIX}")
    return target
