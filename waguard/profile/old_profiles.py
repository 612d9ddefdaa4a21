"""Old profiles on this host: found, read, and put in their place before a start.

A normal start and ``waguard import`` find them alike: what a path means, and which one is used, is decided in
``core/profile/old_profiles.py``. Before a start one is renamed into its place; an import copies.
"""

import contextlib
import errno
import os
import stat
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from waguard.core.profile import old_profiles as policy
from waguard.core.profile.before_start import LivingOwner
from waguard.core.profile.old_profiles import Credentials, Identity, Profile
from waguard.errors import WaguardError
from waguard.host.files import moving
from waguard.host.files.ownership import us
from waguard.host.files.private_files import private_folders
from waguard.host.small_file import UnreadableError
from waguard.profile import (
    chromium_lock,
    copying,
    credentials,
    inspection,
    layout,
    leveldb,
    local_storage,
    owner_mark,
    quarantine,
    repair,
    session_archive,
    snapshots,
    staging,
)
from waguard.profile.copying import stored_in
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileInUseError, ProfileLock

DEPTH: Final = 6  # folders below the one that is searched; a backup of the old service has 5
FOLDERS: Final = 20_000  # that are looked into at most
_NOT_SEARCHED: Final = frozenset({"node_modules", "vendor", ".git", "quarantine", "snapshots"})
_NESTED: Final = ("session-", "RemoteAuth-")
OLD: Final = "waguard-old-"
"""The beginning of the names of old profiles of a session that left, beside the one that was in place."""


class OldProfileInUseError(WaguardError):
    """The session's old profile is used by a browser that is not waguard's."""


# ---- one profile ----


def examine(path: Path) -> Profile:
    """What it is, a folder or an archive; never raises."""
    try:
        if path.suffix == policy.ARCHIVE:
            return _examine_archive(path)
        stored = stored_in(path)
        if stored is None:
            return Profile(
                path=str(path), credentials=Credentials.UNPAIRED, why="Chromium has stored nothing"
            )
        found, why = _credentials(stored)
        return Profile(
            path=str(path),
            credentials=found,
            why=why,
            used_at=_used_at(stored),
            size=copying.size(path),
            in_use=in_use(path),
        )
    except (OSError, UnreadableError) as error:
        return Profile(path=str(path), credentials=Credentials.UNKNOWN, why=words(error))


def _examine_archive(path: Path) -> Profile:
    with session_archive.opened(path) as archive, tempfile.TemporaryDirectory() as unpacked:
        archive.databases().unpack(Path(unpacked))
        found, why = _credentials(Path(unpacked, "Default"))
        return Profile(
            path=str(path),
            credentials=found,
            why=why,
            used_at=path.stat().st_mtime,
            size=archive.size,
        )


def _credentials(stored: Path) -> tuple[Credentials, str | None]:
    try:
        if why := inspection.lack(stored):
            return Credentials.UNPAIRED, why
        databases = credentials.databases(stored / "Local Storage")
        if not databases:
            return Credentials.UNKNOWN, "Local Storage has an unknown format"
        if any(local_storage.account(database) for database in databases):
            return Credentials.PAIRED, None
    except leveldb.DamageError as error:
        return Credentials.DAMAGED, str(error)
    except (OSError, UnreadableError) as error:
        return Credentials.UNKNOWN, words(error)
    return Credentials.UNPAIRED, "WhatsApp Web keeps no account in it"


