"""RemoteAuth's archive of a session: a ZIP of ``Default/IndexedDB`` and ``Default/Local Storage``.

It may be anybody's: names that lead out of the profile, links, and what would fill the disk are refused as a
whole, before a byte of it is written.
"""

import contextlib
import os
import stat
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Final

from msgspec import Struct

from waguard.host.files.private_files import private_folders, sync_folder
from waguard.host.small_file import UnreadableError
from waguard.profile.credentials import FOLDERS

_PIECE: Final = 1 << 20  # bytes
_TAIL: Final = 1 << 17  # bytes; the end of an archive is found in them
_END, _LARGE_END = b"PK\5\6", b"PK\6\7"
# Python unpacks other ones in one piece, however large: a kilobyte may be a gigabyte
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_BROKEN: Final = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError),
    UserWarning,  # entries that overlap: a bomb
)


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of an archive; sizes in bytes."""

    entries: int = 65_535
    directory: int = 32 << 20
    """The list of entries, which is read as a whole."""
    unpacked: int = 4 << 30
    """In all."""
    databases: int = 256 << 20
    """Databases that are unpacked only to be read."""


LIMITS: Final = Limits()


class Archive(Struct, frozen=True):
    """One that is open. ``members``: path below the profile → entry."""

    file: zipfile.ZipFile
    members: dict[PurePosixPath, zipfile.ZipInfo]
    limits: Limits

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        return sum(entry.file_size for entry in self.members.values())

    def databases(self) -> "Archive":
        """Without all else, which says nothing of the credentials. Raises ``UnreadableError``."""
        members = {
            path: entry
            for path, entry in self.members.items()
            if path.parent.name == "leveldb" or path.parent.suffix == ".leveldb"
        }
        found = Archive(self.file, members, self.limits)
        if found.size > self.limits.databases:
            raise UnreadableError(f"its databases have {found.size >> 20} MB")
        return found

    def unpack(self, into: Path) -> None:
        """Write the members below ``into``, for this user alone; on disk and compared by their checksums
        when this returns. Raises ``UnreadableError``, ``OSError``."""
        try:
            with warnings.catch_warnings(category=UserWarning, action="error"):
                for path, entry in self.members.items():
                    self._unpack(entry, into / path)
        except _BROKEN as error:
            raise _broken(error) from None
        for folder, _, _ in os.walk(into):
            sync_folder(Path(folder))

    def _unpack(self, entry: zipfile.ZipInfo, target: Path) -> None:
        private_folders(target.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with (
            self.file.open(entry) as packed,  # which checks length and checksum
            os.fdopen(os.open(target, flags, 0o600), "w+b") as written,
        ):
            left = entry.file_size
            while piece := packed.read(_PIECE):
                if (left := left - len(piece)) < 0:
                    raise UnreadableError(f"{entry.filename!r} holds more than it says")
                written.write(piece)
            written.flush()
            os.fsync(written.fileno())
            written.seek(0)
            checksum = 0
            while piece := written.read(_PIECE):
                checksum = zlib.crc32(piece, checksum)
        if checksum != entry.CRC:
            raise UnreadableError(f"{entry.filename}: the copy differs from it")


@contextlib.contextmanager
def opened(path: Path, limits: Limits = LIMITS) -> Iterator[Archive]:
    """Raises ``UnreadableError`` with what is wrong with it, ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableError("it is not a file")
    with os.fdopen(descriptor, "rb") as raw:
        _require_short_list(raw, limits)
        try:
            archive = zipfile.ZipFile(raw)
        except _BROKEN as error:
            raise _broken(error) from None
        with archive:
            yield Archive(archive, _members(archive.infolist(), limits), limits)


def _require_short_list(raw: BufferedReader, limits: Limits) -> None:
    """Require that the list of entries is short: each takes ten times its bytes in memory."""
    raw.seek(max(0, raw.seek(0, os.SEEK_END) - _TAIL))
    tail = raw.read()
    # whichever of them is the true end
    sizes = [int.from_bytes(end[8:12], "little") for end in tail.split(_END)[1:]]
    if _LARGE_END in tail or max(sizes, default=0) > limits.directory:
        raise UnreadableError(f"it has more than {limits.entries} entries, or more than 4 GB")


def _broken(error: Exception) -> UnreadableError:
    return UnreadableError(f"it is not a readable archive: {error}")


def _members(
    entries: list[zipfile.ZipInfo], limits: Limits
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    if len(entries) > (most := limits.entries):
        raise UnreadableError(f"it has {len(entries)} entries, {most} at most are unpacked")
    if (size := sum(entry.file_size for entry in entries)) > (most := limits.unpacked):
        raise UnreadableError(f"it has {size >> 20} MB, {most >> 20} at most are unpacked")
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        path = _path(entry)
        if path in found:
            raise UnreadableError(f"{entry.filename!r} is in it twice")
        if not entry.is_dir():
            found[path] = entry
    if both := found.keys() & {parent for path in found for parent in path.parents}:
        raise UnreadableError(f"{str(min(both))!r} is a file and a folder in it")
    root = _root(found)
    return {
        PurePosixPath("Default", *path.parts[len(root) :]): entry
        for path, entry in found.items()
        if path.parts[: len(root)] == root
    }


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Raises ``UnreadableError`` for what is not a plain file or folder below the profile."""
    path = PurePosixPath(entry.filename)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in entry.filename or not path.parts
    if leaves or "\0" in entry.orig_filename:
        raise UnreadableError(f"{entry.filename!r} leads out of it")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise UnreadableError(f"{entry.filename!r} is not a plain file")
    if entry.flag_bits & 1:
        raise UnreadableError("it is encrypted")
    if entry.compress_type not in _METHODS:
        raise UnreadableError(f"{entry.filename!r} is packed by a method that is not read")
    return path


def _root(paths: dict[PurePosixPath, zipfile.ZipInfo]) -> tuple[str, ...]:
    """What stands before the folders of the credentials; the shortest."""
    roots = {
        path.parts[: path.parts.index(name)]
        for path in paths
        for name in FOLDERS
        if name in path.parts[:-1]
    }
    if not roots:
        raise UnreadableError("it holds no profile")
    return min(roots, key=lambda root: (len(root), root))
