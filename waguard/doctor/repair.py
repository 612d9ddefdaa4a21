"""What ``--fix`` does: modes, missing folders, a missing key, and what a dead daemon left in its runtime
folder. No profile is touched."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from waguard.api.auth import generate
from waguard.doctor.report import Check, MakeFolder, MakeKey, RemoveStale, Repair, SetMode
from waguard.host import small_file
from waguard.host.files.acting import User, as_owner_of, make_folder
from waguard.host.files.lock import LOCK_FILE, PID_FILE, decoded
from waguard.host.process import procfs


def repair(checks: Iterable[Check]) -> list[str]:
    """What was done, and what could not be: a sentence for each."""
    wanted = dict.fromkeys(check.repair for check in checks if check.repair)
    return [_carried_out(one) for one in wanted]


def _carried_out(one: Repair) -> str:
    try:
        return _carry_out(one)
    except OSError as error:
        why = error.strerror or str(error)
    path = f"{one.runtime}/{one.name}" if isinstance(one, RemoveStale) else one.path
    return f"{path} is unchanged: {why}"


def _carry_out(one: Repair) -> str:
    place = one.runtime if isinstance(one, RemoveStale) else one.path
    with as_owner_of(Path(place)):
        return _done(one)


def _done(one: Repair) -> str:
    match one:
        case SetMode(path, mode):
            _set_mode(path, mode)
            return f"{path} has the mode {mode:o}"
        case MakeFolder(path, uid, gid):
            make_folder(Path(path), User(uid, gid))
            return f"{path} was made"
        case MakeKey(path, uid, gid):
            _make_key(Path(path), uid, gid)
            return f"{path} was made, with a new key"
        case RemoveStale(runtime, name):
            _remove_stale(Path(runtime), name)
            return f"{runtime}/{name} was removed"


def _set_mode(path: str, mode: int) -> None:
    """Set the mode of what lies there now, not of what a link leads to: root may run this in others' folders."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        alone = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if not (alone or stat.S_ISDIR(found.st_mode)):
            raise OSError(errno.EINVAL, "it is not a regular file with one name")
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _make_key(path: Path, uid: int, gid: int) -> None:
    if not path.parent.exists():
        make_folder(path.parent, User(uid, gid))
    generate(path)
    if os.geteuid() == 0:
        os.chown(path, uid, gid, follow_symlinks=False)


def _remove_stale(runtime: Path, name: str) -> None:
    with _nobody_holds(runtime):
        if name == PID_FILE and _lives(runtime / PID_FILE):
            raise OSError(errno.EBUSY, "its process lives")
        (runtime / name).unlink(missing_ok=True)


def _lives(path: Path) -> bool:
    try:
        found = decoded(path)
    except (FileNotFoundError, small_file.UnreadableError):
        return False
    return procfs.is_same(found.pid, found.start_time, found.boot_id)


@contextlib.contextmanager
def _nobody_holds(runtime: Path) -> Iterator[None]:
    """Keeps a daemon from starting meanwhile. A lock file is not made: it would be root's."""
    try:
        descriptor = os.open(runtime / LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "a daemon holds the folder") from None
        yield
    finally:
        os.close(descriptor)
