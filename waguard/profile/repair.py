"""Before a start: inspect, decide, and put another profile in place where that is decided.

``core.profile`` decides. Whatever changes something asks for the descriptor of the profile's lock and proves
that it is held.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from waguard.core.profile import before_start
from waguard.core.profile.before_start import (
    CARRIED,
    Action,
    CarryOver,
    CutTornTails,
    Finding,
    Found,
    Free,
    Hold,
    Quarantine,
    RemoveStaleLock,
    RestoreSnapshot,
    ShowQr,
    Use,
)
from waguard.host.files import moving
from waguard.host.files.private_files import sync_folder
from waguard.profile import (
    chromium_lock,
    credentials,
    inspection,
    leaving_mark,
    leveldb,
    mark_files,
    owner_mark,
    quarantine,
    snapshot_archive,
    snapshots,
    staging,
    start_marks,
)
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import LEAVING
from waguard.profile.lock import LOCK_NAME, NotHeldError, prove_held
from waguard.profile.owner_mark import LOST, NO_TOKEN, PAIRING
from waguard.profile.start_marks import TRIED


class Prepared(Struct, frozen=True, kw_only=True):
    """What was found and done; ``end`` is the last action. ``quarantined``: where the old profile lies."""

    found: Found
    actions: tuple[Action, ...]
    quarantined: Path | None

    @property
    def end(self) -> Use | ShowQr | Hold:
        """How to go on."""
        last = self.actions[-1]
        assert isinstance(last, Use | ShowQr | Hold)  # noqa: S101 - decide promises it
        return last


def prepare(at: Places, lock: int, *, finding: Finding | None = None) -> Prepared:
    """Inspect, decide, and do it: before each start of Chromium. Blocks: call it in a thread.

    ``finding`` is what the last start showed that files do not: "exits at once", "a QR code although
    it was connected". A ``Hold`` leaves everything as it is.
    """
    prove_held(at.profile, lock)
    staging.clear(at.profile)
    _renew_mark(at, lock)
    found = inspection.examine(at, lock, finding=finding)
    actions = before_start.decide(found)
    quarantined = carry_out(at, lock, actions)
    return Prepared(found=found, actions=actions, quarantined=quarantined)


def _renew_mark(at: Places, lock: int) -> None:
    """A damaged owner mark would make every snapshot one of another pairing: the newest says which it was."""
    if not owner_mark.is_damaged(at.profile):
        return
    usable = [it for it in snapshots.known(at.snapshots) if it.intact and it.pairing]
    if usable:
        owner_mark.renew(at.profile, lock, token=usable[-1].pairing, at=usable[-1].taken_at)


def carry_out(at: Places, lock: int, actions: tuple[Action, ...]) -> Path | None:
    """Do what was decided; where the old profile lies, if it was moved."""
    prove_held(at.profile, lock)
    why: str | None = None
    fill: tuple[str, Callable[[Path], object]] | None = None
    for action in actions:
        match action:
            case RemoveStaleLock():
                chromium_lock.remove_stale(at.profile, lock)
            case CutTornTails(databases):
                for name in databases:
                    _cut(at.profile / name)
            case Quarantine(reason):
                why = reason
            case CarryOver():
                fill = (CARRIED, partial(credentials.copy_credentials, at.profile))
            case RestoreSnapshot(id_):
                fill = (id_, partial(snapshots.unpack, at.snapshots / id_))
            case Use() | ShowQr() | Hold():
                pass
    if why is None and fill is None:
        return None
    return replace_profile(at, lock, why=why, fill=fill)


def _cut(database: Path) -> None:
    leveldb.repair(database, leveldb.check(database))


def replace_profile(
    at: Places,
    lock: int,
    *,
    why: str | None,
    fill: tuple[str, Callable[[Path], object]] | None = None,
) -> Path | None:
    """Put a new profile in place of the old one, which is quarantined with a note (``why``).

    The new one is made beside the old one (beside its target, where it is a link, which stays) and
    renamed, and has the same lock file, so that it is never free for
    anybody else. A crash in between leaves no profile, which the next start sees. ``why`` None is for
    a profile in which Chromium has stored nothing. Where the old one lies now.
    """
    prove_held(at.profile, lock)
    owner = chromium_lock.owner(at.profile)
    if not isinstance(owner, Free):
        raise NotHeldError(f"{at.profile} is locked by Chromium: {owner}", value=str(at.profile))
    moving.require_movable(at.profile.resolve())
    with staging.made_beside(at.profile) as made:
        _fill(at, made, fill)
        if why is None:
            _move_in(at.profile, made)
            return None
        return put_in_place(at, lock, made, why=why)


def put_in_place(at: Places, lock: int, other: Path, *, why: str) -> Path | None:
    """Have ``other``, a folder on the same disk, be the profile, with the same lock. Where the one before
    lies now, with a note (``why``); None: nothing was stored in it."""
    prove_held(at.profile, lock)
    real = at.profile.resolve()
    mark_files.remove(other / LOCK_NAME)
    start_marks.carry_holder(real, other)
    leaving_mark.carry(real, other)
    os.link(at.profile / LOCK_NAME, other / LOCK_NAME)
    sync_folder(other)
    moved = None
    if {path.name for path in real.iterdir()} <= {LOCK_NAME, LEAVING}:
        mark_files.remove(real / LOCK_NAME)  # what is empty can be renamed over
        leaving_mark.remove(real)
    else:
        moved = quarantine.move_in(at, why)
    other.rename(real)
    sync_folder(real.parent)
    if moved:
        mark_files.remove(moved / LOCK_NAME)
    return moved


def _fill(at: Places, staging: Path, fill: tuple[str, Callable[[Path], object]] | None) -> None:
    token, since = owner_mark.pairing(at.profile), owner_mark.paired_at(at.profile)
    before = start_marks.tried(at.profile)
    if fill is None:
        # it begins empty, without an owner: no old profile may be put over it, nor a snapshot after a logout
        if before:
            mark_files.write(staging / TRIED, sorted(before))
        if owner_mark.was_ours(at.profile):
            mark = NO_TOKEN if owner_mark.logged_out(at.profile) else LOST
            mark_files.write(staging / PAIRING, mark)
        return
    id_, write = fill
    write(staging)
    if id_ != CARRIED:
        taken = snapshot_archive.read_manifest(at.snapshots / id_)
        # it is no new pairing: what came since then is still wanted
        since = taken.taken_at if taken.pairing != token or since is None else since
        token = taken.pairing
    mark_files.write(staging / TRIED, sorted({*before, id_}))
    if token:
        mark_files.write(
            staging / PAIRING, {"token": token, "at": time.time() if since is None else since}
        )


def _move_in(profile: Path, staging: Path) -> None:
    if os.path.lexists(profile / "Default"):
        raise NotHeldError(f"{profile} is not empty", value=str(profile), remedy="quarantine it")
    for name in (PAIRING, "Default", TRIED):
        if (staging / name).exists():
            (staging / name).replace(profile / name)
    sync_folder(profile)