def words(error: Exception) -> str:
    """What was wrong, for a person."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _used_at(stored: Path) -> float:
    """When a database of its credentials was written last."""
    files = (
        file
        for name in credentials.FOLDERS
        for database in credentials.databases(stored / name)
        for file in database.iterdir()
    )
    return max((file.lstat().st_mtime for file in files), default=0.0)


def in_use(path: Path) -> str | None:
    """Which browser uses the profile; None: none. Raises ``OSError``."""
    owner = chromium_lock.owner(path)
    if isinstance(owner, LivingOwner):
        return f"Chromium {owner.pid}" if owner.pid else "the process that made its SingletonLock"
    stored = stored_in(path)
    if stored is None:
        return None
    databases = (it for name in credentials.FOLDERS for it in credentials.databases(stored / name))
    for database in databases:
        if (pid := chromium_lock.locked_by(database / "LOCK")) is not None:
            # one of another container has no number here
            return f"process {pid}" if pid > 0 else "a process of another container"
    return None


# ---- searching ----


class Search(Struct, frozen=True):
    """``notes`` say what was not searched, and why."""

    profiles: list[tuple[Path, Identity]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def search(folder: Path, *, most: int = FOLDERS) -> Search:
    """Every profile and archive in ``folder`` and below, by path; itself may be one.

    Links of root and of whoever asks are followed; ``most`` folders are looked into. Raises ``OSError``
    where ``folder`` cannot be read.
    """
    found = Search()
    seen: set[tuple[int, int]] = set()
    folder = folder.absolute()
    os.listdir(folder)  # noqa: PTH208 - raises at once where it cannot be read
    left = deque([(folder, 0)])
    while left:
        path, depth = left.popleft()
        if len(seen) >= most:
            found.notes.append(f"{most} folders were searched; the rest of {folder} was not")
            break
        try:
            there = path.stat()
            if (there.st_dev, there.st_ino) in seen:
                continue
            seen.add((there.st_dev, there.st_ino))
            whose = policy.identify(path.parts)
            is_archive = stat.S_ISREG(there.st_mode)
            if is_profile := is_archive or _is_profile(path, whose):
                found.profiles.append((path, whose))
            if depth < DEPTH and not is_archive:
                below = _below(path, found.notes, nested=is_profile)
                left.extend((one, depth + 1) for one in below)
        except OSError as error:
            found.notes.append(f"{path} cannot be searched: {error.strerror}")
    found.profiles.sort()
    return found


def _is_profile(path: Path, whose: Identity) -> bool:
    """Many an application has a folder of the name ``Default``."""
    stored = stored_in(path)
    if stored is None:
        return False
    return whose.session is not None or any(
        (stored / name).is_dir() for name in credentials.FOLDERS
    )


def _below(path: Path, notes: list[str], *, nested: bool) -> Iterator[Path]:
    """What else is to be searched; ``nested``: in a profile, where the old service put another one."""
    for entry in sorted(os.scandir(path), key=lambda it: it.name):
        name = entry.name
        named = name.startswith(_NESTED) or name.removesuffix(policy.ARCHIVE) in policy.NAMELESS
        if name in _NOT_SEARCHED or name.startswith(".waguard-") or (nested and not named):
            continue
        if entry.is_dir() or (named and name.endswith(policy.ARCHIVE) and entry.is_file()):
            if entry.is_symlink() and (uid := os.lstat(entry.path).st_uid) not in us().trusted:
                notes.append(
                    f"{entry.path} is a link of user {uid} and was not followed: name what it links"
                    " to with --from"
                )
                continue
            yield Path(entry.path)


# ---- before a start ----


def waiting(at: Places, *, known: bool) -> list[Path]:
    """The session's old profiles below the folder of all profiles, while waguard has none of its own:
    ``known`` as ``policy.places`` has it. Raises ``OSError``."""
    if owner_mark.was_ours(at.profile) or layout.dangling(at.snapshots):
        return []
    if any(it.intact for it in snapshots.known(at.snapshots)):
        return []
    return _lying(at, known=known)


def archive_of(at: Places) -> Path | None:
    """RemoteAuth's archive of it, which only an import unpacks."""
    names = policy.archives(at.workspace, at.session)
    return next((path for name in names if (path := _root(at) / name).is_file()), None)


def migrate(at: Places, *, known: bool) -> Path | None:
    """Put the session's old profile in its place, before a start; where it lay. None: there is nothing
    to move, or what is in its place is used.

    What was there is quarantined. Raises ``OldProfileInUseError``, ``OSError``.
    """
    old = waiting(at, known=known)
    if not old:
        return None
    there = layout.exists(at.profile)
    if there or len(old) > 1:
        own = examine(at.profile) if there else None
        chosen = policy.at_start(own, [examine(path) for path in old])
        if chosen is None:
            return None
        path = Path(chosen.path)
    else:
        [path] = old
    if user := in_use(path):
        raise OldProfileInUseError(
            f"{user} uses {path}", value=str(path), remedy="stop the old service"
        )
    return path if _put_in_place(at, path) else None


def retire(at: Places, lock: int, *, token: str | None, why: str, known: bool) -> Path | None:
    """As ``quarantine.retire``; the session's old profiles are quarantined as well, unless another
    browser uses them."""
    quarantined = quarantine.retire(at, lock, token=token, why=why)
    if quarantined is not None:
        for number, path in enumerate(_lying(at, known=known)):
            if in_use(path) is None:
                moving.move(path, quarantined / f"{OLD}{number}", key=layout.key(str(path)))
                moving.remove_link(path)
    return quarantined


def retire_unused(at: Places, *, token: str | None, why: str) -> Path | None:
    """As ``retire``, of a session that leaves, with a lock of its own; an old profile that nobody has put in its place yet
    counts as its profile. Raises ``ProfileInUseError``."""
    quarantine.require_mounted(at)  # the lock would have to be made behind the link
    if not layout.exists(at.profile):
        with contextlib.suppress(OldProfileInUseError):
            migrate(at, known=False)
    with ProfileLock(at.profile) as lock:
        return retire(at, lock.descriptor, token=token, why=why, known=False)


def lies_inside(at: Places, path: Path) -> bool:
    """Whether an old profile lies in the very place that it should take."""
    return path.resolve().is_relative_to(at.profile.resolve())


def _root(at: Places) -> Path:
    return at.quarantine.parent


def _lying(at: Places, *, known: bool) -> list[Path]:
    own = at.profile.resolve()
    paths = (_root(at) / name for name in policy.places(at.workspace, at.session, known=known))
    return [path for path in paths if stored_in(path) and path.resolve() != own]


def _put_in_place(at: Places, path: Path) -> bool:
    """False: a worker still has what is in its place."""
    if not os.path.lexists(at.profile):
        target = at.profile
        if stored_in(path) == path:
            private_folders(target)
            target /= "Default"
        layout.move(path, target)
        return True
    try:
        with ProfileLock(at.profile) as lock:
            chromium_lock.remove_stale(at.profile, lock.descriptor)
            _replace(at, lock.descriptor, path)
            return True
    except ProfileInUseError:
        return False


def _replace(at: Places, lock: int, path: Path) -> None:
    why = f"a paired old profile, {path}, took its place"
    if stored_in(path) != path and not lies_inside(at, path):
        try:
            repair.put_in_place(at, lock, path.resolve(), why=why)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            moving.remove_link(path)
            return
    with staging.made_beside(at.profile) as made:
        copying.copy(path, made)
        repair.put_in_place(at, lock, made, why=why)
