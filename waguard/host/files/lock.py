"""One daemon per runtime directory: a flock for life, and a pid file that names who has it.

The flock decides; a stale pid file is no obstacle. Where the lock's file was deleted, the flock on it
excludes nobody, until its holder notices and locks a new one: then a pid file of a living daemon does.
Stdlib and msgspec only: a refused second instance must cost a tenth of a second.
"""

import contextlib
import errno
import fcntl
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from waguard.errors import ConfigError, InstanceHeldError
from waguard.host import small_file
from waguard.host.process import procfs
from waguard.host.small_file import UnreadableError

LOCK_FILE: Final = "waguard.lock"
PID_FILE: Final = "waguard.pid"


class PidFile(msgspec.Struct, frozen=True, kw_only=True):
    """``waguard.pid``, one JSON line. ``start_time`` in clock ticks, ``api`` a base URL."""

    pid: int
    start_time: int
    boot_id: str
    api: str
    instance: str


def read_pid_file(runtime: Path) -> PidFile | None:
    """The pid file of a living daemon; None: there is none, or its process is gone."""
    try:
        found = decoded(runtime / PID_FILE)
    except (FileNotFoundError, UnreadableError):
        return None
    return found if procfs.is_same(found.pid, found.start_time, found.boot_id) else None


def decoded(path: Path) -> PidFile:
    """A pid file, whoever wrote it. Raises as ``small_file.read``."""
    content = small_file.read(path)
    try:
        return msgspec.json.decode(content, type=PidFile)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without an end
        raise UnreadableError(f"it is not a pid file: {error}") from None


class InstanceLock:
    """Held until the process ends, however it ends."""

    def __init__(self, runtime: Path, descriptor: int) -> None:
        self._runtime = runtime
        self._descriptor = descriptor
        self.instance = secrets.token_hex(8)
        self.found_unreadable: str | None = None
        """What was wrong with the pid file that lay there, which is quarantined."""
        self._api = ""

    def publish(self, api: str) -> None:
        """Write the pid file, whole or not at all; one that cannot be read is quarantined first. Raises
        ``ConfigError`` where the folder cannot be written."""
        self._api = api
        self._quarantine_unreadable()
        pid = os.getpid()
        content = PidFile(
            pid=pid,
            start_time=procfs.start_time(pid) or 0,
            boot_id=procfs.boot_id(),
            api=api,
            instance=self.instance,
        )
        try:
            _replace(self._runtime / PID_FILE, msgspec.json.encode(content) + b"\n")
        except OSError as error:
            raise unusable("paths.runtime", self._runtime, error) from None

    def _quarantine_unreadable(self) -> None:
        path = self._runtime / PID_FILE
        try:
            decoded(path)
        except FileNotFoundError:
            return
        except UnreadableError as error:
            self.found_unreadable = str(error)
            with contextlib.suppress(OSError):  # it is replaced, or that fails with its own message
                small_file.quarantine(path)

    @property
    def in_place(self) -> bool:
        """Whether the next instance would be refused, and learn by whom."""
        return self._is_on_the_file() and os.path.exists(f"{self._runtime}/{PID_FILE}")  # noqa: PTH110 - each second

    def _is_on_the_file(self) -> bool:
        try:
            there = os.stat(f"{self._runtime}/{LOCK_FILE}")  # noqa: PTH116
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def renew(self) -> None:
        """Where its files were removed: lock and publish again. Raises as ``acquire``."""
        if not self._is_on_the_file():
            fresh = _locked(self._runtime)
            os.close(self._descriptor)
            self._descriptor = fresh
        self.publish(self._api)

    def release(self) -> None:
        """At the end of an orderly stop; a crash releases the lock just as well."""
        if self._is_on_the_file():  # else the pid file is another instance's
            (self._runtime / PID_FILE).unlink(missing_ok=True)
        os.close(self._descriptor)


def acquire(runtime: Path) -> InstanceLock:
    """Raises ``InstanceHeldError`` that says who holds it, since when and where its API is."""
    return InstanceLock(runtime, _locked(runtime))


def _locked(runtime: Path) -> int:
    """The descriptor that holds the lock, of the file that lies there."""
    path = runtime / LOCK_FILE
    while True:
        descriptor = _flocked(runtime, path)
        try:
            there = os.path.samestat(path.stat(), os.fstat(descriptor))
        except OSError:
            there = False
        if there:
            break
        os.close(descriptor)  # it was deleted after it was opened
    holder = read_pid_file(runtime)
    if holder is not None and holder.pid != os.getpid():
        os.close(descriptor)
        raise InstanceHeldError(_held_by(runtime, path))
    return descriptor


def _flocked(runtime: Path, path: Path) -> int:
    try:
        private_folder(runtime)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable("paths.runtime", runtime, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InstanceHeldError(_held_by(runtime, path)) from None
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(
            f"{path} cannot be locked: {error.strerror}",
            field="paths.runtime",
            value=str(runtime),
            remedy="name a folder on a local disk",
        ) from None
    return descriptor


def unusable(key: str, folder: Path, error: OSError) -> ConfigError:
    """A folder that cannot be made or written, with the remedy."""
    return ConfigError(
        f"{folder} cannot be used: {error.strerror}",
        field=key,
        value=str(folder),
        remedy=remedy_of(error, folder) or "name a folder that this user can create and write",
    )


def remedy_of(error: OSError, folder: Path) -> str | None:
    """What ends this error of a write in ``folder``; None: it is of the folder itself."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"free space or inodes on its disk: `df -h {folder}`, `df -i {folder}`"
    if error.errno == errno.EROFS:
        return (
            f"mount its disk to be written (`mount -o remount,rw`, see `findmnt -T {folder}`); if the unit may"
            " not write there, `waguard config check` says what to add"
        )
    return None


def _replace(path: Path, content: bytes) -> None:
    """Write it whole or not at all. Only the holder of the lock writes here."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def private_folder(path: Path) -> None:
    """Create ``path`` for this user alone; an existing folder keeps its mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _held_by(runtime: Path, path: Path) -> str:
    holder = read_pid_file(runtime)
    pid = holder.pid if holder else procfs.flock_holder(path)
    if pid is None:
        return f"another instance holds {path} (its process is not visible to this user)"
    ticks = procfs.start_time(pid)
    since = (
        f" since {datetime.fromtimestamp(procfs.started_at(ticks), UTC):%Y-%m-%dT%H:%M:%SZ}"
        if ticks
        else ""
    )
    where = f", API at {holder.api}" if holder else ", API not up yet"
    return f"another instance holds {path}: pid {pid}{since}{where}"
