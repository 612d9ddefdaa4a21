"""Where profiles lie."""

import errno
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.host.files.lock import private_folder

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


def migrate(
    sessions: Path, workspace_id: int, session_id: str, *, before: int | None = None
) -> Path:
    """The profile's place, after it and its copies were moved there from the workspace that the session
    was in ``before``."""
    wanted = path(sessions, workspace_id, session_id)
    if wanted.exists():
        return wanted
    if before is not None and before != workspace_id:
        for root in (
            sessions / "snapshots",
            sessions,
        ):  # the profile last: it is what is looked for
            if (old := path(root, before, session_id)).exists():
                move(old, path(root, workspace_id, session_id))
    return wanted


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
    others = [workspace for workspace in found if workspace != workspace_id]
    return others[0] if len(others) == 1 else None


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
