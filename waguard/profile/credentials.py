"""A profile on disk: what is wrong with it, whose it is, and how another one takes its place.

Whatever changes something asks for the descriptor of the profile's lock and proves that it is held
(``prove_held``). Small files of waguard's own lie in a profile: who paired it, that Chromium ended in
order, what the last start told of it that the files do not, and which snapshots were put in place
since it was connected last.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from waguard.core import profile as policy
from waguard.core.profile import (
    CARRIED,
    Action,
    CarryOver,
    CredentialsLost,
    CutTornTails,
    Damaged,
    DeadOwner,
    Emptied,
    Finding,
    Found,
    Free,
    Healthy,
    Hold,
    LivingOwner,
    Missing,
    NoRoom,
    OtherHost,
    Quarantine,
    RemoveStaleLock,
    RestoreSnapshot,
    ShowQr,
    Use,
)
from waguard.errors import ConflictError, WaguardError
from waguard.host import moving, procfs, small_file
from waguard.host.private_files import private_folders, sync_folder, write_private
from waguard.host.small_file import UnreadableError
from waguard.profile import layout, leveldb, snapshots
from waguard.profile.snapshots import FOLDERS

LOCK: Final = "waguard.lock"
PAIRING: Final = "waguard-owner.json"
CLEAN_EXIT: Final = "waguard-clean-exit"
TRIED: Final = "waguard-tried.json"
SUSPECT: Final = "waguard-suspect.json"
NOTE: Final = "waguard-quarantine.json"
STAGING: Final = ".waguard-new-"
STALE: Final = 86_400.0  # s, after which nobody is still making a copy
ROOM: Final = 32 << 20  # bytes; with less, Chromium's own writes fail soon
SINGLETONS: Final = ("SingletonLock", "SingletonSocket", "SingletonCookie")
CACHES: Final = (
    # web content, compiled code and shaders; all of it is made anew
    "Default/Cache",
    "Default/Code Cache",
    "Default/DawnGraphiteCache",
    "Default/DawnWebGPUCache",
    "Default/GPUCache",
    "Default/Service Worker",
    "GPUPersistentCache",
    "GrShaderCache",
    "GraphiteDawnCache",
    "ShaderCache",
    "component_crx_cache",
)

_NO_TOKEN: Final = {"token": None}

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


class NotHeldError(WaguardError):
    """The profile's lock is not held by the caller: somebody else may be using it."""


class RepairedError(ConflictError):
    """The profile was paired anew since: a late clean-up has no business in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where everything of a session lies: absolute paths. A profile, its snapshots and the quarantine
    may be links to folders on other disks."""

    session: str
    workspace: int
    profile: Path
    snapshots: Path
    quarantine: Path


def places(sessions: Path, workspace_id: int, session_id: str) -> Places:
    """The layout below the folder of all sessions."""
    return Places(
        session=session_id,
        workspace=workspace_id,
        profile=layout.path(sessions, workspace_id, session_id),
        snapshots=sessions / "snapshots" / f"workspace_{workspace_id}" / f"session-{session_id}",
        quarantine=sessions / "quarantine",
    )


def something_left(at: Places) -> bool:
    """Whether there is a profile, or a snapshot that may bring it back."""
    return layout.exists(at.profile) or any(s.intact for s in snapshots.known(at.snapshots))


# ---- waguard's own marks ----


def pairing(profile: Path) -> str | None:
    """The owner token; None: never connected, or logged out."""
    told = _read(profile / PAIRING)
    return str(told["token"]) if isinstance(told, dict) and told.get("token") else None


