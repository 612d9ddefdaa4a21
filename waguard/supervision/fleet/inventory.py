"""What lies and runs on this host: profiles, snapshots, workers. The reconciler's third source."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from waguard.core.reconcile import Host, Stored, Worker
from waguard.host.process import procfs, strays
from waguard.host.process.children import read_records
from waguard.profile import inspection, layout, snapshots


def places_on_disk(sessions: Path) -> list[tuple[int, str]]:
    """Workspace and session of every profile folder, and of every folder of snapshots; one that lies on another disk only
    where it was moved to.

    Raises ``OSError`` where a folder cannot be read.
    """
    return sorted(_folders(sessions) | _folders(sessions / "snapshots"))


def _folders(root: Path) -> set[tuple[int, str]]:
    """Workspace and session of each folder below a root. A move over disks leaves the folder where it was, and makes a
    link to it: of both, only the newest link is the session's."""
    found = set(_named(root))
    workspaces = defaultdict[str, list[int]](list)
    for workspace, session in found:
        workspaces[session].append(workspace)
    for session, several in workspaces.items():
        if len(several) > 1:
            found -= {(it, session) for it in layout.left_behind(root, session, several)}
    return found


def _named(root: Path) -> Iterator[tuple[int, str]]:
    """Workspace and session of each folder below a root. By ``scandir``: a Path for each costs more than the reading."""
    for workspace in os.scandir(root) if root.exists() else ():
        digits = workspace.name.removeprefix("workspace_")
        if digits == workspace.name or not digits.isdecimal() or not _is_folder(workspace):
            continue
        for folder in os.scandir(workspace.path):
            if folder.name.startswith("session-") and _is_folder(folder):
                yield int(digits), folder.name.removeprefix("session-")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """A link that leads to itself is none."""
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112 - asked for each session


def read_inventory(sessions: Path, workers: Path, *, instance: str) -> Host:
    """Look once. Blocks: call it in a thread."""
    return Host(
        profiles=_profiles(sessions),
        workers=_workers(workers, instance),
        remains=_remains(sessions),
    )


def _remains(sessions: Path) -> dict[int, str]:
    """The kernel gives what a dead Chromium leaves to the daemon, which is the subreaper: no other process is read."""
    root = f"{os.path.realpath(sessions)}/"
    return {
        it.pid: it.session or Path(it.profile).name.removeprefix("session-")
        for it in strays.remains(procfs.children(os.getpid()))
        if it.profile and it.profile.startswith(root)
    }


def _profiles(sessions: Path) -> dict[tuple[int, str], Stored] | None:
    try:
        if not sessions.is_dir():
            return None
        own, copied = _folders(sessions), _folders(sessions / "snapshots")
        return {
            place: _stored(sessions, *place, own=place in own, copied=place in copied)
            for place in sorted(own | copied)
        }
    except OSError:
        return None


def _stored(sessions: Path, workspace: int, session: str, *, own: bool, copied: bool) -> Stored:
    at = layout.places(sessions, workspace, session)
    copies = copied and any(snapshot.intact for snapshot in snapshots.known(at.snapshots))
    there = own and layout.exists(at.profile) and not inspection.emptied(at.profile)
    return Stored(profile=there, copies=copies)


def _workers(folder: Path, instance: str) -> dict[int, Worker] | None:
    if not folder.is_dir():
        return None
    return {
        record.pid: Worker(session=record.session, ours=record.instance == instance)
        for _, record in read_records(folder)
        if procfs.is_same(record.pid, record.start_time, record.boot_id)
    }
