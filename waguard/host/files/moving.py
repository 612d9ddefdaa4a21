"""Folders that are moved, also to another file system: whole, or not at all.

Theory of operation. A rename is atomic. Where the target lies on another file system (EXDEV), the folder
is copied beside the target, synced, compared with its source, and renamed; only then the source is
renamed to be deleted. So a crash at any moment leaves the whole source, the whole target, or both; never
less than one.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from waguard.errors import WaguardError

UNFINISHED: Final = ".waguard-copy-"
DONE: Final = ".waguard-moved-"
"""The beginning of the name of a source whose copy is whole; beside where it lay."""


class NotMovableError(WaguardError):
    """The folder cannot be moved as it is: a person has to change something."""


def move(source: Path, target: Path, *, key: str) -> None:
    """Move what lies at ``source``, or where that links to; a link itself stays, and leads to an empty folder: one that
    leads nowhere is a disk that is not mounted.

    Nothing may write to it meanwhile. ``key`` names an unfinished copy, one at a time. Raises
    ``NotMovableError`` for a mount point, and for what cannot be removed from its folder; ``OSError`` where the copy
    does not succeed.
    """
    real = source.resolve(strict=True)
    require_movable(real)
    try:
        real.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_over(real, target, target.with_name(f"{UNFINISHED}{key}"))
    if source.is_symlink():
        with contextlib.suppress(OSError):  # it is moved all the same
            real.mkdir(mode=0o700)
    clear(real)  # last: it takes seconds, in which nothing else may be missing


def _move_over(real: Path, target: Path, draft: Path) -> None:
    """To another file system; what ``clear`` deletes is left."""
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise NotMovableError(
            f"{real} cannot be moved: its folder {real.parent} cannot be written",
            value=str(real),
            remedy="let the user who runs waguard write that folder",
        )
    _copy(real, target, draft)
    doomed = _beside(real)
    shutil.rmtree(doomed, ignore_errors=True)
    try:
        real.rename(doomed)
    except OSError:
        with contextlib.suppress(OSError):
            target.rename(draft)  # a crash in its removal leaves no half of it under its name
        shutil.rmtree(draft, ignore_errors=True)
        raise


def require_movable(real: Path) -> None:
    """Raises ``NotMovableError`` for a mount point; ``real`` is no link."""
    if real.is_mount():
        raise NotMovableError(
            f"{real} is a mount point and cannot be moved",
            value=str(real),
            remedy="mount the disk on a folder above it",
        )


def is_uncleared(source: Path) -> bool:
    """Whether a crash left something of ``source`` for ``clear``."""
    return _beside(source.resolve()).exists()


def clear(source: Path) -> None:
    """Delete what a crash left of ``source`` after its copy was whole."""
    shutil.rmtree(_beside(source.resolve()), ignore_errors=True)


def clear_unfinished(folder: Path, *, before: float) -> None:
    """Delete copies in ``folder`` that a crash left before that unix time."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_ctime < before:
                shutil.rmtree(path, ignore_errors=True)


def remove_link(path: Path) -> None:
    """A link whose folder was moved away would be in the way of a new one; what ``move`` left there goes, too."""
    if path.is_symlink():
        real = path.resolve()
        path.unlink()
        with contextlib.suppress(OSError):  # it is not there, or holds something
            real.rmdir()


def _beside(real: Path) -> Path:
    return real.with_name(f"{DONE}{real.name}")


def _copy(source: Path, target: Path, draft: Path) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(source, draft, symlinks=True, ignore=_special, copy_function=_copy_file)
        if (difference := _difference(source, draft)) is not None:
            raise OSError(errno.EIO, "the copy differs from its source", str(difference))
        for folder, _, _ in os.walk(draft):
            _sync(Path(folder))
        draft.rename(target)
        _sync(target.parent)
    except shutil.Error as error:  # it has a line for each file
        first = error.args[0][0]
        raise OSError(errno.EIO, f"it cannot be copied: {first[2]}", str(first[0])) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _special(folder: str, names: list[str]) -> list[str]:
    """Sockets and pipes: they hold nothing, and their owner is gone."""
    return [name for name in names if not _is_plain(Path(folder, name))]


def _is_plain(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _copy_file(source: str, target: str) -> None:
    shutil.copy2(source, target, follow_symlinks=False)
    if not os.path.islink(target):  # noqa: PTH114 - as copytree gives it
        with open(target, "rb") as file:  # noqa: PTH123 - as copytree gives it
            os.fsync(file.fileno())


def _difference(source: Path, copy: Path) -> Path | None:
    """The first path below ``source`` that ``copy`` has not, or has otherwise."""
    for folder, folders, files in os.walk(source):
        for name in (*folders, *files):
            path = Path(folder, name)
            there = copy / path.relative_to(source)
            if _is_plain(path) and _content(path) != _content(there):
                return path
    return None


def _content(path: Path) -> object:
    """What makes it equal to its copy."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return path.readlink()
        if stat.S_ISDIR(mode):
            return "folder"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
