"""What is wrong with a profile, read from its files; nothing is changed."""

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Final

from waguard.core.profile.before_start import (
    CredentialsLost,
    Damaged,
    Emptied,
    Finding,
    Found,
    Healthy,
    Missing,
    NoRoom,
)
from waguard.profile import (
    chromium_lock,
    credentials,
    layout,
    leveldb,
    mark_files,
    owner_mark,
    snapshots,
    start_marks,
)
from waguard.profile.credentials import FOLDERS
from waguard.profile.layout import Places
from waguard.profile.lock import NotHeldError, prove_held
from waguard.profile.start_marks import SUSPECT

ROOM: Final = 32 << 20  # bytes; with less, Chromium's own writes fail soon
# what a broken disk, or somebody else's hand, makes of a file
_UNREADABLE: Final = frozenset(
    {
        errno.EACCES,
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EPERM,
        errno.ESTALE,
        errno.EUCLEAN,
    }
)


def something_left(at: Places) -> bool:
    """Whether there is a profile, or a snapshot that may bring it back."""
    return layout.exists(at.profile) or any(s.intact for s in snapshots.known(at.snapshots))


def inspect(profile: Path, *, room: int = ROOM) -> Finding:
    """What is wrong, read from the files; nothing may be writing to them. Raises ``OSError`` where something cannot be
    read now, as the owner mark.

    ``Local State`` and ``Preferences`` are not read: Chromium makes them again.
    """
    paired = owner_mark.pairing(profile) is not None
    try:
        # where to restore to must have room as well
        free = shutil.disk_usage(profile if profile.exists() else profile.parent).free
        if free < room:
            return NoRoom(f"only {free >> 20} MB are free on the disk of {profile}")
        return _inspect(profile, paired=paired)
    except leveldb.DamageError as error:
        return Damaged(str(error))
    except FileNotFoundError:
        return Missing()
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        return Damaged(f"{error.filename or profile} cannot be read: {error.strerror}")


def emptied(profile: Path) -> bool:
    """Whether it was removed under a living browser, which makes some of its files again and not
    these: at each start of a browser there are more."""
    stored = profile / "Default"
    return stored.is_dir() and not any(os.path.lexists(stored / name) for name in FOLDERS)


def _inspect(profile: Path, *, paired: bool) -> Finding:
    if not os.path.lexists(profile / "Default"):
        return Missing()
    if emptied(profile):
        return Emptied()
    torn: list[Path] = []
    for name in FOLDERS:
        why = _lost(profile / "Default" / name, torn)
        if why and paired:
            return CredentialsLost(f"{name}: {why}")
    return Healthy(tuple(str(database.relative_to(profile)) for database in torn))


def _lost(folder: Path, torn: list[Path]) -> str | None:
    """Why there are no credentials in it; raises ``DamageError``, ``OSError``."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - raises at once where it cannot be read
    except FileNotFoundError:
        return "the folder is missing"
    found = credentials.databases(folder)
    if not found:
        # a later Chromium may keep it in a database of another kind
        return None if names and credentials.other_database(folder) else "it holds no database"
    empty = 0
    for database in found:
        try:
            if leveldb.check(database):
                torn.append(database)
        except leveldb.EmptyError:
            empty += 1
        except leveldb.DamageError as error:
            raise leveldb.DamageError(f"{folder.name}/{database.name}: {error}") from None
    return "its database is empty" if empty == len(found) else None


def examine(at: Places, lock: int | None, *, finding: Finding | None = None) -> Found:
    """All that is known before a start; ``finding`` where the browser or the page showed more. Raises ``OSError``
    where something cannot be read now."""
    locked = True
    try:
        prove_held(at.profile, -1 if lock is None else lock)
    except NotHeldError:
        locked = False
    result = finding or _finding(at.profile)
    away = layout.dangling(at.snapshots)
    stays = isinstance(result, Healthy | NoRoom)
    return Found(
        finding=result,
        owner=chromium_lock.owner(at.profile),
        locked=locked,
        pairing=owner_mark.pairing(at.profile),
        logged_out=owner_mark.logged_out(at.profile),
        # checksums cost time, and matter only where one may be restored
        snapshots=(
            tuple(snapshots.known(at.snapshots)) if stays else snapshots.verified(at.snapshots)
        ),
        snapshots_away=layout.not_mounted(away) if away else None,
        tried=frozenset() if stays else start_marks.tried(at.profile),
    )


def _finding(profile: Path) -> Finding:
    """What the files show; where they show nothing, what the last start showed. Where that cannot be read now, the next
    start shows it again, and writes it anew."""
    found, mark = inspect(profile), None
    with contextlib.suppress(OSError):
        mark = mark_files.read(profile / SUSPECT)
    if not isinstance(found, Healthy) or not isinstance(mark, dict):
        return found
    why = str(mark.get("why"))
    if mark.get("finding") == "damaged":
        return Damaged(why, whole=whole(profile))
    return CredentialsLost(why)


def whole(profile: Path) -> bool:
    """Whether the credentials themselves can be read, whatever else is broken."""
    try:
        return lack(profile / "Default") is None
    except (OSError, leveldb.DamageError):
        return False


def lack(stored: Path) -> str | None:
    """Why there are no credentials in a profile's ``Default``; None: there may be.

    Raises ``DamageError``, ``OSError``.
    """
    for name in FOLDERS:
        if why := _lost(stored / name, []):
            return f"{name}: {why}"
    return None
