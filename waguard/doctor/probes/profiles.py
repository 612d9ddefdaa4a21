"""The profiles, read without their locks: a lock of the doctor's would keep a worker from starting."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from waguard.config.sections import Config
from waguard.core.backup_contents import LastBackup
from waguard.core.host import strays as policy
from waguard.core.host.strays import Foreign, Stray
from waguard.core.profile.old_profiles import ARCHIVE
from waguard.doctor.checks.profiles import Folder, Profile
from waguard.doctor.probes.machine import Machine
from waguard.host.memory import last_backup as memory
from waguard.host.process import procfs
from waguard.host.process.children import read_records
from waguard.host.small_file import UnreadableError
from waguard.profile import chromium_lock, inspection, layout, old_profiles, owner_mark, snapshots
from waguard.profile.layout import Places
from waguard.profile.lock import LOCK_NAME
from waguard.supervision.fleet import inventory

_TIMER: Final = "etc/systemd/system/timers.target.wants/waguard-backup.timer"


def last_backup(state: Path) -> tuple[LastBackup | None, str | None]:
    """As the last ``waguard backup`` has noted it, or why that is not known."""
    try:
        return memory.read(state), None
    except (OSError, UnreadableError) as error:
        return None, f"{state / memory.FILE}: {error}"


def backup_timer(machine: Machine) -> bool:
    """Whether it is enabled."""
    return os.path.lexists(machine.root / _TIMER)


def folder(machine: Machine, sessions: Path) -> Folder:
    """``paths.sessions`` and all in it."""
    try:
        there = sessions.is_dir()
        places = inventory.places_on_disk(sessions) if there else []
        found = tuple(
            _profile(machine, layout.places(sessions, workspace, session))
            for workspace, session in places
        )
        old = _old(sessions) if there else {}
        return Folder(
            path=str(sessions),
            there=there,
            profiles=found,
            old=tuple(sorted({session for session in old.values() if session})),
            archives=tuple(str(path) for path in old if path.suffix == ARCHIVE),
        )
    except OSError as error:
        why = f"{error.strerror or error}"
        return Folder(path=str(sessions), there=True, error=why)


def _old(sessions: Path) -> dict[Path, str | None]:
    """What the old service left below it, with the session that its path names."""
    return {
        path: whose.session
        for path, whose in old_profiles.search(sessions).profiles
        if whose.session is None
        or whose.workspace is None
        or path != layout.path(sessions.absolute(), whose.workspace, whose.session)
    }


def _profile(machine: Machine, at: Places) -> Profile:
    used = machine.locked_by(at.profile / LOCK_NAME) is not None
    owner = chromium_lock.owner(at.profile)
    known = snapshots.known(at.snapshots)
    dangling = layout.dangling(at.profile)
    paired_at, finding, unreadable = None, None, None
    try:
        paired_at = owner_mark.paired_at(at.profile)
        finding = None if used or dangling else inspection.inspect(at.profile)
    except OSError as error:
        unreadable = str(error)
    return Profile(
        session=at.session,
        workspace=at.workspace,
        path=str(at.profile),
        finding=finding,
        owner=owner,
        used=used,
        paired_for=None if paired_at is None else machine.now() - paired_at,
        copies=sum(one.intact for one in known),
        damaged_copies=sum(not one.intact for one in known),
        unreadable=unreadable,
        dangling=None if dangling is None else str(dangling),
    )


def strays(machine: Machine, config: Config) -> Sequence[Stray | Foreign]:
    """The strays of this runtime folder and these profiles, beside the workers whose records lie there."""
    workers = config.paths.runtime / "workers"
    kept = {
        record.pid
        for _, record in (read_records(workers) if workers.is_dir() else ())
        if procfs.is_same(record.pid, record.start_time, record.boot_id)
    }
    return policy.classify(
        machine.unsupervised(),
        records=str(workers.resolve()),
        profiles=str(config.paths.sessions.resolve()),
        kept=kept,
    )
