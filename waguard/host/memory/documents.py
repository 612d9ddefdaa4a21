"""``<paths.state>/versions``: WhatsApp Web's index documents that this host was served, one file each.

A file is xz: a line of JSON (``Kept``) and the document. Daemon and workers share the folder. A file is
written beside its name and renamed, so it is whole or not there; two that write the same one do no harm.
What cannot be what was written is renamed to ``*.unreadable`` and never served.
"""

import contextlib
import hashlib
import lzma
import re
import threading
import time
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from waguard.core.versions import documents
from waguard.core.versions.documents import Refused
from waguard.errors import WaguardError
from waguard.host import small_file
from waguard.host.files.private_files import sync_folder, write_private
from waguard.host.small_file import SUFFIX, UnreadableError

FOLDER: Final = "versions"
MOST_FILES: Final = 128  # versions.keep is 64 at most; the daemon discards what it does not need
MOST_UNREADABLE: Final = 8
FILE_LIMIT: Final = 1 << 20  # bytes, of xz: real ones have 80 KB
META_LIMIT: Final = 1 << 19  # bytes, of the line before the document
DRAFT_AGE: Final = 3_600.0  # s after which nobody writes a draft any more
PRESET: Final = 0  # of xz: a quarter of the time of 6 for a sixth more bytes
FORMAT: Final = 1

_SUFFIX: Final = ".document.xz"
_NAME: Final = re.compile(rf"(\d{{1,{documents.LONGEST_REVISION}}}){re.escape(_SUFFIX)}")


class DocumentError(WaguardError):
    """A document cannot be stored, or a stored one cannot be served; the message says why."""


class Document(Struct, frozen=True, kw_only=True):
    """A whole one."""

    revision: int
    url: str
    at: float
    """Unix time at which it was served."""
    headers: tuple[tuple[str, str], ...]
    """Those that are replayed (``core.documents.replayed``)."""
    wajs: str | None = None
    """SHA-256 of the wa-js that was injected into it then, in hex."""
    missing: tuple[str, ...] = ()
    """Exports that waguard uses and that this wa-js lacked there."""
    body: bytes

    def __repr__(self) -> str:
        return f"Document(revision={self.revision})"


class Kept(Struct, frozen=True, kw_only=True):
    """The line before the document."""

    format: int
    revision: int
    url: str
    at: float
    headers: tuple[tuple[str, str], ...]
    wajs: str | None = None
    missing: tuple[str, ...] = ()
    size: int
    sha256: str


class Documents:
    """All calls block. ``OSError`` is raised as it comes, ``DocumentError`` where nothing is broken but
    the document."""

    def __init__(
        self, folder: Path, *, most_files: int = MOST_FILES, file_limit: int = FILE_LIMIT
    ) -> None:
        """``file_limit``: bytes, of xz."""
        self._folder = folder
        self._most_files = most_files
        self._file_limit = file_limit

    def path(self, revision: int) -> Path:
        """Where that one lies, or would."""
        return self._folder / f"{revision}{_SUFFIX}"

    def has(self, revision: int) -> bool:
        """Whether there is a file of that name; ``load`` says whether it can be used."""
        path = self.path(revision)
        return path.is_file() and not path.is_symlink()

    def known(self) -> tuple[int, ...]:
        """The revisions that lie here, the lowest first."""
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return ()
        return tuple(sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name))))

    def keep(self, document: Document) -> bool:
        """Store it; False: it was there. Raises ``DocumentError`` for one that is not whole or too large, and
        where ``most_files`` are there."""
        checked = documents.check_body(document.body)
        if isinstance(checked, Refused):
            raise DocumentError(f"the document {checked.why}")
        if checked != document.revision:
            raise DocumentError(f"the document is version {checked}, and not {document.revision}")
        if self.has(document.revision):
            return False
        if len(self.known()) >= self._most_files:
            raise DocumentError(f"{self._most_files} documents are stored already")
        content = lzma.compress(_line(document) + b"\n" + document.body, preset=PRESET)
        if len(content) > self._file_limit:
            why = f"has {len(content)} bytes compressed; {self._file_limit} at most are expected"
            raise DocumentError(f"the document {why}")
        self._write(self.path(document.revision), content)
        return True

    def load(self, revision: int) -> Document:
        """``load`` of its file."""
        return load(self.path(revision), revision, limit=self._file_limit)

    def discard(self, revision: int) -> None:
        """Delete it, where it is there."""
        self.path(revision).unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        self._sweep()
        draft = path.with_name(f"{path.name}.{threading.get_native_id()}.new")
        try:
            write_private(draft, content)
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

    def _sweep(self) -> None:
        """Drafts of writers that were killed."""
        old = time.time() - DRAFT_AGE
        for draft in self._folder.glob(f"*{_SUFFIX}.*.new"):
            with contextlib.suppress(OSError):
                if draft.lstat().st_mtime < old:
                    draft.unlink()


def load(path: Path, revision: int, *, limit: int = FILE_LIMIT) -> Document:
    """Read a stored document and check it. Blocks. Raises ``DocumentError``; what lies there instead is
    renamed."""
    try:
        return _read(path, revision, limit)
    except FileNotFoundError:
        raise DocumentError(f"version {revision} is not stored") from None
    except UnreadableError as error:
        if not error.by_system:
            _quarantine(path)
        raise DocumentError(f"{path} is not a stored document: {error}") from None


def _quarantine(path: Path) -> None:
    """Another one may have done it a moment ago."""
    with contextlib.suppress(OSError):
        small_file.quarantine(path)
        found = path.parent.glob(f"*{_SUFFIX}{SUFFIX}")
        for one in sorted(found, key=lambda one: one.lstat().st_ctime)[:-MOST_UNREADABLE]:
            one.unlink()


def _line(document: Document) -> bytes:
    return msgspec.json.encode(
        Kept(
            format=FORMAT,
            revision=document.revision,
            url=document.url,
            at=document.at,
            headers=document.headers,
            wajs=document.wajs,
            missing=document.missing,
            size=len(document.body),
            sha256=hashlib.sha256(document.body).hexdigest(),
        )
    )


def _read(path: Path, revision: int, limit: int) -> Document:
    """Raises ``FileNotFoundError``, ``UnreadableError``."""
    line, _, body = _unpacked(small_file.read(path, limit=limit)).partition(b"\n")
    try:
        kept = msgspec.json.decode(line, type=Kept)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"its first line is not what was written: {error}") from None
    if kept.format != FORMAT:
        raise UnreadableError(f"its format is {kept.format}, and not {FORMAT}")
    if len(body) != kept.size or hashlib.sha256(body).hexdigest() != kept.sha256:
        raise UnreadableError("it is not what was written: its SHA-256 differs")
    checked = documents.check_body(body)
    if isinstance(checked, Refused):
        raise UnreadableError(f"the document {checked.why}")
    if {checked, kept.revision} != {revision}:
        raise UnreadableError(f"it holds version {checked}")
    return Document(
        revision=revision,
        url=kept.url,
        at=kept.at,
        headers=kept.headers,
        wajs=kept.wajs,
        missing=kept.missing,
        body=body,
    )


def _unpacked(content: bytes) -> bytes:
    most = META_LIMIT + documents.MOST
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 27)
    try:
        found = unpacker.decompress(content, max_length=most + 1)
    except lzma.LZMAError as error:
        raise UnreadableError(f"it cannot be decompressed: {error}") from None
    if len(found) > most:
        raise UnreadableError(f"it holds more than {most} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise UnreadableError("it is not whole")
    return found
