"""What a restore makes and moves, written down before each step: what one that was killed has left is undone by the
next one, unless it was used meanwhile (``forget``). A folder with credentials is not removed then, but laid aside.

Whoever owns ``paths.state`` can write there what he likes: what is read is undone with his rights alone.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from waguard.errors import ConflictError
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
        self, state: Path, file: FileIO, steps: list[_Step], *, prefix: str | None = None
    ) -> None:
        self._state = state
        self._file = file
        self._steps = steps
        self._prefix = prefix
        self._undone = True
        """Whether no step has resisted."""

    @classmethod
    def begun(cls, state: Path) -> "Journal":
        """A new one, in the folder that is made for it. Raises ``OSError``."""
        with as_owner_of(state):
            journal = cls(state, _opened(state, os.O_CREAT | os.O_TRUNC), [])
            sync_folder(state / STAGING)
            sync_folder(state)
        return journal

    @classmethod
    def left(cls, state: Path, now: float) -> "Journal | None":
        """That of a restore that was killed, or could not undo all; None: there is none. ``now``: unix time. Raises
        ``ConflictError`` where a step of it is damaged, ``OSError``."""
        try:
            with _opened(state, 0) as file:
                *lines, _ = file.readall().split(b"\n")  # half of one: its step was not made
        except FileNotFoundError:
            return None
        steps, damaged = list[_Step](), False
        for line in lines:
            try:
                steps.append(msgspec.json.decode(line, type=_Step))
            except (ValueError, RecursionError):
                damaged = True
        if damaged and any(it.made or it.moved for it in steps):
            journal = state / STAGING / _FILE
            raise ConflictError(
                "the journal of a restore that was killed is damaged",
                value=str(journal),
                remedy="what it made and moved aside (*.before-restore-*) stays: put that in order by hand, then remove"
                f" {journal}; nothing was changed",
            )
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
        return [step.moved[1] for step in self._steps if step.moved]

    def undo(self) -> list[str]:
        """Remove what was made, and have what was in the way come back; the patterns of what was renamed instead.

        What cannot be undone stays, and the journal with it: half a restore refuses the next one. A second time changes
        nothing more.
        """
        moves = [step.moved for step in self._steps if step.moved]
        renamed: set[str] = set()
        for step in reversed(self._steps):
            for path in map(Path, reversed(step.made)):
                with self._undoing(path):
                    if not _has_come_back(path, moves):
                        renamed |= self._removed(path)
            if step.moved:
                place, to = map(Path, step.moved)
                with self._undoing(place):
                    to.rename(place)
                    sync_folder(place.parent)
        if self._undone:
            with contextlib.suppress(OSError):
                self.end()
        return sorted(renamed)

    @contextlib.contextmanager
    def _undoing(self, path: Path) -> Iterator[None]:
        try:
            with as_owner_of(path):
                yield
        except FileNotFoundError:
            pass  # it was not made, or is undone
        except OSError:
            self._undone = False

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
        line = msgspec.json.encode(step) + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._state))
        os.fsync(self._file.fileno())
        self._steps.append(step)


def _has_come_back(path: Path, moves: Sequence[tuple[str, str]]) -> bool:
    """Whether what lies there was in the way, or is in a folder that was."""
    return any(path.is_relative_to(place) and not os.path.lexists(moved) for place, moved in moves)


def _opened(state: Path, flags: int) -> FileIO:
    """Without a buffer: what does not fit on the disk is not tried again behind the steps."""
    flags |= os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return FileIO(os.open(state / STAGING / _FILE, flags, 0o600), "r+")


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
