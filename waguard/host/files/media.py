"""Received files, each once: ``<folder>/<first 2 hex>/<SHA-256>``, its type beside it.

Theory of operation. A file is written under another name, synced and renamed, so one that is there
is whole. It is as old as the later of its modification time and that of its type: when it is asked for
again that one is renewed, because Chromium gives up a file that has another time while it reads it.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from waguard.core.messages import media_retention, received_media
from waguard.core.messages.media_retention import Held
from waguard.errors import UnavailableError
from waguard.host import small_file
from waguard.host.files import disk
from waguard.host.files.lock import private_folder
from waguard.host.files.private_files import sync_folder
from waguard.host.small_file import UnreadableError

UNFINISHED: Final = ".new-"
NO_ROOM: Final = "the disk is nearly full: limits.disk_reserve stays free"
_COMING: Final = "coming"
START: Final = 16  # bytes that show which type a file has
RETRY_AFTER: Final = 5.0  # s
STALE: Final = 3_600.0  # s, after which an unfinished file is nobody's


class MediaFolder:
    """Fills ``ports.inbox.MediaStore``. Everything blocks: call it in a thread.

    ``reserve``: bytes that stay free on the disk.
    """

    def __init__(self, folder: Path, *, reserve: Callable[[], int] = lambda: 0) -> None:
        self._folder = folder
        self._reserve = reserve
        self._lock = threading.Lock()  # a file that has just come again is not deleted for its age

    def keep(self, content: bytes, mimetype: str) -> str:
        """Keep a file; its name. It is on the disk when this returns. Raises ``OSError`` where the disk is full."""
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        with self._lock:
            if _size(path) == len(content):
                os.utime(path)
                _record_type(path, mimetype)
                return name
            self.require_room(len(content))
            self._make_parent(path)
            _record_type(path, mimetype)
            try:
                _write(path, content)
            except BaseException:
                _details_path(path).unlink(missing_ok=True)
                raise
            sync_folder(path.parent)
        return name

    def require_room(self, size: int) -> None:
        """Raises ``OSError`` where less than the reserve would be free with ``size`` bytes more."""
        if not (reserve := self._reserve()):
            return
        free = disk.free(self._folder if self._folder.is_dir() else self._folder.parent)
        if free is not None and free - size < reserve:
            raise OSError(errno.ENOSPC, NO_ROOM)

    def begin(self, size: int = 0) -> "PartialFile":
        """A file that comes piece by piece, of so many bytes as far as is known. Raises ``OSError``."""
        self.require_room(size)
        folder = self.coming("drafts")
        private_folder(folder)
        return PartialFile(folder / secrets.token_hex(8), self)

    def coming(self, name: str) -> Path:
        """The folder of this name for what is not whole yet; ``sweep`` deletes it."""
        return self._folder / _COMING / name

    def discard(self, coming: Path) -> None:
        """Delete such a folder."""
        shutil.rmtree(coming, ignore_errors=True)

    def keep_file(self, path: Path, mimetype: str) -> str:
        """Keep the file that is at ``path``, on the same disk, where it is no more then; its name. Raises ``OSError``."""
        with path.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
            name = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        return self.place(path, name, mimetype)

    def place(self, draft: Path, name: str, mimetype: str) -> str:
        """Keep a whole file, which is on the disk, under its name. Raises ``OSError``."""
        path = self._path(name)
        with self._lock:
            if _size(path) == draft.stat().st_size:
                _renew(path)
                _record_type(path, mimetype)
                draft.unlink()
                return name
            self._make_parent(path)
            _record_type(path, mimetype)
            os.utime(draft)
            draft.rename(path)
            sync_folder(path.parent)
        return name

    def touch(self, name: str) -> None:
        """Have it as new as if it came now; from a disk that does not take that nothing is deleted, either."""
        path = self._path(name)
        with self._lock, contextlib.suppress(OSError):
            if path.is_file():
                _renew(path)

    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self._held())

    def sweep(self) -> None:
        """Delete what an earlier run left unfinished."""
        shutil.rmtree(self._folder / _COMING, ignore_errors=True)
        for path in self._folder.glob(f"??/{UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """The file's content; None: it is not kept any more. Raises ``OSError`` where it cannot be read now."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def find(self, name: str) -> tuple[Path, str] | None:
        """Where it lies and its type; None: there is no such file, whatever ``name`` is. Raises ``UnavailableError``
        where its disk does not say so now."""
        if not received_media.NAME.fullmatch(name) or not _is_file(path := self._path(name)):
            return None
        return path, received_media.content_type(_recorded_type(path))

    def expired(self, *, now: float, keep_for: float, size_limit: int) -> bool:
        """Whether retention lets any file go."""
        held = self._held()
        return bool(
            media_retention.expired(held, now=now, keep_for=keep_for, size_limit=size_limit)
        )

    def tidy(
        self,
        *,
        now: float,
        keep_for: float,
        size_limit: int,
        spared: Collection[str] = (),
        spared_for: float = 0.0,
    ) -> int:
        """Delete what retention lets go but what is ``spared`` (``media_retention.expired``), and what a crash left;
        how many files it were."""
        for path in self._unfinished(now - STALE):
            path.unlink(missing_ok=True)
        doomed = media_retention.expired(
            self._held(),
            now=now,
            keep_for=keep_for,
            size_limit=size_limit,
            spared=spared,
            spared_for=spared_for,
        )
        return sum(self._delete(file) for file in doomed)

    def _delete(self, file: Held) -> bool:
        path = self._path(file.name)
        with self._lock, contextlib.suppress(FileNotFoundError):
            if _used(path, path.stat()) == file.at:
                path.unlink()
                _details_path(path).unlink(missing_ok=True)
                return True
        return False

    def _held(self) -> Iterator[Held]:
        for path in self._folder.glob("??/*"):
            if received_media.NAME.fullmatch(path.name):
                with contextlib.suppress(FileNotFoundError):
                    found = path.stat()
                    yield Held(name=path.name, size=found.st_size, at=_used(path, found))

    def _unfinished(self, before: float) -> Iterator[Path]:
        for path in self._folder.glob(f"??/{UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    yield path

    def _make_parent(self, path: Path) -> None:
        if not path.parent.is_dir():
            private_folder(self._folder)
            private_folder(path.parent)
            sync_folder(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


class PartialFile:
    """A file of a folder that comes piece by piece. Everything blocks."""

    def __init__(self, path: Path, files: MediaFolder) -> None:
        self._path = path
        self._files = files
        self._digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = open(descriptor, "wb", buffering=0)  # noqa: SIM115, PTH123 - closed by keep or discard
        self.size = 0
        """Bytes so far."""
        self.start = b""
        """The first of them."""

    def write(self, piece: bytes) -> None:
        """Append it. Raises ``OSError``."""
        self._files.require_room(len(piece))
        self._digest.update(piece)
        self.start = self.start or bytes(piece[:START])
        rest = memoryview(piece)
        while rest:  # a disk that is nearly full takes a part of it
            rest = rest[self._file.write(rest) :]
        self.size += len(piece)

    def keep(self, mimetype: str) -> str:
        """Keep what was written; its name. It is on the disk when this returns. Raises ``OSError``."""
        os.fsync(self._file.fileno())
        self._file.close()
        return self._files.place(self._path, self._digest.hexdigest(), mimetype)

    def discard(self) -> None:
        """Delete it, unless it is kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _details_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _record_type(path: Path, mimetype: str) -> None:
    """Have this as the type of the file there."""
    if _recorded_type(path) != mimetype:
        _write(_details_path(path), msgspec.json.encode({"mimetype": mimetype}))


def _recorded_type(path: Path) -> Any:
    try:
        note = msgspec.json.decode(small_file.read(_details_path(path)))
    except (OSError, ValueError, RecursionError, UnreadableError):
        return None
    return note.get("mimetype") if isinstance(note, dict) else None


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UnavailableError(
            f"the file cannot be read now: {error.strerror}", retry_after=RETRY_AFTER
        ) from None


def _renew(path: Path) -> None:
    """The file's own time stays (see above)."""
    _details_path(path).touch(mode=0o600)


def _used(path: Path, found: os.stat_result) -> float:
    """When the file, of which this was ``found``, came or was renewed."""
    try:
        return max(found.st_mtime, _details_path(path).stat().st_mtime)
    except FileNotFoundError:  # its type was lost
        return found.st_mtime


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{UNFINISHED}{secrets.token_hex(6)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
