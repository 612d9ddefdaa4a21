"""The folders in which the daemon and its workers find each other."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from waguard.errors import WaguardError
from waguard.host.files.lock import PID_FILE, InstanceLock, private_folder, unusable
from waguard.host.files.ownership import require_private
from waguard.host.process.children import read_records
from waguard.ports.process import Process
from waguard.wire.worker import WorkerRecord


def make_private(key: str, *folders: Path) -> None:
    """Folders for this user alone; ``key`` names the setting. Raises ``ConfigError``."""
    for folder in folders:
        try:
            private_folder(folder)
            require_private(key, folder)  # somebody may have been quicker
        except OSError as error:
            raise unusable(key, folder, error) from None


class RuntimeFolder:
    """``paths.runtime``: lock, pid file, workers' records and sockets, Chromium's temporary files."""

    def __init__(self, path: Path, lock: InstanceLock) -> None:
        self._path = path
        self._lock = lock
        self.workers = path / "workers"
        self._folders = self.workers, path / "t"

    def make(self) -> None:
        """Raises ``ConfigError``."""
        make_private("paths.runtime", *self._folders)

    def restore(self) -> str | None:
        """Create it again where somebody removed it: what was missing just now; None: nothing."""
        if self._lock.in_place and all(map(os.path.isdir, self._folders)):
            return None
        why = f"{self._path} or a file in it was removed while waguard runs"
        try:
            self.make()
            self._lock.renew()
        except WaguardError as error:
            why = f"{why}, and cannot be created again: {error.line()}"
        return why

    def unreadable_pid_file(self) -> dict[Path, str]:
        """What was wrong with the pid file that lay there, which is quarantined."""
        why = self._lock.found_unreadable
        return {self._path / PID_FILE: why} if why else {}

    def workers_left(
        self, adopt: Callable[[WorkerRecord], Process | None]
    ) -> tuple[list[tuple[WorkerRecord, Process]], Sequence[str]]:
        """Living workers of an earlier daemon, and the sessions whose workers are gone: the records of
        these are removed."""
        living: list[tuple[WorkerRecord, Process]] = []
        gone: list[str] = []
        for path, record in read_records(self.workers):
            process = adopt(record)
            if process is None:
                gone.append(record.session)
                path.unlink(missing_ok=True)
            else:
                living.append((record, process))
        return living, gone
