"""A copy of an old profile, compared with it. The original is only read.

What Chromium makes again, its locks and waguard's marks of one run are left out; so are links, which no
profile of WhatsApp Web needs: one among the credentials is refused.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.errors import WaguardError
from waguard.host.files.private_files import private_folders, sync_folder
from waguard.profile.caches import CACHES
from waguard.profile.chromium_lock import SINGLETONS
from waguard.profile.credentials import FOLDERS
from waguard.profile.leaving_mark import LEAVING
from waguard.profile.lock import LOCK_NAME
from waguard.profile.quarantine import NOTE
from waguard.profile.start_marks import CLEAN_EXIT, HOLDER, SUSPECT, TRIED

_LEFT_OUT: Final = frozenset(
    {
        *CACHES,
        *SINGLETONS,
        *(LOCK_NAME, CLEAN_EXIT, TRIED),
        *(SUSPECT, NOTE, HOLDER, LEAVING),
    }
)
_CREDENTIALS: Final = tuple(f"Default/{name}" for name in FOLDERS)


Reading = Callable[[], AbstractContextManager[None]]


class CopyRefusedError(WaguardError):
    """The profile holds something that is not copied."""


class _File(Struct, frozen=True):
    source: Path
    name: str
    """Below the new profile."""


def stored_in(path: Path) -> Path | None:
    """The folder with the credentials of a profile: its ``Default``, or itself where somebody kept only
    that; None: it is not a profile. Raises ``OSError`` where it cannot be read."""
    default = path / "Default"
    if default.is_dir():
        return default
    return path if all((path / name).is_dir() for name in FOLDERS) else None


def size(path: Path) -> int:
    """Bytes of what would be copied; 0 where it cannot be read."""
    try:
        return sum(file.source.lstat().st_size for file in _files(path))
    except (OSError, CopyRefusedError):
        return 0


def copy(path: Path, into: Path, *, reading: Reading = contextlib.nullcontext) -> None:
    """Write it below ``into``, which is there, for this user alone; on disk when this returns.

    ``path`` is only touched within ``reading()``. Raises ``CopyRefusedError``, ``OSError``, also where
    the copy differs: somebody wrote meanwhile.
    """
    with reading():
        files = list(_files(path))
    for file in files:
        with reading():
            source = _plain(file.source)
        with source:
            _write(source, into / file.name)
    for folder, _, _ in os.walk(into):
        sync_folder(Path(folder))
    with reading():
        if list(_files(path)) != files:
            raise OSError(errno.EBUSY, "it changed while it was copied", str(path))
    for file in files:
        with reading():
            original = _digest(file.source)
        if _digest(into / file.name) != original:
            raise OSError(errno.EBUSY, "the copy differs from it", str(file.source))


def _files(path: Path) -> Iterator[_File]:
    stored = stored_in(path)
    if stored is None:
        raise FileNotFoundError(errno.ENOENT, "it is not a profile", str(path))
    if stored.is_symlink():
        raise _refused(stored)
    prefix = "Default/" if stored == path else ""
    for folder, folders, names in os.walk(path, onerror=_fail):
        above = os.path.relpath(folder, path)
        below = prefix if above == "." else f"{prefix}{above}/"
        folders[:] = sorted(name for name in folders if below + name not in _LEFT_OUT)
        for name in (*folders, *sorted(names)):
            source = Path(folder, name)
            if source.is_symlink() and f"{below}{name}".startswith(_CREDENTIALS):
                raise _refused(source)
        for name in sorted(names):
            source = Path(folder, name)
            if below + name not in _LEFT_OUT and stat.S_ISREG(source.lstat().st_mode):
                yield _File(source, below + name)


def _fail(error: OSError) -> None:
    raise error


def _refused(link: Path) -> CopyRefusedError:
    return CopyRefusedError(f"{link} is a link", value=str(link), remedy="copy what it links to")


def _write(source: BufferedReader, target: Path) -> None:
    private_folders(target.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, 0o600), "wb") as written:
        shutil.copyfileobj(source, written)
        written.flush()
        found = os.fstat(source.fileno())
        os.utime(written.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(written.fileno())


def _digest(path: Path) -> bytes:
    with _plain(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _plain(path: Path) -> BufferedReader:
    """Open what was a plain file when the folder was read; another user may have put something else there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a file any more", str(path))
    return file
