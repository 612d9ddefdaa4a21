"""Profiles that must not be used any more: kept with a note, and deleted when retention lets them go."""

import contextlib
import itertools
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from waguard.core.profile.quarantine import Copy, expired
from waguard.errors import ConflictError, UnavailableError
from waguard.host.files import disk, moving
from waguard.host.files.private_files import private_folders, sync_folder
from waguard.profile import layout, leaving_mark, mark_files, owner_mark, snapshots, staging
from waguard.profile.layout import Places
from waguard.profile.lock import prove_held

NOTE: Final = "waguard-quarantine.json"
SNAPSHOTS: Final = "waguard-snapshots"
WHICHEVER: Final = "whichever"
"""For the token of a pairing: what leaves is meant, and which pairing it is need not be readable."""
STALE: Final = 86_400.0  # s, after which nobody is still making a copy


class PairedAgainError(ConflictError):
    """The profile was paired again since: a late clean-up has no business in it."""


def move_in(at: Places, why: str) -> Path:
    """Move the profile into the quarantine, with a note (``why``); where it lies then."""
    private_folders(at.quarantine)
    now = datetime.now(UTC)
    note = {
        "session_id": at.session,
        "workspace_id": at.workspace,
        "at": now.isoformat(),
        "why": why,
    }
    mark_files.write(at.profile / NOTE, note)
    target = at.quarantine / f"{at.session}-{now:%Y%m%dT%H%M%S.%f}"
    moving.move(at.profile, target, key=layout.key(f"{at.workspace}/{at.session}"))
    sync_folder(at.quarantine)
    return target


def quarantined(sessions: Path) -> list[Copy]:
    """The profiles in the quarantine, oldest first; what has no note of ours is not touched."""
    found = []
    folder = sessions / "quarantine"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            note = mark_files.read(path / NOTE)
        except OSError:
            continue
        if not isinstance(note, dict) or path.name.startswith(moving.UNFINISHED):
            continue
        try:
            session, workspace = str(note["session_id"]), int(note["workspace_id"])
            at = datetime.fromisoformat(note["at"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        where = layout.places(sessions, workspace, session)
        found.append(
            Copy(
                name=path.name,
                session=f"{workspace}/{session}",
                at=at,
                size=disk.size_of(path),
                only=_is_only(where),
            )
        )
    return sorted(found, key=lambda copy: (copy.at, copy.name))


def _is_only(where: Places) -> bool:
    """Whether nothing else of this session may be left; what cannot be read may be nothing."""
    with contextlib.suppress(OSError):
        if owner_mark.pairing(where.profile) is not None:
            return False
    return not any(snapshot.intact for snapshot in snapshots.known(where.snapshots))


def purge(sessions: Path, *, now: float, keep_for: float, size_limit: int) -> list[Copy]:
    """Delete what retention lets go; what is gone. Blocks: call it in a thread."""
    doomed = expired(quarantined(sessions), now=now, keep_for=keep_for, size_limit=size_limit)
    gone = [copy for copy in doomed if _delete(sessions / "quarantine" / copy.name)]
    moving.clear_unfinished(sessions / "quarantine", before=time.time() - STALE)
    return gone


def _delete(path: Path) -> bool:
    """Whether it is gone. Under a name that ``clear_unfinished`` knows: its note may go first, and without one a crash
    would leave the credentials forever."""
    doomed = path.with_name(f"{moving.UNFINISHED}{path.name}")
    try:
        path.rename(doomed)
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return not doomed.exists()


def retire(at: Places, lock: int, *, token: str | None, why: str) -> Path | None:
    """Quarantine the profile and its snapshots for good: the session was logged out or deleted.

    No later session of this name is given them. ``token`` is the pairing that is meant, or ``WHICHEVER``: raises
    ``PairedAgainError`` where it was paired again meanwhile, ``UnavailableError`` while a disk of it is not mounted,
    ``OSError``.
    None: there is nothing to move.
    """
    require_mounted(at)
    prove_held(at.profile, lock)
    if token != WHICHEVER and owner_mark.pairing(at.profile) not in {token, None}:
        raise PairedAgainError(
            f"{at.profile} was paired again meanwhile",
            value=str(at.profile),
            remedy="the new pairing stays; repeat the request if it is to be ended, too",
        )
    staging.clear(at.profile)
    if not (layout.exists(at.profile) or at.snapshots.is_dir() or was_begun(at.profile)):
        leaving_mark.remove(at.profile)
        return None
    moving.require_movable(at.profile.resolve())
    _gather_snapshots(at, at.profile)
    target = move_in(at, why)
    _gather_snapshots(at, target)  # a backup may have made one of what was still there
    moving.remove_link(at.profile)  # a dangling one would be in the way of the next profile
    leaving_mark.remove(target)  # who brings it back by hand wants it to stay
    return target


def require_mounted(at: Places) -> None:
    """Raises ``UnavailableError`` while a disk of the profile or its snapshots is not mounted: what is there cannot leave."""
    if link := layout.dangling(at.profile) or layout.dangling(at.snapshots):
        raise UnavailableError(layout.not_mounted(link), retry_after=60)


def was_begun(profile: Path) -> bool:
    """Whether snapshots lie in it, to be quarantined with it."""
    return any(profile.glob(f"{SNAPSHOTS}*"))


def _gather_snapshots(at: Places, into: Path) -> None:
    """Move them into the profile: without it, where a crash ends this, they would bring it back."""
    if at.snapshots.is_dir():
        places = (into / f"{SNAPSHOTS}{number or ''}" for number in itertools.count())
        free = next(place for place in places if not os.path.lexists(place))
        moving.move(at.snapshots, free, key="snapshots")
        moving.remove_link(at.snapshots)
        sync_folder(at.snapshots.parent)
