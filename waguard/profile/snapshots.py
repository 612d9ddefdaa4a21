"""Copies of a session's credentials: two folders of Chromium's profile, in a compressed archive.

Theory of operation. A snapshot is a folder ``<snapshots>/<id>/`` with ``credentials.tar.gz`` and
``manifest.json`` (a SHA-256 of the archive and of each file). It is made beside and renamed, so one
that is there is whole. Before that the copies are read as LevelDB would read them: what is damaged or
empty is no snapshot.

A running Chromium may be copied. LevelDB only ever appends to the MANIFEST and to the newest log, and
never changes a table; so the files that one state of the MANIFEST names, with the logs as one listing of
the folder found them, are what a crash at that moment would have left, which LevelDB is made to open.
If the MANIFEST has changed meanwhile, the copy is made again. What Chromium has not handed to LevelDB
yet is not in it: localStorage waits for up to a minute (``docs/decisions/0002-snapshots.md``).
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from waguard.core.profile import profile as policy
from waguard.errors import WaguardError
from waguard.host import small_file
from waguard.host.private_files import open_private, private_folders, sync_folder, write_private
from waguard.host.small_file import UnreadableError
from waguard.profile import leveldb

FOLDERS: Final = ("IndexedDB", "Local Storage")
"""Below ``Default``. Either alone restores nothing."""

ARCHIVE: Final = "credentials.tar.gz"
MANIFEST: Final = "manifest.json"
MANIFEST_LIMIT: Final = 1 << 24  # bytes; it has 150 for each file
FORMAT: Final = 1
# what odd JSON makes of itself: no syntax, no end, keys that are missing or are other things
_NO_MANIFEST: Final = (
    *(ValueError, RecursionError, OverflowError),
    *(KeyError, TypeError, AttributeError),
)
ATTEMPTS: Final = (
    20  # to find a database that compacts itself standing still; each takes milliseconds
)
LEVEL: Final = 1  # gzip's; the tables are compressed already
UNFINISHED: Final = ".new-"
SQLITE: Final = b"SQLite format 3\0"


class SnapshotRefusedError(WaguardError):
    """What is there is not worth a snapshot; the older ones are as good as they were."""

    status = 409


class SnapshotDamagedError(WaguardError):
    """The snapshot is not what was written: it cannot be restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot as its manifest says. ``taken_at`` is unix time, sizes are bytes."""

    id: str
    pairing: str
    taken_at: float
    running: bool
    """Taken while Chromium ran."""
    archive_size: int
    archive_sha256: str
    files: dict[str, tuple[int, str]]
    """Path below the profile → size and SHA-256."""

    @property
    def size(self) -> int:
        """Of the files, unpacked."""
        return sum(size for size, _ in self.files.values())


def create(profile: Path, snapshots: Path, *, pairing: str, running: bool, now: float) -> Taken:
    """Copy the credentials; then only the newest generations of this pairing are left.

    ``running`` says that a Chromium may write meanwhile. To be called when the session was connected
    long enough (``core.profile.due_in``), or after a clean stop of one that was. Blocks: call it in
    a thread. Raises ``SnapshotRefusedError``; ``OSError`` where the disk is full or does not answer.
    """
    private_folders(snapshots)
    clear_unfinished(snapshots)
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    id_ = f"{stamp}-{secrets.token_hex(3)}"
    draft = snapshots / f"{UNFINISHED}{id_}"
    draft.mkdir(mode=0o700)
    try:
        copied = draft / "Default"
        for name in FOLDERS:
            _copy_whole(profile / "Default" / name, copied / name, running=running)
        taken = _pack(
            draft,
            Taken(
                id=id_,
                pairing=pairing,
                taken_at=now,
                running=running,
                archive_size=0,
                archive_sha256="",
                files={},
            ),
        )
        shutil.rmtree(copied)
        sync_folder(draft)
        draft.rename(snapshots / id_)
        sync_folder(snapshots)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for old in policy.superfluous(known(snapshots), pairing=pairing):
        remove(snapshots, old.id)
    return taken


def known(snapshots: Path) -> list[policy.Snapshot]:
    """All that lie there, oldest first, checksums not read: for a decision, verify the chosen one."""
    found = []
    for folder in _folders(snapshots):
        try:
            taken = read_manifest(folder)
            intact = (folder / ARCHIVE).stat().st_size == taken.archive_size
        except (OSError, SnapshotDamagedError):
            found.append(policy.Snapshot(id=folder.name, taken_at=0.0, pairing="", intact=False))
        else:
            found.append(
                policy.Snapshot(
                    id=taken.id, taken_at=taken.taken_at, pairing=taken.pairing, intact=intact
                )
            )
    return sorted(found, key=lambda snapshot: (snapshot.taken_at, snapshot.id))


def verified(snapshots: Path) -> tuple[policy.Snapshot, ...]:
    """As ``known``, with every checksum read."""
    result = []
    for snapshot in known(snapshots):
        try:
            verify(snapshots / snapshot.id)
            intact = True
        except (OSError, SnapshotDamagedError):
            intact = False
        result.append(
            policy.Snapshot(
                id=snapshot.id,
                taken_at=snapshot.taken_at,
                pairing=snapshot.pairing,
                intact=intact,
            )
        )
    return tuple(result)


def verify(snapshot: Path) -> Taken:
    """Read it whole. Raises ``SnapshotDamagedError`` with what is wrong."""
    taken = read_manifest(snapshot)
    for _ in _members(snapshot, taken):
        pass
    return taken


def unpack(snapshot: Path, into: Path) -> Taken:
    """Write its files below ``into``, verified and on disk. Raises ``SnapshotDamagedError``."""
    taken = read_manifest(snapshot)
    for name, content in _members(snapshot, taken):
        write_private(into / name, content)
    for folder in (into / "Default", *(path for path in (into / "Default").rglob("*/"))):
        sync_folder(folder)
    return taken


def remove(snapshots: Path, id_: str) -> None:
    """Delete one; a crash in the middle leaves something that is cleared, never half of one."""
    doomed = snapshots / f"{UNFINISHED}{id_}"
    (snapshots / id_).rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clear_unfinished(snapshots: Path) -> None:
    """Delete what a crash left."""
    for path in snapshots.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def read_manifest(snapshot: Path) -> Taken:
    """What was written when it was taken. Raises ``SnapshotDamagedError``."""
    try:
        manifest = json.loads(small_file.read(snapshot / MANIFEST, limit=MANIFEST_LIMIT))
        if manifest["format"] != FORMAT:
            raise _damaged(snapshot, f"its format is {manifest['format']!r}")
        return Taken(
            id=snapshot.name,
            pairing=str(manifest["pairing"]),
            taken_at=float(manifest["taken_at"]),
            running=bool(manifest["running"]),
            archive_size=int(manifest["archive"]["size"]),
            archive_sha256=str(manifest["archive"]["sha256"]),
            files={
                str(name): (int(entry["size"]), str(entry["sha256"]))
                for name, entry in manifest["files"].items()
            },
        )
    except (*_NO_MANIFEST, OSError, UnreadableError) as error:
        raise _damaged(snapshot, f"its manifest cannot be read: {error}") from None


def copy_credentials(profile: Path, into: Path) -> None:
    """The two folders of a profile that nobody uses, unless they are damaged or empty."""
    for name in FOLDERS:
        _copy_whole(profile / "Default" / name, into / "Default" / name, running=False)


def databases(folder: Path) -> list[Path]:
    """The LevelDB folders below: an IndexedDB has one for each origin."""
    return sorted(
        path
        for path in (folder, *folder.rglob("*/"))
        if path.suffix == ".leveldb" or path.name == "leveldb" or (path / "CURRENT").exists()
    )


# ---- copying ----


def _copy_whole(source: Path, target: Path, *, running: bool) -> None:
    if not source.is_dir():
        raise _refused(source, "it is missing")
    found = databases(source)
    if not found:
        raise _refused(source, "it holds no database")
    if running and (other := other_database(source)):
        raise _refused(other, "a database of this kind cannot be copied while it is in use")
    try:
        holding = [
            database
            for database in found
            if _copy_database(database, target / database.relative_to(source))
        ]
        if not holding:
            raise _refused(source, "its database is empty")
        # after the databases that refer to them; what is deleted meanwhile is not needed
        for path in _plain_files(source, found):
            try:
                _copy(path, target / path.relative_to(source))
            except FileNotFoundError:
                if not running:
                    raise
    except leveldb.DamageError as error:
        raise _refused(source, str(error)) from None


def _copy_database(source: Path, target: Path) -> bool:
    """One that is consistent, and that LevelDB will open; ``DamageError`` where there is none.

    False: it is empty.
    """
    why: Exception = leveldb.DamageError("it never stopped changing")
    for _ in range(ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        try:
            if _copy_moment(source, target):
                leveldb.repair(target, leveldb.check(target))
                return True
        except leveldb.EmptyError:
            return False
        except (leveldb.DamageError, FileNotFoundError) as error:
            why = error
    raise leveldb.DamageError(f"{source.name}: {why}")


def _copy_moment(source: Path, target: Path) -> bool:
    """Copy what the MANIFEST names; False: it has changed before all its files were open."""
    name, manifest = leveldb.manifest_of(source)
    moment = leveldb.parse(source, name, manifest)
    with contextlib.ExitStack() as stack:
        # an open file stays readable when Chromium deletes it, so only the opening must be quick
        files = {
            file: stack.enter_context((source / file).open("rb"))
            for file in (*moment.logs, *moment.tables)
        }
        if leveldb.manifest_of(source) != (name, manifest):
            return False
        write_private(target / name, manifest)
        write_private(target / "CURRENT", f"{name}\n".encode())
        # all logs but the newest were finished before it began, so any prefix of that one fits them
        for file, opened in files.items():
            with open_private(target / file) as copy:
                shutil.copyfileobj(opened, copy)
    return True


def _plain_files(source: Path, found: list[Path]) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.parent not in found:
            yield path


def other_database(source: Path) -> Path | None:
    """A file in ``source`` that begins as SQLite's do: no LevelDB."""
    for path in source.rglob("*"):
        try:
            with path.open("rb") as file:
                if file.read(len(SQLITE)) == SQLITE:
                    return path
        except OSError:
            continue
    return None


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, open_private(target) as copy:
        shutil.copyfileobj(file, copy)


