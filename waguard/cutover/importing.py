"""``waguard import``: old profiles are copied into their places; nothing else is changed.

A copy is made beside its place, compared with the original, and renamed. The profile's lock is held
meanwhile, so with a running daemon only a session without a worker gets one. What is written belongs to who
owns the folder of all profiles, whoever imports.
"""

import contextlib
import fcntl
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from waguard.core.profile import old_profiles as policy
from waguard.core.profile.before_start import LivingOwner
from waguard.core.profile.old_profiles import Credentials, Decision, Outcome, Profile
from waguard.core.replace import replace
from waguard.errors import WaguardError
from waguard.host.files.acting import User, acting_as, as_owner_of, nearest
from waguard.host.files.private_files import private_folders
from waguard.host.small_file import UnreadableError
from waguard.profile import (
    chromium_lock,
    copying,
    layout,
    leaving_mark,
    old_profiles,
    owner_mark,
    repair,
    session_archive,
    snapshots,
    staging,
)
from waguard.profile.inspection import ROOM
from waguard.profile.layout import Places
from waguard.profile.lock import LOCK_NAME, ProfileInUseError, ProfileLock


class ImportedProfile(Struct, frozen=True, kw_only=True):
    """One profile that was found. ``session`` and ``workspace`` are None where nothing says them;
    ``quarantined`` is where the profile lies whose place it took."""

    session: str | None
    workspace: int | None
    profile: Profile
    outcome: Outcome
    why: str
    quarantined: str | None = None
    held: bool = False
    """As in ``Decision``."""


