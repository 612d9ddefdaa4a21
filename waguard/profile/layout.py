"""Where profiles lie."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.host.files.lock import private_folder
from waguard.profile.lock import LOCK_NAME, is_free

TEMPORARY_LIMIT: Final = 63  # characters; Chromium aborts above
KEY_DIGITS: Final = 12  # Unix socket paths end at 107 bytes


class Places(Struct, frozen=True, kw_only=True):
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
        profile=path(sessions, workspace_id, session_id),
        snapshots=sessions / "snapshots" / f"workspace_{workspace_id}" / f"session-{session_id}",
        quarantine=sessions / "quarantine",
    )


def key(session_id: str) -> str:
    """A short name for files of a session: 12 hex digits."""
    return sha256(session_id.encode()).hexdigest()[:KEY_DIGITS]


def path(sessions: Path, workspace_id: int, session_id: str) -> Path:
    """Where the profile of a session is written."""
    return sessions / f"workspace_{workspace_id}" / f"session-{session_id}"


def temporary(runtime: Path, name: str) -> Path:
    """A folder for Chromium's own temporary files; its path is shorter than 64 characters."""
    wanted = runtime / "t" / name
    if len(str(wanted)) <= TEMPORARY_LIMIT:
        return wanted
    instance = sha256(os.fsencode(runtime)).hexdigest()[:KEY_DIGITS]
    short = Path(tempfile.gettempdir()) / f"waguard-{instance}" / name
    return short if len(str(short)) <= TEMPORARY_LIMIT else Path("/tmp") / short.parent.name / name  # noqa: S108 - private folder


def exists(profile: Path) -> bool:
    """Whether Chromium has ever stored anything here."""
    return (profile / "Default").is_dir()


def dangling(folder: Path) -> Path | None:
    """The link to another disk on the way to a profile, or to snapshots, that leads nowhere now; None: there is none."""
    for link in (folder.parent.parent, folder.parent, folder):
        if link.is_symlink() and not link.exists():
            return link
    return None


def away(at: Places) -> Path | None:
    """The dangling link on the way to the profile, or where there is none to the snapshots that may bring it back."""
    if (link := dangling(at.profile)) or exists(at.profile):
        return link
    return dangling(at.snapshots)


def not_mounted(link: Path) -> str:
    """What is wrong with a link that leads nowhere."""
    return f"{link} links to {link.readlink()}, which is not there: mount its disk"


def migrate(sessions: Path, workspace_id: int, session_id: str, *, before: int) -> bool:
    """Have the profile and its copies in their place, out of the workspace that the session was in ``before``. Whether
    there was a profile to move, and it is there. Raises ``OSError``."""
    source, wanted = (path(sessions, it, session_id) for it in (before, workspace_id))
    if before == workspace_id or (exists(wanted) and not leads_to(source, wanted)):
        return False
    was_there = exists(source)
    for root in (sessions / "snapshots", sessions):  # the profile last: it is what is looked for
        old, new = path(root, before, session_id), path(root, workspace_id, session_id)
        if leads_to(old, new):
            old.unlink()  # it was moved back
        elif old.exists():
            _move_into(old, new)
    return was_there and exists(wanted)


def _move_into(source: Path, wanted: Path) -> None:
    """As ``move``; what is in its place stays, with what it has not: a copy that cannot be moved is left."""
    with contextlib.suppress(OSError):
        if os.listdir(wanted) == [LOCK_NAME] and is_free(wanted) and not wanted.is_symlink():  # noqa: PTH208 - names
            (wanted / LOCK_NAME).unlink()
            wanted.rmdir()
    if not wanted.exists():
        move(source, wanted)
        return
    for it in sorted(source.iterdir(), key=lambda it: it.name == "Default"):  # likewise
        if not os.path.lexists(wanted / it.name):
            with contextlib.suppress(OSError):
                it.rename(wanted / it.name)


def leads_to(link: Path, folder: Path) -> bool:
    """Whether a link is another name of this folder, as ``move`` makes one over disks."""
    return link.is_symlink() and link.exists() and folder.exists() and link.samefile(folder)


def left_behind(root: Path, session_id: str, workspaces: Collection[int]) -> set[int]:
    """Those of the workspaces whose folder has a newer link to it in another one. Raises ``OSError``."""
    paths = {it: path(root, it, session_id) for it in workspaces}
    made = {it: at.lstat().st_mtime_ns if at.is_symlink() else -1 for it, at in paths.items()}
    return {
        it
        for it in workspaces
        for other in workspaces
        if made[other] > made[it] and leads_to(paths[other], paths[it])
    }


def workspace_of(profile: Path, otherwise: int) -> int:
    """The workspace in whose folder it lies; ``otherwise`` where it lies in none."""
    digits = profile.parent.name.removeprefix("workspace_")
    return int(digits) if digits.isdecimal() and digits != profile.parent.name else otherwise


def elsewhere(sessions: Path, workspace_id: int, session_id: str) -> int | None:
    """The only other workspace in which there is a profile of this name; None: none, or several."""
    found = [
        int(folder.name.removeprefix("workspace_"))
        for folder in sessions.glob("workspace_*")
        if folder.name.removeprefix("workspace_").isdecimal()
        and exists(folder / f"session-{session_id}")
    ]
    others = {it for it in found if it != workspace_id}
    others -= left_behind(sessions, session_id, others)
    return others.pop() if len(others) == 1 else None


def move(source: Path, wanted: Path) -> None:
    """By a link to it, where it is one, or lies on another disk: a copy would take its time."""
    private_folder(wanted.parent)
    if source.is_symlink():
        wanted.symlink_to(source.resolve())
        source.unlink()
        return
    try:
        source.rename(wanted)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        wanted.symlink_to(source.resolve())
