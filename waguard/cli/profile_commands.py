"""What ``waguard profile`` does, as functions with plain results; nothing here prints or parses.

Each works while the daemon runs: what changes a profile takes its lock, which the session's worker
and browser hold while they live, so it is refused until the session is stopped.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.core.profile.before_start import (
    CredentialsLost,
    Damaged,
    Emptied,
    Finding,
    Healthy,
    Missing,
    NoRoom,
    Quarantine,
    RestoreSnapshot,
)
from waguard.core.profile.quarantine import Copy
from waguard.core.profile.snapshots import Snapshot
from waguard.errors import ConflictError, NotFoundError
from waguard.host.files import disk
from waguard.profile import (
    chromium_lock,
    inspection,
    layout,
    leaving_mark,
    old_profiles,
    owner_mark,
    repair,
    snapshot_archive,
    snapshot_now,
    snapshots,
    start_marks,
)
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileInUseError, ProfileLock
from waguard.profile.quarantine import WHICHEVER
from waguard.profile.quarantine import quarantined as copies_in_quarantine
from waguard.supervision.fleet import inventory

BY_HAND: Final = "by hand"


class ProfileLine(Struct, frozen=True, kw_only=True):
    """One session's profile. ``state`` is healthy, missing, damaged, lost, no room, in use or unreadable."""

    session: str
    workspace: int
    path: str
    state: str
    why: str | None
    paired: bool | None
    """None: unknown, as its owner mark cannot be read."""
    size: int
    """Bytes on disk."""
    snapshots: tuple[Snapshot, ...]


def listing(sessions: Path) -> list[ProfileLine]:
    """Every profile, and every session of which only snapshots are left."""
    return [_line(layout.places(sessions, *place)) for place in inventory.places_on_disk(sessions)]


def find(sessions: Path, session: str, *, workspace: int | None = None) -> Places:
    """The places of a session, by its id; raises ``NotFoundError``, and ``ConflictError`` where more than
    one workspace has such a profile and none is named."""
    found = [
        place
        for place in inventory.places_on_disk(sessions)
        if place[1] == session and workspace in {None, place[0]}
    ]
    if len(found) > 1:
        raise ConflictError(
            f"there are profiles of {session} in the workspaces"
            f" {', '.join(str(number) for number, _ in sorted(found))}",
            field="--workspace",
            remedy="name one of them",
        )
    if found:
        return layout.places(sessions, *found[0])
    raise NotFoundError(
        f"there is no profile of {session}",
        field="session",
        value=session,
        remedy="see `waguard profile list`",
    )


class Verified(Struct, frozen=True, kw_only=True):
    """A profile and its snapshots, every checksum read."""

    line: ProfileLine
    damaged: tuple[tuple[str, str], ...]
    """Snapshots that cannot be restored: id and why."""

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not self.damaged and self.line.state in {"healthy", "in use", "missing"}


def verify(at: Places) -> Verified:
    """Read the profile (unless it is in use) and all its snapshots."""
    damaged = []
    for snapshot in snapshots.known(at.snapshots):
        try:
            snapshots.verify(at.snapshots / snapshot.id)
        except snapshot_archive.SnapshotDamagedError as error:
            damaged.append((snapshot.id, error.message))
    return Verified(line=_line(at), damaged=tuple(damaged))


class Restored(Struct, frozen=True, kw_only=True):
    """``aside`` is where the old profile lies now."""

    snapshot: str
    aside: str | None


def restore(at: Places, snapshot_id: str | None = None) -> Restored:
    """Put a snapshot in place of the profile of a stopped session; the newest intact by default."""
    known = snapshots.verified(at.snapshots)
    usable = [s for s in known if s.intact and snapshot_id in {None, s.id}]
    if not usable:
        raise NotFoundError(
            f"{at.session} has no such intact snapshot",
            field="snapshot",
            value=snapshot_id,
            remedy=f"see `waguard profile verify {at.session}`",
        )
    chosen = usable[-1].id
    with _stopped(at) as lock:
        there = layout.exists(at.profile)
        chromium_lock.remove_stale(at.profile, lock.descriptor)
        moving = (Quarantine(f"{chosen} was restored by hand"),) if there else ()
        quarantined = repair.carry_out(at, lock.descriptor, (*moving, RestoreSnapshot(chosen)))
        leaving_mark.remove(at.profile)  # who restores it wants it to stay
        return Restored(snapshot=chosen, aside=str(quarantined) if quarantined else None)


def quarantine(at: Places, *, why: str = BY_HAND) -> Path:
    """Quarantine the profile and the snapshots of a stopped session; it begins again, by QR code."""
    if not layout.exists(at.profile) and not at.snapshots.is_dir():
        raise NotFoundError(
            f"{at.session} has no profile",
            field="session",
            value=at.session,
            remedy="see `waguard profile list`",
        )
    with _stopped(at) as lock:
        chromium_lock.remove_stale(at.profile, lock.descriptor)
        moved = old_profiles.retire(at, lock.descriptor, token=WHICHEVER, why=why, known=True)
        assert moved is not None  # noqa: S101 - there is a profile
        return moved


def quarantined(sessions: Path) -> list[Copy]:
    """What lies in the quarantine, oldest first."""
    return copies_in_quarantine(sessions)


def _line(at: Places) -> ProfileLine:
    state, why, paired = "in use", None, None
    with contextlib.ExitStack() as stack:
        try:
            paired = owner_mark.pairing(at.profile) is not None
            if at.profile.is_dir():
                lock = stack.enter_context(snapshot_now.free(at.profile))
                if lock is not None:
                    state, why = _words(inspection.inspect(at.profile))
                    start_marks.require_readable(at.profile)
            else:
                state = "missing"
        except OSError as error:
            state, why = "unreadable", str(error)
        return ProfileLine(
            session=at.session,
            workspace=at.workspace,
            path=str(at.profile),
            state=state,
            why=why,
            paired=paired,
            size=disk.size_of(at.profile),
            snapshots=tuple(snapshots.known(at.snapshots)),
        )


def _words(finding: Finding) -> tuple[str, str | None]:
    match finding:
        case Healthy():
            return "healthy", None
        case Missing():
            return "missing", None
        case Emptied():
            return "missing", "its folder was removed while it ran"
        case Damaged(why):
            return "damaged", why
        case CredentialsLost(why):
            return "lost", why
        case NoRoom(why):
            return "no room", why


@contextlib.contextmanager
def _stopped(at: Places) -> Iterator[ProfileLock]:
    try:
        lock = ProfileLock(at.profile)
    except ProfileInUseError:
        raise ConflictError(
            f"{at.profile} is in use",
            value=str(at.profile),
            remedy=f"`waguard sessions stop {at.session}` first: it holds its profile while it runs",
        ) from None
    with lock:
        yield lock
