"""Snapshots of a session's credentials: taken, kept, verified, unpacked.

Theory of operation. A snapshot is a folder ``<snapshots>/<id>/`` with an archive and its manifest
(``snapshot_archive``). It is made beside and renamed, so one that is there is whole. Before that the
copies are read as LevelDB would read them (``credentials``): what is damaged or empty is no snapshot. One is
made at a time, under a flock on the folder: a worker, a person and a backup may all want one.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from waguard.core.profile.snapshots import Snapshot, age_order, next_order, superfluous
from waguard.core.replace import replace
from waguard.host.files.private_files import private_folders, sync_folder, write_private
from waguard.profile.credentials import FOLDERS, SnapshotRefusedError, copy_whole
from waguard.profile.snapshot_archive import (
    ARCHIVE,
    BY_CONTENT,
    SnapshotDamagedError,
    SnapshotUnreadError,
    Taken,
    members,
    pack,
    read_manifest,
)

GENERATIONS: Final = 2  # snapshots that are kept of a session
INTERVAL: Final = 3_600.0  # s between two copies of a connected session's credentials
PATIENCE: Final = 60.0  # s, for which one waits until another one is made
UNFINISHED: Final = ".new-"


def create(
    profile: Path,
    snapshots: Path,
    *,
    pairing: str,
    running: bool,
    now: float,
    patience: float = PATIENCE,
) -> Taken:
    """Copy the credentials; then only the newest generations of this pairing are left.

    ``running`` says that a Chromium may write meanwhile. To be called when the session was connected
    long enough (``core.profile.snapshots.due_in``), or after a clean stop of one that was. Blocks: call it in
    a thread. Raises ``SnapshotRefusedError``, also where another copy is being made for
    ``patience`` seconds; ``OSError`` where the disk is full or does not answer.
    """
    private_folders(snapshots)
    with _alone(snapshots, patience):
        return _create(profile, snapshots, pairing=pairing, running=running, now=now)


@contextlib.contextmanager
def _alone(snapshots: Path, patience: float) -> Iterator[None]:
    """While nobody else copies into the folder. Raises ``SnapshotRefusedError``."""
    descriptor = os.open(snapshots, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for_lock(descriptor, snapshots, patience)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, snapshots: Path, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise SnapshotRefusedError(
                    f"no snapshot: another copy into {snapshots} is being made",
                    value=str(snapshots),
                    remedy="nothing was changed; wait until it has ended",
                ) from None
            time.sleep(0.1)
        except OSError:
            return  # a file system without locks: the earlier copy fails, as what it has copied is deleted
        else:
            return


def _create(profile: Path, snapshots: Path, *, pairing: str, running: bool, now: float) -> Taken:
    clear_unfinished(snapshots)
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    id_ = f"{stamp}-{secrets.token_hex(3)}"
    draft = snapshots / f"{UNFINISHED}{id_}"
    draft.mkdir(mode=0o700)
    try:
        copied = {
            file
            for name in FOLDERS
            for file in copy_whole(
                profile / "Default" / name, draft / "Default" / name, running=running
            )
        }
        taken = pack(
            draft,
            copied,
            Taken(
                id=id_,
                pairing=pairing,
                taken_at=now,
                running=running,
                archive_size=0,
                archive_sha256="",
                files={},
                order=next_order(known(snapshots), now=now),
            ),
        )
        shutil.rmtree(draft / "Default")
        sync_folder(draft)
        draft.rename(snapshots / id_)
        sync_folder(snapshots)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for old in superfluous(known(snapshots), pairing=pairing, generations=GENERATIONS):
        remove(snapshots, old.id)
    return taken


def known(snapshots: Path) -> list[Snapshot]:
    """All that lie there, oldest first, checksums not read: for a decision, verify the chosen one."""
    found = []
    for folder in _folders(snapshots):
        try:
            taken = read_manifest(folder)
            intact = (folder / ARCHIVE).stat().st_size == taken.archive_size
        except (OSError, SnapshotDamagedError) as error:
            none = Snapshot(id=folder.name, taken_at=0.0, pairing="", intact=False)
            found.append(replace(none, unread=_unread(error)))
        else:
            found.append(_snapshot(taken, intact=intact))
    return sorted(found, key=age_order)


def _snapshot(taken: Taken, *, intact: bool) -> Snapshot:
    return Snapshot(
        id=taken.id,
        taken_at=taken.taken_at,
        pairing=taken.pairing,
        intact=intact,
        order=taken.order,
    )


def _unread(error: Exception) -> str | None:
    by_system = isinstance(error, OSError) and error.errno not in BY_CONTENT
    return str(error) if by_system or isinstance(error, SnapshotUnreadError) else None


def verified(snapshots: Path) -> tuple[Snapshot, ...]:
    """As ``known``, with every checksum read."""
    result = []
    for snapshot in known(snapshots):
        try:
            result.append(_snapshot(verify(snapshots / snapshot.id), intact=True))
        except (OSError, SnapshotDamagedError) as error:
            result.append(replace(snapshot, intact=False, unread=_unread(error)))
    return tuple(sorted(result, key=age_order))


def verify(snapshot: Path) -> Taken:
    """Read it whole. Raises ``SnapshotDamagedError`` with what is wrong."""
    taken = read_manifest(snapshot)
    for _ in members(snapshot, taken):
        pass
    return taken


def unpack(snapshot: Path, into: Path) -> Taken:
    """Write its files below ``into``, verified and on disk. Raises ``SnapshotDamagedError``."""
    taken = read_manifest(snapshot)
    for name, content in members(snapshot, taken):
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


def _folders(snapshots: Path) -> list[Path]:
    try:
        entries = sorted(snapshots.iterdir())
    except FileNotFoundError:
        return []
    return [path for path in entries if path.is_dir() and not path.name.startswith(".")]
