"""What the host lacked at the moment of a failure: that decides whose fault it is, before the exit code does. Pure.

An exit code says who gave up, not why: on a full disk, without inodes, without pids, a worker fails in any way. A value
that could not be read proves nothing.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from waguard.core.blame import Blame, Failure
from waguard.core.host.disk import FULL

PIDS: Final = 16  # left; below, neither a worker nor a Chromium can be started
DESCRIPTORS: Final = 64  # left to this host or to this daemon
INODES: Final = 64  # left on a disk; a start creates more files
_MB: Final = 1 << 20

DISK_FULL: Final = "disk_full"
INODES_FULL: Final = "inodes_full"
READ_ONLY: Final = "disk_read_only"
UNWRITABLE: Final = "disk_unwritable"
SILENT: Final = "disk_silent"
PIDS_SHORT: Final = "pids_short"
DESCRIPTORS_SHORT: Final = "descriptors_short"
NO_SANDBOX: Final = "sandbox_missing"
BROWSER_HANGS: Final = "browser_hangs"
BROWSER_UNUSABLE: Final = "browser_unusable"
NO_BROWSER: Final = frozenset({NO_SANDBOX, BROWSER_HANGS, BROWSER_UNUSABLE})
"""Reasons for which Chromium starts on no profile: one session tries it for all."""


WAITED_FOR: Final = NO_BROWSER | {DISK_FULL, INODES_FULL, READ_ONLY}
"""Reasons that are read again before a start: the session may request one at once."""
TO_START: Final = 4
"""The margin for a start: a session that starts on the last bytes would fail again."""


class Disk(Struct, frozen=True, kw_only=True):
    """A folder that is written, and its disk. None: unknown, or without a limit."""

    key: str
    """The setting that names it."""
    folder: str
    free: int | None = None
    """Bytes."""
    files: int | None = None
    """Inodes that are free."""
    read_only: bool = False
    error: str | None = None
    """Why a byte could not be written there, in the system's words."""
    silent: bool = False
    """The disk did not answer in time."""


class Evidence(Struct, frozen=True, kw_only=True):
    """What was read."""

    disks: tuple[Disk, ...] = ()
    pids: int | None = None
    """That are left."""
    descriptors: int | None = None
    """Open files that are left."""
    namespaces: str | None = None
    """Why this user cannot create a user namespace, which Chromium's sandbox needs; None: it can, or needs none."""
    executable: str = ""
    """The file that was run with ``--version``."""
    hangs: float | None = None
    """Seconds for which that did not answer."""
    unusable: str | None = None
    """How that failed."""


def disk_failure(disks: Iterable[Disk], *, margin: int = 1) -> Failure | None:
    """What is wrong with the first disk on which nothing can be stored. ``margin``: times of what must be left."""
    return next((it for disk in disks if (it := _of_disk(disk, margin))), None)


def _of_disk(it: Disk, margin: int) -> Failure | None:
    of = f"the disk of {it.key} ({it.folder})"
    if it.silent:
        return _host(SILENT, f"{of} does not answer", it.folder)
    if it.read_only:
        return _host(READ_ONLY, f"{of} is mounted read-only", it.folder)
    if it.files is not None and it.files < margin * INODES:
        left = f"{it.files or 'no'} inodes left"
        return _host(INODES_FULL, f"{of} has {left}: files cannot be created", it.folder)
    if it.free is not None and it.free < margin * FULL:
        return _host(DISK_FULL, f"{of} is full: {it.free // _MB} MB are free", it.folder)
    if it.error is not None:
        return _host(UNWRITABLE, f"{it.key} ({it.folder}) cannot be written: {it.error}", it.folder)
    return None


def host_failure(seen: Evidence) -> Failure | None:
    """Why the failure is the host's; None: nothing shows that."""
    if disk := disk_failure(seen.disks):
        return disk
    if seen.pids is not None and seen.pids < PIDS:
        return _host(PIDS_SHORT, f"the host has {seen.pids} pids left: no process can be started")
    if seen.descriptors is not None and seen.descriptors < DESCRIPTORS:
        return _host(DESCRIPTORS_SHORT, f"{seen.descriptors} more files can be opened")
    if seen.namespaces is not None:
        why = f"Chromium has no sandbox here: {seen.namespaces}"
        return _host(NO_SANDBOX, why, seen.executable)
    if seen.hangs is not None:
        why = f"{seen.executable} --version did not answer within {seen.hangs:g} s"
        return _host(BROWSER_HANGS, why, seen.executable)
    if seen.unusable is not None:
        why = f"{seen.executable} --version failed: {seen.unusable}"
        return _host(BROWSER_UNUSABLE, why, seen.executable)
    return None


def _host(reason: str, words: str, place: str = "") -> Failure:
    return Failure(Blame.HOST, reason, words, place=place)
