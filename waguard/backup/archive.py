"""The archive of a backup: a tar of plain files with fixed names, the manifest last; encrypted where a key is given.

Whoever reads one trusts nothing in it: a name that no backup has, a second one, a link, a device, a header that
would be read into memory, more bytes than its kind may have, or a difference from the manifest refuses all of it.
"""

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from waguard.backup.encryption import MAGIC, Decrypting, Encrypting
from waguard.core.backup_contents import MANIFEST, MEMBERS, Manifest, Member, limit, why_wrong
from waguard.core.replace import replace
from waguard.errors import WaguardError
from waguard.host.files.private_files import private_folders
from waguard.host.small_file import UnreadableError

_PIECE: Final = 1 << 20  # bytes
_BROKEN: Final = (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError)


class BackupDamagedError(WaguardError):
    """The archive is not a whole backup."""


class ArchiveWriter:
    """Writes to ``raw``, which stays open; ``finish`` ends it."""

    def __init__(self, raw: BinaryIO, key: bytes | None) -> None:
        self._encrypting = Encrypting(raw, key) if key else None
        sink: Any = self._encrypting or raw
        self._tar = tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - finish closes it
        self._members: list[Member] = []

    def add(self, name: str, content: BinaryIO, size: int) -> None:
        """A file of so many bytes, from where ``content`` stands. Raises ``OSError``."""
        limit(name)
        hashing = _Hashing(content)
        self._put(name, hashing, size)
        self._members.append(Member(name, size, hashing.digest.hexdigest()))

    def add_path(self, name: str, path: Path) -> None:
        """A file that nobody changes meanwhile."""
        with path.open("rb") as file:
            self.add(name, file, os.fstat(file.fileno()).st_size)

    def add_bytes(self, name: str, content: bytes) -> None:
        """A small file."""
        self.add(name, io.BytesIO(content), len(content))

    def finish(self, manifest: Manifest) -> Manifest:
        """The manifest, with all members in it; nothing follows."""
        whole = replace(manifest, members=tuple(self._members))
        content = msgspec.json.encode(whole)
        self._put(MANIFEST, io.BytesIO(content), len(content))
        self._tar.close()
        if self._encrypting:
            self._encrypting.close()
        return whole

    def _put(self, name: str, content: Any, size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        try:
            self._tar.addfile(entry, content)
        except tarfile.TarError as error:
            raise OSError(f"{name}: {error}") from None


class _Hashing:
    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._content.read(size)
        self.digest.update(piece)
        return piece


class _Plain(tarfile.TarInfo):
    """A header that is not a plain file's ends the reading: others make tarfile read what they declare."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            raise UnreadableError(f"{self.name[:100]!r} is not a plain file")
        return super()._proc_member(tar)  # type: ignore[misc] # tarfile's hook for subclasses, which has no type


def read(raw: BinaryIO, key: bytes | None, *, into: Path | None = None) -> Manifest:
    """Read it to its end, and compare all with the manifest; with ``into`` its files are written there, for this
    user alone. Raises ``BackupDamagedError``, after which what was written means nothing; ``OSError``."""
    try:
        return _read(raw, key, into)
    except UnreadableError as error:
        raise _damaged(str(error)) from None
    except _BROKEN as error:
        raise _damaged(f"it is not a readable archive: {error}") from None


def _read(raw: BinaryIO, key: bytes | None, into: Path | None) -> Manifest:
    found: dict[str, Member] = {}
    manifest: bytes | None = None
    stream = _opened(raw, key)
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Plain) as tar:
        for entry in tar:
            if manifest is not None or entry.name in found or len(found) >= MEMBERS:
                raise UnreadableError(f"{entry.name[:100]!r} is in it twice, or after its end")
            most, content = limit(entry.name), tar.extractfile(entry)
            if content is None or (most is not None and entry.size > most):
                raise UnreadableError(f"{entry.name} has {entry.size} bytes")
            if entry.name == MANIFEST:
                manifest = content.read()
            else:
                found[entry.name] = _extract(entry, content, into)
    if manifest is None:
        raise UnreadableError("it was cut off: its manifest is missing")
    while stream.read(_PIECE):  # an encrypted stream proves its end
        pass
    said = msgspec.json.decode(manifest, type=Manifest)
    if why := why_wrong(said, found):
        raise UnreadableError(why)
    return said


def _opened(raw: BinaryIO, key: bytes | None) -> Any:
    head = raw.read(len(MAGIC))
    if head == MAGIC:
        if key is None:
            raise UnreadableError("it is encrypted: name its key with --key-file")
        return Decrypting(raw, key)
    if key is not None:
        raise UnreadableError("it is not encrypted, and a key was named")
    raw.seek(0)
    return raw


def _extract(entry: tarfile.TarInfo, content: Any, into: Path | None) -> Member:
    digest, left = hashlib.sha256(), entry.size
    if into is None:
        while piece := content.read(_PIECE):
            digest.update(piece)
            left -= len(piece)
    else:
        target = into / entry.name
        private_folders(target.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
            while piece := content.read(_PIECE):
                digest.update(piece)
                file.write(piece)
                left -= len(piece)
            file.flush()
            os.fsync(file.fileno())
    if left:
        raise UnreadableError(f"{entry.name} was cut off")
    return Member(entry.name, entry.size, digest.hexdigest())


def _damaged(why: str) -> BackupDamagedError:
    return BackupDamagedError(
        f"the backup cannot be used: {why}",
        field="FILE",
        remedy="use another one; nothing was changed",
    )
