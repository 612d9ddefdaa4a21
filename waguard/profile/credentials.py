"""Copies of a profile's credentials: two folders, read as LevelDB would read them.

A running Chromium may be copied. LevelDB only ever appends to the MANIFEST and to the newest log, and
never changes a table; so the files that one state of the MANIFEST names, with the logs as one listing of
the folder found them, are what a crash at that moment would have left, which LevelDB is made to open.
If the MANIFEST has changed meanwhile, the copy is made again. What Chromium has not handed to LevelDB
yet is not in it: localStorage waits for up to a minute (``docs/decisions/0002-snapshots.md``).
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from waguard.errors import WaguardError
from waguard.host.files.private_files import open_private, write_private
from waguard.profile import leveldb

FOLDERS: Final = ("IndexedDB", "Local Storage")
"""Below ``Default``. Either alone restores nothing."""

ATTEMPTS: Final = 20  # to find a database that compacts itself standing still; milliseconds each
SQLITE: Final = b"SQLite format 3\0"


class SnapshotRefusedError(WaguardError):
    """What is there is not worth a snapshot; the older ones are as good as they were."""

    status = 409


def copy_credentials(profile: Path, into: Path) -> None:
    """The two folders of a profile that nobody uses, unless they are damaged or empty."""
    for name in FOLDERS:
        copy_whole(profile / "Default" / name, into / "Default" / name, running=False)


def databases(folder: Path) -> list[Path]:
    """The LevelDB folders below: an IndexedDB has one for each origin."""
    return sorted(
        path
        for path in (folder, *folder.rglob("*/"))
        if path.suffix == ".leveldb" or path.name == "leveldb" or (path / "CURRENT").exists()
    )


def required_databases(source: Path, *, running: bool) -> list[Path]:
    """As ``databases``. Raises ``SnapshotRefusedError`` where there is none, or one that cannot be copied now."""
    found = databases(source)
    if not found:
        raise _refused(source, "it holds no database")
    if running and (other := other_database(source)):
        raise _refused(other, "a database of this kind cannot be copied while it is in use")
    return found


def copy_whole(source: Path, target: Path, *, running: bool) -> set[Path]:
    """One of ``FOLDERS``; the files that were written. ``running``: a Chromium may write meanwhile. Raises
    ``SnapshotRefusedError``, ``OSError``."""
    if not source.is_dir():
        raise _refused(source, "it is missing")
    found = required_databases(source, running=running)
    try:
        copied = {
            file
            for database in found
            for file in _copy_database(database, target / database.relative_to(source))
        }
        if not copied:
            raise _refused(source, "its database is empty")
        # after the databases that refer to them; what is deleted meanwhile is not needed
        for path in plain_files(source, found):
            copy = target / path.relative_to(source)
            if _copy(path, copy, needed=not running):
                copied.add(copy)
    except leveldb.DamageError as error:
        raise _refused(source, str(error)) from None
    return copied


def _copy_database(source: Path, target: Path) -> list[Path]:
    """One that is consistent, and that LevelDB will open; ``DamageError`` where there is none.

    The files of the copy; none: it is empty.
    """
    why: Exception = leveldb.DamageError("it never stopped changing")
    for _ in range(ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        try:
            if copied := _copy_moment(source, target):
                leveldb.repair(target, leveldb.check(target))
                return copied
        except leveldb.EmptyError:
            return []
        except (leveldb.DamageError, FileNotFoundError) as error:
            why = error
    raise leveldb.DamageError(f"{source.name}: {why}")


def _copy_moment(source: Path, target: Path) -> list[Path]:
    """Copy what the MANIFEST names; the copies. None: it has changed before all its files were open."""
    with contextlib.ExitStack() as stack:
        moment = open_moment(source, stack)
        if moment is None:
            return []
        write_private(target / moment.name, moment.manifest)
        write_private(target / "CURRENT", f"{moment.name}\n".encode())
        # all logs but the newest were finished before it began, so any prefix of that one fits them
        for file, opened in (*moment.logs.items(), *moment.tables.items()):
            with open_private(target / file) as copy:
                shutil.copyfileobj(opened, copy)
    names = (moment.name, "CURRENT", *moment.logs, *moment.tables)
    return [target / name for name in names]


class Moment(Struct, frozen=True):
    """A database at one state of its MANIFEST: that, and its open files by their names."""

    name: str
    manifest: bytes
    logs: dict[str, BinaryIO]
    """Oldest first."""
    tables: dict[str, BinaryIO]
    sizes: dict[str, int]
    """Bytes of the tables, as the MANIFEST says."""


def open_moment(source: Path, stack: contextlib.ExitStack) -> Moment | None:
    """Open what the MANIFEST names, until ``stack`` ends; None: it has changed before all its files were open. Raises
    ``DamageError``, ``FileNotFoundError`` where files were just deleted, ``OSError``."""
    name, manifest = leveldb.manifest_of(source)
    found = leveldb.parse(source, name, manifest)

    def opened(file: str) -> BinaryIO:
        return stack.enter_context(leveldb.opened(source / file))

    # an open file stays readable when Chromium deletes it, so only the opening must be quick
    moment = Moment(
        name,
        manifest,
        {file: opened(file) for file in found.logs},
        {file: opened(file) for file in found.tables},
        found.tables,
    )
    return moment if leveldb.manifest_of(source) == (name, manifest) else None


def plain_files(source: Path, found: list[Path]) -> Iterator[Path]:
    """What lies beside the databases: blobs."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.parent not in found:
            yield path


def other_database(source: Path) -> Path | None:
    """A file in ``source`` that begins as SQLite's do: no LevelDB."""
    for path in source.rglob("*"):
        try:
            with leveldb.opened(path) as file:
                if file.read(len(SQLITE)) == SQLITE:
                    return path
        except (OSError, leveldb.DamageError):
            continue
    return None


def _copy(source: Path, target: Path, *, needed: bool) -> bool:
    """Whether there was a file to copy. Raises ``FileNotFoundError`` for one that is ``needed``."""
    try:
        file = source.open("rb")
    except FileNotFoundError:
        if needed:
            raise
        return False
    with file, open_private(target) as copy:
        shutil.copyfileobj(file, copy)
    return True


def _refused(source: Path, why: str) -> SnapshotRefusedError:
    return SnapshotRefusedError(
        f"no snapshot: {source.name}: {why}",
        value=str(source),
        remedy="nothing was changed; older snapshots are as good as they were",
    )
