"""``<paths.state>/run.json``: what the next daemon reads of this one's end.

It lies with the state, for it must survive a reboot. Its time of modification is when its daemon was last
seen alive: to renew that needs no room on a full disk, and no moment at which the file is half written.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from loguru import logger

from waguard.core.host import last_run
from waguard.core.host.last_run import Death, Run
from waguard.core.replace import replace
from waguard.errors import printable
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.memory.writes import Writes
from waguard.host.process import procfs
from waguard.host.small_file import UnreadableError
from waguard.ports.clock import Clock

FILE: Final = "run.json"
_ERROR_LENGTH: Final = 200


class RunFile:
    """All calls block. What cannot be written is logged once, and written at the next call."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.path = folder / FILE
        self._clock = clock
        self._guard = threading.Lock()
        self._run: Run | None = None
        self._written: Run | None = None
        self._writes = Writes("the file of this run cannot be written")
        self.deaths: tuple[Death, ...] = ()
        """Deaths of earlier daemons, to be reported; the oldest comes first."""
        self.before: str | None = None
        """How the last run ended, where that was in order."""
        self.unreadable: str | None = None
        """What was wrong with the file that lay there, which is quarantined."""

    def begin(self) -> None:
        """Read what lies there. Nothing is overwritten yet: ``renew`` is to be called soon."""
        now, boot, pid = self._clock.wall(), procfs.boot_id(), os.getpid()
        try:
            found, last_seen = self._read(now)
        except FileNotFoundError:
            pass
        except UnreadableError as error:
            if damaged.stays(self.path, error):
                return  # the next daemon reads what it says of the ones before
            self.unreadable = str(error)
            with contextlib.suppress(OSError):  # it is reported all the same
                small_file.quarantine(self.path)
        else:
            if procfs.is_same(found.pid, found.start_time, found.boot):
                logger.warning(
                    "another waguard uses the same paths.state; its run file stays as it is",
                    event="state_shared",
                    file=str(self.path),
                    pid=found.pid,
                )
                return
            self.deaths = last_run.deaths(found, last_seen=last_seen, boot=boot, now=now)
            self.before = last_run.began_after(found, last_seen=last_seen, boot=boot, now=now)
        self._run = Run(
            pid=pid,
            start_time=procfs.start_time(pid) or 0,
            boot=boot,
            began=now,
            unreported=self.deaths,
        )

    def renew(self, *, reported: bool) -> None:
        """Record that the daemon lives. ``reported``: the deaths are on the trail."""
        with self._guard:
            if self._run and reported:
                self._run = last_run.reported(self._run)
            self._save()

    def stopping(self, why: str) -> None:
        """Record that the daemon begins to stop, for ``why``; where it is killed meanwhile, that is known."""
        with self._guard:
            if self._run:
                self._run = replace(self._run, stopping=why)
            self._save()

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """The body is what is left of the run: in order where it raises nothing."""
        try:
            yield
        except BaseException as error:
            self._end(printable(repr(error))[:_ERROR_LENGTH])
            raise
        self._end(None)

    def _end(self, error: str | None) -> None:
        with self._guard:
            if self._run:
                self._run = replace(self._run, ended=True, error=error)
            self._save()

    def _save(self) -> None:
        """Write the content where it has changed, and in any case the time."""
        if self._run is None:
            return
        with self._writes.attempt():
            # first what needs no room; a file that is not ours yet keeps its time
            if not self._touched() or self._run != self._written:
                self._write(msgspec.json.encode(self._run))
                self._written = self._run
                self._touched()

    def _write(self, content: bytes) -> None:
        try:
            replace_private(self.path, content)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT} and self._written is not None
            # else an end in order would count as a death
            if not (full and small_file.overwrite(self.path, content)):
                raise

    def _touched(self) -> bool:
        """Whether it is there and ours; then it has the time of now."""
        now = round(self._clock.wall() * 1e9)
        if self._written is None:
            return False
        try:
            os.utime(self.path, ns=(now, now), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _read(self, now: float) -> tuple[Run, float]:
        """With the moment when it was last seen alive. Raises as ``small_file.read``."""
        content = small_file.read(self.path)
        try:
            run = msgspec.json.decode(content, type=Run)
            last_seen = self.path.lstat().st_mtime
        except (ValueError, RecursionError, OSError) as error:
            raise UnreadableError(f"it is not the file of a run: {error}") from None
        if why := last_run.impossible(run, last_seen=last_seen, now=now):
            raise UnreadableError(why)
        return run, last_seen