def paired_at(profile: Path) -> float | None:
    """Unix time of the pairing; of one whose profile was lost, of the snapshot that took its place."""
    told = _read(profile / PAIRING)
    if not isinstance(told, dict) or not told.get("token"):
        return None
    try:
        return float(told["at"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def claim(profile: Path, lock: int, *, anew: bool) -> str:
    """Write a token when the session has become connected; ``anew``: by a pairing.

    To be called after the credentials are on disk. Without a pairing a token that is there stays.
    """
    prove_held(profile, lock)
    if not anew and (token := pairing(profile)):
        return token
    token = secrets.token_hex(16)
    _write(profile / PAIRING, {"token": token, "at": time.time()})
    return token


def disown(profile: Path, lock: int) -> None:
    """The account was logged out: nothing that was copied before is of use any more.

    The mark stays, without a token: what others left of the session is as old.
    """
    prove_held(profile, lock)
    if was_ours(profile):
        try:
            _write(profile / PAIRING, _NO_TOKEN)
        except OSError:  # a full disk: without the mark is better than with the token
            _remove(profile / PAIRING)
    _remove(profile / SUSPECT)


def was_ours(profile: Path) -> bool:
    """Whether its session was ever connected by waguard, logged out since or not."""
    return os.path.lexists(profile / PAIRING)


def suspect(profile: Path, lock: int, finding: Damaged | CredentialsLost) -> None:
    """Note what a start told that the files do not: it is acted upon before the next one."""
    prove_held(profile, lock)
    kind = "damaged" if isinstance(finding, Damaged) else "lost"
    _write(profile / SUSPECT, {"finding": kind, "why": finding.why})


def mark_clean_exit(profile: Path, lock: int) -> None:
    """Chromium has ended in order, everything is written."""
    prove_held(profile, lock)
    write_private(profile / CLEAN_EXIT, b"")
    sync_folder(profile)


def take_clean_exit(profile: Path, lock: int) -> bool:
    """Whether it ended in order the last time; from now on it has not."""
    prove_held(profile, lock)
    was = (profile / CLEAN_EXIT).exists()
    _remove(profile / CLEAN_EXIT)
    return was


def tried(profile: Path) -> frozenset[str]:
    """What was put in place since the session was connected last."""
    told = _read(profile / TRIED)
    return frozenset(map(str, told)) if isinstance(told, list) else frozenset()


def proved(profile: Path, lock: int) -> None:
    """The session is connected: nothing is held against it, and each snapshot may be tried again."""
    prove_held(profile, lock)
    _remove(profile / TRIED)
    _remove(profile / SUSPECT)


def prove_held(profile: Path, lock: int) -> None:
    """``lock`` is a flock on this very profile, and ours; raises ``NotHeldError``."""
    try:
        same = os.path.samestat(os.fstat(lock), (profile / LOCK).stat())
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nothing happens when we have it
    except OSError:
        same = False
    if not same:
        raise NotHeldError(
            f"the lock on {profile} is not held",
            value=str(profile),
            remedy="stop the session first",
        )


# ---- Chromium's lock ----


def chromium_lock(profile: Path) -> policy.Owner:
    """Who holds ``SingletonLock``, a link to ``host-pid``."""
    try:
        target = str((profile / SINGLETONS[0]).readlink())
    except FileNotFoundError:
        return Free()
    except OSError:
        return LivingOwner(0)  # no link: not Chromium's, so nothing is known
    host, _, digits = target.rpartition("-")
    if not host or not digits.isdigit():
        return LivingOwner(0)
    pid = int(digits)
    if host != socket.gethostname():
        return OtherHost(host, pid)
    return LivingOwner(pid) if _may_be_browser(pid, profile) else DeadOwner(pid)


def _may_be_browser(pid: int, profile: Path) -> bool:
    """False only where ``pid`` is proven to be gone, or to be something else: it is soon reused."""
    if procfs.start_time(pid) is None:  # gone, a zombie, or hidden from us
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return False
    flag = f"--user-data-dir={profile}"
    argv = procfs.command_line(pid)
    if not argv:
        try:
            Path(f"/proc/{pid}/exe").readlink()
        except FileNotFoundError:
            return False  # a thread of the kernel
        except OSError:
            return True
    # Chromium may rewrite its arguments into one
    return any(argument == flag or f" {flag} " in f" {argument} " for argument in argv)


def remove_stale_lock(profile: Path, lock: int) -> None:
    """Remove Chromium's lock, after proving once more that nobody has it."""
    prove_held(profile, lock)
    owner = chromium_lock(profile)
    if isinstance(owner, LivingOwner):
        raise NotHeldError(
            f"Chromium {owner.pid} still uses {profile}",
            value=str(profile),
            remedy=f"end it: kill {owner.pid}",
        )
    for name in SINGLETONS:
        _remove(profile / name)


# ---- inspection ----


def inspect(profile: Path, *, room: int = ROOM) -> Finding:
    """What is wrong, read from the files; nothing may be writing to them.

    ``Local State`` and ``Preferences`` are not read: Chromium makes them anew.
    """
    try:
        # where to restore to must have room as well
        free = shutil.disk_usage(profile if profile.exists() else profile.parent).free
        if free < room:
            return NoRoom(f"only {free >> 20} MB are free on the disk of {profile}")
        return _inspect(profile)
    except leveldb.DamageError as error:
        return Damaged(str(error))
    except FileNotFoundError:
        return Missing()
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        return Damaged(f"{error.filename or profile} cannot be read: {error.strerror}")


def emptied(profile: Path) -> bool:
    """Whether it was removed under a living browser, which makes some of its files anew and not
    these: at each start of a browser there are more."""
    stored = profile / "Default"
    return stored.is_dir() and not any(os.path.lexists(stored / name) for name in FOLDERS)


def _inspect(profile: Path) -> Finding:
    if not os.path.lexists(profile / "Default"):
        return Missing()
    if emptied(profile):
        return Emptied()
    paired = pairing(profile) is not None
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
    found = snapshots.databases(folder)
    if not found:
        # a later Chromium may keep it in a database of another kind
        return None if names and snapshots.other_database(folder) else "it holds no database"
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


def look(at: Places, lock: int | None, *, finding: Finding | None = None) -> Found:
    """All that is known before a start; ``finding`` where the browser or the page told more."""
    locked = True
    try:
        prove_held(at.profile, -1 if lock is None else lock)
    except NotHeldError:
        locked = False
    judged = finding or _judged(at.profile)
    return Found(
        finding=judged,
        owner=chromium_lock(at.profile),
        locked=locked,
        pairing=pairing(at.profile),
        # checksums cost time, and matter only where one may be restored
        snapshots=(
            tuple(snapshots.known(at.snapshots))
            if isinstance(judged, Healthy | NoRoom)
            else snapshots.verified(at.snapshots)
        ),
        tried=tried(at.profile),
    )


def _judged(profile: Path) -> Finding:
    """What the files tell; where they tell nothing, what the last start told."""
    found, told = inspect(profile), _read(profile / SUSPECT)
    if not isinstance(found, Healthy) or not isinstance(told, dict):
        return found
    why = str(told.get("why"))
    if told.get("finding") == "damaged":
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


# ---- carrying out ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was found and done; ``end`` is the last action. ``aside``: the quarantined profile."""

    found: Found
    actions: tuple[Action, ...]
    aside: Path | None

    @property
    def end(self) -> Use | ShowQr | Hold:
        """How to go on."""
        last = self.actions[-1]
        assert isinstance(last, Use | ShowQr | Hold)  # noqa: S101 - decide promises it
        return last


def prepare(at: Places, lock: int, *, finding: Finding | None = None) -> Prepared:
    """Inspect, decide, and do it: before each start of Chromium. Blocks: call it in a thread.

    ``finding`` is what the last start told that files do not: "exits at once", "a QR code although
    it was connected". A ``Hold`` leaves everything as it is.
    """
    prove_held(at.profile, lock)
    clear_staging(at.profile)
    found = look(at, lock, finding=finding)
    actions = policy.decide(found)
    aside = carry_out(at, lock, actions)
    return Prepared(found=found, actions=actions, aside=aside)


def carry_out(at: Places, lock: int, actions: tuple[Action, ...]) -> Path | None:
    """Do what was decided; where the old profile lies, if it was moved."""
    prove_held(at.profile, lock)
    why: str | None = None
    fill: tuple[str, Callable[[Path], object]] | None = None
    for action in actions:
        match action:
            case RemoveStaleLock():
                remove_stale_lock(at.profile, lock)
            case CutTornTails(databases):
                for name in databases:
                    _cut(at.profile / name)
            case Quarantine(reason):
                why = reason
            case CarryOver():
                fill = (CARRIED, partial(snapshots.copy_credentials, at.profile))
            case RestoreSnapshot(id_):
                fill = (id_, partial(snapshots.unpack, at.snapshots / id_))
            case Use() | ShowQr() | Hold():
                pass
    if why is None and fill is None:
        return None
    return renew(at, lock, why=why, fill=fill)


def _cut(database: Path) -> None:
    leveldb.mend(database, leveldb.check(database))


def renew(
    at: Places,
    lock: int,
    *,
    why: str | None,
    fill: tuple[str, Callable[[Path], object]] | None = None,
) -> Path | None:
    """Put a new profile in place of the old one, which is moved aside with a note (``why``).

    The new one is made beside the old one (beside its target, where it is a link, which stays) and
    renamed, and has the same lock file, so that it is never free for
    anybody else. A crash in between leaves no profile, which the next start sees. ``why`` None is for
    a profile in which Chromium has stored nothing. Where the old one lies now.
    """
    prove_held(at.profile, lock)
    owner = chromium_lock(at.profile)
    if not isinstance(owner, Free):
        raise NotHeldError(f"{at.profile} is locked by Chromium: {owner}", value=str(at.profile))
    moving.require_movable(at.profile.resolve())
    with staging(at.profile) as made:
        _fill(at, made, fill)
        if why is None:
            _move_in(at.profile, made)
            return None
        return put_in_place(at, lock, made, why=why)


@contextlib.contextmanager
def staging(profile: Path) -> Iterator[Path]:
    """An empty folder in which another profile is made before it takes this one's place; what is left
    in it is deleted, by the next start after a crash."""
    clear_staging(profile)
    made = _staging_of(profile)
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _staging_of(profile: Path) -> Path:
    real = profile.resolve()
    return real.with_name(f"{STAGING}{real.name}")


def put_in_place(at: Places, lock: int, other: Path, *, why: str) -> Path | None:
    """Have ``other``, a folder on the same disk, be the profile, with the same lock. Where the one before
    lies now, with a note (``why``); None: nothing was stored in it."""
    prove_held(at.profile, lock)
    real = at.profile.resolve()
    _remove(other / LOCK)
    os.link(at.profile / LOCK, other / LOCK)
    sync_folder(other)
    aside = None
    if [path.name for path in real.iterdir()] == [LOCK]:
        _remove(real / LOCK)  # what is empty can be renamed over
    else:
        aside = _move_aside(at, why)
    other.rename(real)
    sync_folder(real.parent)
    if aside:
        _remove(aside / LOCK)
    return aside


def _fill(at: Places, staging: Path, fill: tuple[str, Callable[[Path], object]] | None) -> None:
    token, since = pairing(at.profile), paired_at(at.profile)
    before = tried(at.profile)
    if fill is None:
        # it begins anew, without an owner: nothing older may be put over it
        if before:
            _write(staging / TRIED, sorted(before))
        if was_ours(at.profile):
            _write(staging / PAIRING, _NO_TOKEN)
        return
    id_, write = fill
    write(staging)
    if id_ != CARRIED:
        taken = snapshots.read_manifest(at.snapshots / id_)
        # it is no new pairing: what came since then is still wanted
        since = taken.taken_at if taken.pairing != token or since is None else since
        token = taken.pairing
    _write(staging / TRIED, sorted({*before, id_}))
    if token:
        _write(staging / PAIRING, {"token": token, "at": time.time() if since is None else since})


def _move_in(profile: Path, staging: Path) -> None:
    if os.path.lexists(profile / "Default"):
        raise NotHeldError(f"{profile} is not empty", value=str(profile), remedy="quarantine it")
    for name in (PAIRING, "Default", TRIED):
        if (staging / name).exists():
            (staging / name).replace(profile / name)
    sync_folder(profile)


def _move_aside(at: Places, why: str) -> Path:
    private_folders(at.quarantine)
    now = datetime.now(UTC)
    note = {
        "session_id": at.session,
        "workspace_id": at.workspace,
        "at": now.isoformat(),
        "why": why,
    }
    _write(at.profile / NOTE, note)
    aside = at.quarantine / f"{at.session}-{now:%Y%m%dT%H%M%S.%f}"
    moving.move(at.profile, aside, key=layout.key(f"{at.workspace}/{at.session}"))
    sync_folder(at.quarantine)
    return aside


def clear_staging(profile: Path) -> None:
    """Delete what a crash left beside the profile."""
    shutil.rmtree(_staging_of(profile), ignore_errors=True)
    moving.clear(profile.resolve())


def clean_caches(profile: Path, lock: int, *, above: int) -> int:
    """Delete what Chromium makes anew, when it weighs more than ``above`` bytes; what was freed.

    Credentials are not touched.
    """
    prove_held(profile, lock)
    if not isinstance(chromium_lock(profile), Free):
        raise NotHeldError(f"{profile} is locked by Chromium", value=str(profile))
    caches = [
        path for name in CACHES if (path := profile / name).is_dir() and not path.is_symlink()
    ]
    size = sum(size_of(path) for path in caches)
    if size <= above:
        return 0
    for path in caches:
        shutil.rmtree(path, ignore_errors=True)
    return size


# ---- quarantine ----


def quarantined(sessions: Path) -> list[policy.Copy]:
    """The profiles that were moved aside, oldest first; what has no note of ours is left alone."""
    found = []
    folder = sessions / "quarantine"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        note = _read(path / NOTE)
        if not isinstance(note, dict) or path.name.startswith(moving.UNFINISHED):
            continue
        try:
            session, workspace = str(note["session_id"]), int(note["workspace_id"])
            at = datetime.fromisoformat(note["at"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        where = places(sessions, workspace, session)
        only = pairing(where.profile) is None and not any(
            snapshot.intact for snapshot in snapshots.known(where.snapshots)
        )
        found.append(
            policy.Copy(
                name=path.name,
                session=f"{workspace}/{session}",
                at=at,
                size=size_of(path),
                only=only,
            )
        )
    return sorted(found, key=lambda copy: (copy.at, copy.name))


def purge(sessions: Path, *, now: float, keep_for: float, size_limit: int) -> list[policy.Copy]:
    """Delete what retention lets go; what was deleted. Blocks: call it in a thread."""
    doomed = policy.expired(
        quarantined(sessions), now=now, keep_for=keep_for, size_limit=size_limit
    )
    for copy in doomed:
        shutil.rmtree(sessions / "quarantine" / copy.name, ignore_errors=True)
    moving.clear_unfinished(sessions / "quarantine", before=time.time() - STALE)
    return doomed


def retire(at: Places, lock: int, *, token: str | None, why: str) -> Path | None:
    """Move the profile and its snapshots aside for good: the session was logged out or deleted.

    No later session of this name is given them. ``token`` is the pairing that is meant: raises
    ``RepairedError`` where it was paired anew meanwhile. None: there is nothing to move.
    """
    prove_held(at.profile, lock)
    if pairing(at.profile) not in {token, None}:
        raise RepairedError(
            f"{at.profile} was paired anew meanwhile",
            value=str(at.profile),
            remedy="nothing was done; ask again if it is still wanted",
        )
    if not layout.exists(at.profile) and not at.snapshots.is_dir():
        return None
    clear_staging(at.profile)
    aside = _move_aside(at, why)
    moving.remove_link(at.profile)  # a dangling one would be in the way of the next profile
    if at.snapshots.is_dir():
        moving.move(at.snapshots, aside / "waguard-snapshots", key="snapshots")
        moving.remove_link(at.snapshots)
    return aside


def size_of(folder: Path) -> int:
    """Bytes on disk below a folder; what vanishes meanwhile weighs nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512  # noqa: PTH118 - of thousands of files
            except OSError:
                continue
    return total


# ---- small files ----


def _read(path: Path) -> Any:
    """JSON; None where there is none that can be read."""
    try:
        return json.loads(small_file.read(path))
    except (OSError, ValueError, RecursionError, UnreadableError):
        return None


def _write(path: Path, content: Any) -> None:
    """JSON, whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    write_private(draft, json.dumps(content).encode() + b"\n")
    draft.replace(path)
    sync_folder(path.parent)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
