"""What an earlier daemon left in its folders: living workers, records of dead ones, unreadable files."""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from loguru import logger

from waguard.daemon.runtime_folder import RuntimeFolder
from waguard.errors import UnavailableError
from waguard.host.process.children import quarantine_unreadable_records, refused_records
from waguard.ports.process import Process
from waguard.supervision.status_writer import AuditLog
from waguard.wire.worker import WorkerRecord

TRIES: Final = 3  # in vain
SHOWN: Final = 3


class Memory(Protocol):
    """A file that is kept from run to run."""

    unreadable: str | None
    """What was wrong with the file that lay there, which is quarantined."""

    @property
    def path(self) -> Path: ...


class Leftovers:
    """``adopt`` is the process of a record; None: it is gone. It raises ``UnavailableError`` where that is not known now."""

    def __init__(
        self,
        runtime: RuntimeFolder,
        memories: Iterable[Memory],
        adopt: Callable[[WorkerRecord], Process | None],
        trail: AuditLog,
    ) -> None:
        self._runtime = runtime
        self._memories = memories
        self._adopt = functools.cache(adopt)
        """Once each: they are known already where this is tried again."""
        self._trail = trail
        self._tries = 0
        self.lost: list[str] = []
        """Sessions whose workers were gone, and had left their records."""

    def workers(self) -> list[tuple[WorkerRecord, Process]]:
        """Those that live. What nobody can read is quarantined and reported.

        Raises ``UnavailableError``, ``TRIES`` times, where the system does not let a record be read now: its worker would be
        replaced. After that it is left where it is. Raises it as often as ``adopt`` does: no worker serves anybody then, and
        ends by itself at last.
        """
        refused = refused_records(self._runtime.workers)
        if refused and self._tries < TRIES:
            self._tries += 1
            shown = ", ".join(f"{path}: {why}" for path, why in list(refused.items())[:SHOWN])
            raise UnavailableError(f"records of workers are not read: {shown}")
        self._report(self._unreadable())
        living, gone = self._runtime.workers_left(self._adopt)
        self.lost.extend(gone)
        return living

    def _unreadable(self) -> Mapping[Path, str]:
        found = quarantine_unreadable_records(self._runtime.workers)
        found |= self._runtime.unreadable_pid_file()
        for memory in self._memories:
            if memory.unreadable:
                found[memory.path] = memory.unreadable
        return found

    def _report(self, unreadable: Mapping[Path, str]) -> None:
        for path, why in unreadable.items():
            logger.error(
                "a file is unreadable and is quarantined",
                event="file_unreadable",
                file=str(path),
                why=why,
            )
            self._trail.record("file_unreadable", reason=f"{path} is quarantined: {why}")
