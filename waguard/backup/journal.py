"""What a restore makes and moves, written down before each step: what one that was killed has left is undone by the
next one, unless it was used meanwhile (``forget``). A folder with credentials is not removed then, but laid aside.

Whoever owns ``paths.state`` can write there what he likes: what is read is undone with his rights alone.
"""

import contextlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from waguard.host.files.acting import as_owner_of
from waguard.host.files.private_files import sync_folder

STAGING: Final = ".restore"
"""The folder of ``paths.state`` in which a restore unpacks."""
_FILE: Final = "journal"


class _Step(Struct, frozen=True):
    """A line: paths that are made, or one that is renamed, and to what."""

    made: tuple[str, ...] = ()
    moved: tuple[str, str] | None = None


class Journal:
    """The steps of one restore, the first one first. ``prefix``: the beginning of the names that folders get which it has
    made; None: they are removed."""

    def __init__(
        self,
        state: Path,
        file: BinaryIO,
        steps: list[tuple[int, _Step]],
        *,
        prefix: str | None = None,
    ) -> None:
        self._state = state
        self._file = file
        self._steps = steps
        """With the place in the file where each begins."""
        self._prefix = prefix

    @classmethod
    def begun(cls, state: Path) -> "Journal":
        """A new one, in the folder that is made for it. Raises ``OSError``."""
        with as_owner_of(state):
            journal = cls(state, _opened(state, os.O_CREAT | os.O_EXCL), [])
            sync_folder(state / STAGING)
            sync_folder(state)
        return journal

    @classmethod
    def left(cls, state: Path, now: float) -> "Journal | None":
        """That of a restore that was killed; None: there is none. ``now``: unix time. Raises ``OSError``."""
        try:
            file = _opened(state, 0)
        except FileNotFoundError:
            return None
        steps: list[tuple[int, _Step]] = []
        at = 0
        try:
            for line in file:  # the last one may be half of one: its step was not made
                steps.append((at, msgspec.json.decode(line, type=_Step)))
                at += len(line)
        except (ValueError, RecursionError):
            pass
        return cls(state, file, steps, prefix=f"broken-off-{stamp(now)}.")

    def made(self, *paths: Path) -> None:
        """These are to be made. Raises ``OSError``."""
        self._add(_Step(made=tuple(map(str, paths))))

    def moved(self, place: Path, to: Path) -> None:
        """What lies there is to be renamed. Raises ``OSError``."""
        self._add(_Step(moved=(str(place), str(to))))

    @property
    def moves(self) -> list[str]:
        """Where everything lies that was in the way."""
        return [step.moved[1] for _, step in self._steps if step.moved]

    def undo(self) -> list[str]:
        """Remove what was made, and have what was in the way come back. What cannot be undone stays: half a restore
        refuses the next one. The patterns of what was renamed. Raises ``OSError`` where the journal cannot be
        written."""
        renamed: set[str] = set()
        while self._steps:
            at, step = self._steps.pop()
            for path in reversed(step.made):
                with contextlib.suppress(OSError), as_owner_of(Path(path)):
                    renamed |= self._removed(Path(path))
            if step.moved:
                place, to = map(Path, step.moved)
                with contextlib.suppress(OSError), as_owner_of(place):
                    to.rename(place)
                    sync_folder(place.parent)
            self._cut(at)  # a second time would remove what has come back
        self.end()
        return sorted(renamed)

    def _removed(self, path: Path) -> set[str]:
        """The pattern of its new name, where it may have been used since then."""
        if self._prefix and path.is_dir():
            path.rename(path.with_name(self._prefix + path.name))
            return {str(path.with_name(f"{self._prefix}*"))}
        _remove(path)
        return set()

    def end(self) -> None:
        """All is in its place. Raises ``OSError``."""
        with as_owner_of(self._state):
            (self._state / STAGING / _FILE).unlink(missing_ok=True)
            sync_folder(self._state / STAGING)

    def close(self) -> None:
        """Nothing is written any more."""
        self._file.close()

    def _add(self, step: _Step) -> None:
        self._steps.append((self._file.seek(0, os.SEEK_END), step))
        self._write(step)

    def _write(self, line: _Step) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._sync()

    def _cut(self, at: int) -> None:
        self._file.truncate(at)
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _opened(state: Path, flags: int) -> BinaryIO:
    flags |= os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(state / STAGING / _FILE, flags, 0o600), "r+b")


def forget(state: Path) -> None:
    """What a restore that was killed has left is used from now on, and stays. Needs no room."""
    with contextlib.suppress(OSError):  # no credentials would be removed for all that
        (state / STAGING / _FILE).unlink()


def stamp(now: float) -> str:
    """A unix time as a part of a name."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
