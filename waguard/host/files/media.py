"""Received files, each once: ``<folder>/<first 2 hex>/<SHA-256>``, its type beside it.

Theory of operation. A file is written under another name, synced and renamed, so one that is there
is whole. It is as old as its modification time, which is renewed when the same content comes again.
"""

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec

from waguard.core.messages import received_media as media
from waguard.core.messages.received_media import Held
from waguard.host import small_file
from waguard.host.files.lock import private_folder
from waguard.host.files.private_files import sync_folder
from waguard.host.small_file import UnreadableError

UNFINISHED: Final = ".new-"
STALE: Final = 3_600.0  # s, after which an unfinished file is nobody's


class MediaFolder:
    """Fills ``ports.inbox.MediaStore``. Everything blocks: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # a file that has just come again is not deleted for its age

    def keep(self, content: bytes, mimetype: str) -> str:
        """Keep a file; its name. It is on the disk when this returns. Raises ``OSError`` where the disk is full."""
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        with self._lock:
            if _size(path) == len(content):
                os.utime(path)
                return name
            if not path.parent.is_dir():
                private_folder(self._folder)
                private_folder(path.parent)
                sync_folder(self._folder)
            _write(_details_path(path), msgspec.json.encode({"mimetype": mimetype}))
            try:
                _write(path, content)
            except BaseException:
                _details_path(path).unlink(missing_ok=True)
                raise
            sync_folder(path.parent)
        return name

    def read(self, name: str) -> bytes | None:
        """The file's content; None: it is not kept any more, or cannot be read."""
        try:
            return self._path(name).read_bytes()
        except OSError:
            return None

    def find(self, name: str) -> tuple[Path, str] | None:
        """Where it lies and its type; None: there is no such file, whatever ``name`` is."""
        if not media.NAME.fullmatch(name) or not (path := self._path(name)).is_file():
            return None
        try:
            note = msgspec.json.decode(small_file.read(_details_path(path)))
        except (OSError, ValueError, RecursionError, UnreadableError):
            note = None
        return path, media.content_type(note.get("mimetype") if isinstance(note, dict) else None)

    def expired(self, *, now: float, keep_for: float, size_limit: int) -> bool:
        """Whether retention lets any file go."""
        held = self._held()
        return bool(media.expired(held, now=now, keep_for=keep_for, size_limit=size_limit))

    def tidy(
        self, *, now: float, keep_for: float, size_limit: int, spared: Collection[str] = ()
    ) -> int:
        """Delete what retention lets go but the names that are ``spared``, and what a crash left;
        how many files it were."""
        for path in self._unfinished(now - STALE):
            path.unlink(missing_ok=True)
        doomed = media.expired(
            self._held(), now=now, keep_for=keep_for, size_limit=size_limit, spared=spared
        )
        return sum(self._delete(file) for file in doomed)

    def _delete(self, file: Held) -> bool:
        path = self._path(file.name)
        with self._lock, contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime == file.at:
                path.unlink()
                _details_path(path).unlink(missing_ok=True)
                return True
        return False

    def _held(self) -> Iterator[Held]:
        for path in self._folder.glob("??/*"):
            if media.NAME.fullmatch(path.name):
                with contextlib.suppress(FileNotFoundError):
                    found = path.stat()
                    yield Held(name=path.name, size=found.st_size, at=found.st_mtime)

    def _unfinished(self, before: float) -> Iterator[Path]:
        for path in self._folder.glob(f"??/{UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    yield path

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def _details_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


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