class Report(Struct, frozen=True, kw_only=True):
    """``notes`` say what was not searched, and why."""

    lines: tuple[ImportedProfile, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether one that should be taken was not, or may not have been found."""
        return bool(self.notes) or any(line.outcome is Outcome.FAILED for line in self.lines)


class Request(Struct, frozen=True, kw_only=True):
    """``folder`` is searched for profiles of ``sessions``. ``workspaces`` are those of sessions that are
    known, ``workspace`` that of all others whose path names none."""

    folder: Path
    sessions: Path
    workspaces: Mapping[str, int]
    workspace: int | None = None
    dry_run: bool = False


def run(request: Request) -> Report:
    """Import what is worth it. Raises ``OSError`` where the folder cannot be read."""
    found = old_profiles.search(request.folder)
    lines: list[ImportedProfile] = []
    groups: dict[tuple[int, str], list[Path]] = {}
    for path, whose in found.profiles:
        workspace = whose.workspace
        if whose.session is not None and workspace is None:
            workspace = request.workspaces.get(whose.session, request.workspace)
        if whose.session is None or workspace is None:
            lines.append(_nameless(path, whose))
        else:
            groups.setdefault((workspace, whose.session), []).append(path)
    for (workspace, session), paths in sorted(groups.items()):
        at = layout.places(request.sessions, workspace, session)
        lines.extend(_of_one(at, paths, dry_run=request.dry_run))
    return Report(lines=tuple(lines), notes=tuple(found.notes))


def _nameless(path: Path, whose: policy.Identity) -> ImportedProfile:
    missing = "its workspace: name it with --workspace"
    if whose.session is None:
        missing = "its session: copy it to a folder session-<id>"
    return ImportedProfile(
        session=whose.session,
        workspace=whose.workspace,
        profile=old_profiles.examine(path),
        outcome=Outcome.LEFT,
        why=f"its path does not say {missing}",
    )


def _of_one(at: Places, paths: Sequence[Path], *, dry_run: bool) -> list[ImportedProfile]:
    place = at.profile.resolve()
    own = old_profiles.examine(at.profile) if layout.exists(at.profile) else None
    old = [old_profiles.examine(path) for path in paths if path.resolve() != place]
    lines = [
        _line(at, _taken(at, it, dry_run=dry_run))
        for it in policy.decide(old, own, kept=_kept(at, own, old))
    ]
    if own and len(old) < len(paths):
        lines.append(_line(at, (Decision(own, Outcome.LEFT, "it is in its place"), None)))
    return lines


def _line(at: Places, done: tuple[Decision, Path | None]) -> ImportedProfile:
    decision, quarantined = done
    return ImportedProfile(
        session=at.session,
        workspace=at.workspace,
        profile=decision.profile,
        outcome=decision.outcome,
        why=decision.why,
        quarantined=str(quarantined) if quarantined else None,
        held=decision.held,
    )


def _kept(at: Places, own: Profile | None, old: Sequence[Profile]) -> policy.Kept | None:
    """Why its place is not to be taken; None: waguard never had the session."""
    taken = [it.taken_at for it in snapshots.known(at.snapshots) if it.intact]
    if owner_mark.pairing(at.profile) is not None or (
        own and own.credentials is Credentials.PAIRED and owner_mark.was_ours(at.profile)
    ):
        why = f"waguard has connected the session with {at.profile}"
        used_at = own.used_at if own and own.credentials is not Credentials.UNKNOWN else math.inf
    elif own is None and taken:
        why = "waguard has snapshots of the session, which its next start restores"
        used_at = max(taken)
    else:
        return None
    return policy.Kept(why=why, used_at=used_at, remedy=_remedy(at, old))


def _remedy(at: Places, old: Sequence[Profile]) -> str:
    root = at.quarantine.parent
    inside = any(Path(it.path).resolve().is_relative_to(root.resolve()) for it in old)
    first = f"copy it out of {root}, then " if inside else ""  # the quarantine takes it along
    return (
        f"{first}`waguard profile quarantine {at.session} --workspace {at.workspace}`,"
        " then import it again"
    )


def _taken(at: Places, decision: Decision, *, dry_run: bool) -> tuple[Decision, Path | None]:
    if decision.outcome is not Outcome.TAKEN:
        return decision, None
    if old_profiles.lies_inside(at, Path(decision.profile.path)):
        why = "it lies inside its place: the session's next start uses it"
        return replace(decision, outcome=Outcome.LEFT, why=why), None
    try:
        path = Path(decision.profile.path)
        _require_room(at, decision.profile)
        if not dry_run:
            return decision, _import_one(at, path)
        _require_stopped(at)
        if path.suffix == policy.ARCHIVE:
            with session_archive.opened(path):
                pass
    except (OSError, UnreadableError) as error:
        return _failed(decision, old_profiles.words(error)), None
    except WaguardError as error:
        return _failed(decision, error.line()), None
    return decision, None


def _failed(decision: Decision, why: str) -> Decision:
    return replace(decision, outcome=Outcome.FAILED, why=why)


def _require_room(at: Places, profile: Profile) -> None:
    folder = nearest(at.profile)
    free = shutil.disk_usage(folder).free
    if (missing := profile.size + ROOM - free) > 0:
        raise WaguardError(
            f"only {free >> 20} MB are free on the disk of {folder}",
            remedy=f"free {(missing >> 20) + 1} MB more",
        )


def _require_stopped(at: Places) -> None:
    """As ``_locked``, without making a file."""
    try:
        descriptor = os.open(at.profile / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _runs(at) from None
    finally:
        os.close(descriptor)


def _runs(at: Places) -> WaguardError:
    return WaguardError("the session runs", remedy=f"waguard sessions stop {at.session}")


def _import_one(at: Places, path: Path) -> Path | None:
    """Copy it into its place; where the profile lies that was there."""
    with as_owner_of(at.quarantine.parent), _locked(at) as lock:
        if isinstance(user := chromium_lock.owner(at.profile), LivingOwner):
            raise WaguardError(f"Chromium {user.pid} uses {at.profile}", remedy="stop it")
        with staging.made_beside(at.profile) as made:
            _copy(path, made)
            before = repair.put_in_place(at, lock, made, why=f"{path} was imported")
            leaving_mark.remove(at.profile)  # another one had to leave
            return before


def _copy(path: Path, into: Path) -> None:
    asker = User(os.getuid(), os.getgid())
    reading = partial(acting_as, asker)  # the original is another user's
    if path.suffix == policy.ARCHIVE:
        with reading():
            stack = contextlib.ExitStack()
            archive = stack.enter_context(session_archive.opened(path))
        with stack:
            archive.unpack(into)
        return
    copying.copy(path, into, reading=reading)
    with reading():
        if user := old_profiles.in_use(path):
            raise WaguardError(f"{user} has begun to use it", remedy="stop the old service")


@contextlib.contextmanager
def _locked(at: Places) -> Iterator[int]:
    """The descriptor of its lock; where nothing comes of it, what was made for that is removed."""
    made = not os.path.lexists(at.profile)
    private_folders(at.profile)
    try:
        lock = ProfileLock(at.profile)
    except ProfileInUseError:
        raise _runs(at) from None
    with lock:
        try:
            yield lock.descriptor
        except BaseException:
            if made and [path.name for path in at.profile.iterdir()] == [LOCK_NAME]:
                (at.profile / LOCK_NAME).unlink()
                at.profile.rmdir()
            raise
