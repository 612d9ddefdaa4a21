"""Workers' processes: started, adopted, measured, swept."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from waguard.config.sections import Config
from waguard.core.host.evidence import Evidence
from waguard.core.host.strays import Foreign, Seen
from waguard.wire.worker import WorkerRecord, WorkerSpec


class Effort(Struct, frozen=True, kw_only=True):
    """What keeps a process from answering."""

    rests: bool
    """None of its threads runs, waits for a core or for a disk."""
    cpu: float
    """Seconds of a core that it has used so far."""


class Process(Protocol):
    """A worker's process. It may be a child, or adopted from a daemon that died."""

    @property
    def pid(self) -> int:
        """The process id, which is also the process group."""

    async def listening(self) -> None:
        """Wait until its socket can be connected to, or it is gone."""

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM to the worker alone); harmless when it is gone."""

    def kill(self) -> None:
        """End the worker's whole process group; harmless when it is gone."""

    def effort(self) -> Effort | None:
        """As it is now; None: it is gone."""

    async def stopped(self) -> None:
        """Return when it has stood still (SIGSTOP) for a second, or for a moment after ``terminate``, which has no
        effect then."""

    async def wait(self) -> int | None:
        """Exit code (negative: signal), None where the kernel does not say (adopted)."""


class Usage(Struct, frozen=True, kw_only=True):
    """What a session's worker and browser use."""

    cpu_percent: float | None
    """Percent of one core, since the sample before; None: this was the first."""
    memory: int
    """Bytes; what is shared counts in shares (PSS)."""


class Meter(Protocol):
    """Measures sessions."""

    def sample(self, groups: Mapping[str, Collection[int]], now: float) -> Mapping[str, Usage]:
        """By session, of its process groups; ``now`` in monotonic seconds. It blocks."""


class BrowserFile(Struct, frozen=True, kw_only=True):
    """An executable of Chromium. ``build`` is equal for copies of one file: its size and time of modification."""

    path: Path
    build: str
    version: str | None = None
    """As a worker noted it; None: none has started it."""

    def named(self) -> str:
        """For a person."""
        return f"Chromium {self.version or self.path}"


class Browsers(Protocol):
    """Which Chromium is installed, which one a process runs, and a copy of one that worked. But for ``config`` and
    ``end``, calls block."""

    used: BrowserFile | None
    """The copy, while the next Chromium is started from it."""
    outdated: int
    """Sessions that run another Chromium than the installed one."""

    def config(self) -> Config:
        """The configuration, with the executable that is used instead of the installed one."""

    def installed(self) -> BrowserFile | None:
        """What the configuration names. None: it is missing. Of a script the build is empty."""

    def running(self, pid: int, name: str | None = None) -> BrowserFile | None:
        """What a process was started from, although that may be deleted. None: it is gone, another user's, or a program
        that is not called ``name``."""

    def ask(self, path: Path) -> tuple[str | None, str | None]:
        """The version that ``--version`` prints, or why it fails."""

    def kept(self) -> BrowserFile | None:
        """The copy. None: there is none of this flavour, or ``browser.keep_previous`` is off."""

    def keep(self, it: BrowserFile) -> None:
        """Copy its folder, in place of an earlier copy. Raises ``OSError``, also where the copy does not run."""

    def end(self) -> None:
        """End a copy that another thread makes."""


class Witness(Protocol):
    """Reads what this host lacks at the moment of a failure."""

    async def read(self, *, browser: bool) -> Evidence:
        """``browser``: Chromium ran, or is not the cause, so its executable is not tried. That takes milliseconds where
        nothing hangs, and some seconds at most."""


class Swept(Struct, frozen=True, kw_only=True):
    """What ``Spawn.sweep`` found."""

    ended: tuple[Seen, ...] = ()
    """Strays of this instance; they no longer run."""
    foreign: tuple[Foreign, ...] = ()
    """Processes of others; they still run."""


class Spawn(Protocol):
    """Starts workers, and finds those that a dead daemon left."""

    async def spawn(self, spec: WorkerSpec) -> Process:
        """Start a worker. Raises ``WaguardError`` where the system refuses."""

    async def sweep(self, *, records: str, profiles: str, kept: Collection[int] = ()) -> Swept:
        """End the workers and browsers that dead instances, or dead workers, left running.

        ``records`` and ``profiles``: the folders, or the one record and profile that it is about.
        ``kept``: pids of workers that are not to be touched, nor their browsers.
        """

    def is_empty(self, group: int) -> bool:
        """Whether surely no process of this process group is left, dead or alive."""

    def end_remains(self, browser: int) -> bool:
        """End what is left of the process group of a dead Chromium; whether there was anything."""

    def adopt(self, record: WorkerRecord) -> Process | None:
        """The living process of ``record``, or None: gone, or the pid is another's now. Raises ``UnavailableError`` where
        this host lacks what it takes to know."""
