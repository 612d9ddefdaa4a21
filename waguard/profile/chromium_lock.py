"""Chromium's own lock on a profile: who holds it, and how a stale one is removed."""

import contextlib
import fcntl
import os
import re
import socket
import struct
from pathlib import Path
from typing import Final

from waguard.core.profile import before_start
from waguard.core.profile.before_start import (
    DeadOwner,
    Free,
    LivingOwner,
    OtherHost,
)
from waguard.host.process import procfs
from waguard.profile import mark_files
from waguard.profile.lock import NotHeldError, prove_held

SINGLETONS: Final = ("SingletonLock", "SingletonSocket", "SingletonCookie")
_STORAGE: Final = "Default/Local Storage/leveldb/LOCK"  # the first that any flavour opens
_PID: Final = re.compile(r"[0-9]{1,9}")  # what kill() takes; Linux has 2^22 at most
_FLOCK: Final = "hhqqi"  # struct flock: type, whence, start, length, pid


def owner(profile: Path) -> before_start.Owner:
    """Who holds ``SingletonLock``, a link to ``host-pid``."""
    try:
        target = str((profile / SINGLETONS[0]).readlink())
    except FileNotFoundError:
        return Free()
    except OSError:
        return LivingOwner(0)  # no link: not Chromium's, so nothing is known
    host, _, digits = target.rpartition("-")
    if not host or not _PID.fullmatch(digits):
        return LivingOwner(0)
    pid = int(digits)
    if host != socket.gethostname():
        return OtherHost(host, pid)
    return LivingOwner(pid) if _may_be_browser(pid, profile) else DeadOwner(pid)


def is_free(profile: Path) -> bool:
    """Whether surely no Chromium uses it: headless-shell has no ``SingletonLock``, but its storage has a lock."""
    try:
        locked = locked_by(profile / _STORAGE) is not None
    except OSError:
        return False
    return not locked and isinstance(owner(profile), Free | DeadOwner)


def locked_by(path: Path) -> int | None:
    """Who has LevelDB's lock, whatever its profile is called there and however old its own lock is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(descriptor)


def _may_be_browser(pid: int, profile: Path) -> bool:
    """False only where ``pid`` is proven to be gone, or to be something else: it is soon reused."""
    try:
        return _is_browser(pid, profile)
    except OSError:  # not ours to read, or this host lacks the descriptor for it
        return True


def _is_browser(pid: int, profile: Path) -> bool:
    """Raises ``OSError`` where that is not known."""
    if procfs.start_time(pid) is None:  # gone, a zombie, or hidden from us
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
        return False
    flag = f"--user-data-dir={profile}"
    argv = procfs.command_line(pid)
    if not argv:
        try:
            Path(f"/proc/{pid}/exe").readlink()
        except FileNotFoundError:
            return False  # a thread of the kernel
    # Chromium may rewrite its arguments into one
    return any(argument == flag or f" {flag} " in f" {argument} " for argument in argv)


def remove_stale(profile: Path, lock: int) -> None:
    """Remove Chromium's lock, after proving once more that nobody has it."""
    prove_held(profile, lock)
    found = owner(profile)
    if isinstance(found, LivingOwner):
        raise NotHeldError(
            f"Chromium {found.pid} still uses {profile}",
            value=str(profile),
            remedy=f"end it: kill {found.pid}",
        )
    for name in SINGLETONS:
        mark_files.remove(profile / name)