# ---- the archive ----


def _pack(draft: Path, taken: Taken) -> Taken:
    files: dict[str, tuple[int, str]] = {}
    archive = draft / ARCHIVE
    with open_private(archive) as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=LEVEL) as tar:
            for path in sorted((draft / "Default").rglob("*")):
                if path.is_file():
                    name = str(path.relative_to(draft))
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = path.stat().st_size, 0o600
                    with path.open("rb") as file:
                        tar.addfile(entry, file)
                    files[name] = (entry.size, _sha256(path))
        raw.flush()
        os.fsync(raw.fileno())
    size, digest = archive.stat().st_size, _sha256(archive)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "pairing": taken.pairing,
        "taken_at": taken.taken_at,
        "running": taken.running,
        "archive": {"size": size, "sha256": digest},
        "files": {name: {"size": s, "sha256": d} for name, (s, d) in files.items()},
    }
    write_private(draft / MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")
    return Taken(
        id=taken.id,
        pairing=taken.pairing,
        taken_at=taken.taken_at,
        running=taken.running,
        archive_size=size,
        archive_sha256=digest,
        files=files,
    )


def _members(snapshot: Path, taken: Taken) -> Iterator[tuple[str, bytes]]:
    """The files of the archive, each one as the manifest says, and all of them."""
    archive = snapshot / ARCHIVE
    try:
        if _sha256(archive) != taken.archive_sha256:
            raise _damaged(snapshot, "the archive's checksum is wrong")
        missing = set(taken.files)
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                file = tar.extractfile(entry)
                if file is None or entry.name not in missing or not _is_ours(entry.name):
                    raise _damaged(snapshot, f"{entry.name!r} does not belong in it")
                content = file.read()
                if hashlib.sha256(content).hexdigest() != taken.files[entry.name][1]:
                    raise _damaged(snapshot, f"{entry.name}: the checksum is wrong")
                missing.discard(entry.name)
                yield entry.name, content
    except (OSError, EOFError, tarfile.TarError) as error:
        raise _damaged(snapshot, f"its archive cannot be read: {error}") from None
    if missing:
        raise _damaged(snapshot, f"{min(missing)} is missing")


def _is_ours(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parts[:1] == ("Default",) and ".." not in path.parts and path.parts[1] in FOLDERS


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folders(snapshots: Path) -> list[Path]:
    try:
        entries = sorted(snapshots.iterdir())
    except FileNotFoundError:
        return []
    return [path for path in entries if path.is_dir() and not path.name.startswith(".")]


def _refused(source: Path, why: str) -> SnapshotRefusedError:
    return SnapshotRefusedError(
        f"no snapshot: {source.name}: {why}",
        value=str(source),
        remedy="nothing was changed; older snapshots are as good as they were",
    )


def _damaged(snapshot: Path, why: str) -> SnapshotDamagedError:
    return SnapshotDamagedError(
        f"snapshot {snapshot.name}: {why}",
        value=str(snapshot),
        remedy="restore an older one, or pair the session by QR code",
    )
