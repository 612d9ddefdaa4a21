"""What this host lacks at the moment of a failure, read once for all that fail meanwhile."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from waguard.config.sections import Config
from waguard.core.host.evidence import Disk, Evidence
from waguard.host.lacking import lacks
from waguard.host.process.executable import BrowserNotFoundError, find_executable
from waguard.host.system import resources

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - Chromium's; waguard keeps nothing there
# exits with the number of the error
_NAMESPACE: Final = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(ctypes.get_errno() if libc.unshare(0x10000000) else 0)
"""


class Timings(Struct, frozen=True, kw_only=True):
    """Seconds."""

    disks: float = 3.0
    """For all disks to answer; one that hangs does so for minutes."""
    version: float = 5.0
    """For ``--version``, which takes 20 ms."""


class HostEvidence:
    """Fills ``ports.process.Witness``."""

    def __init__(self, config: Callable[[], Config], timings: Timings | None = None) -> None:
        self._config = config
        self._timings = timings or Timings()
        self._running: dict[bool, asyncio.Task[Evidence]] = {}
        self._disks: asyncio.Future[tuple[Disk, ...]] | None = None

    async def read(self, *, browser: bool) -> Evidence:
        """See ``ports.process.Witness``. Whoever asks while it is read gets the same answer."""
        running = self._running.get(browser)
        if running is None or running.done():
            running = asyncio.create_task(self._read(browser=browser), name="evidence")
            self._running[browser] = running
        return await asyncio.shield(running)

    async def _read(self, *, browser: bool) -> Evidence:
        config = self._config()
        if self._disks is None or self._disks.done():
            loop = asyncio.get_running_loop()
            self._disks = loop.run_in_executor(None, _probed, written(config))
        seen = Evidence(pids=resources.pids(), descriptors=_descriptors())
        seen = replace(seen, disks=await self._of_disks(self._disks, config))
        return (
            seen if browser else await asyncio.to_thread(_with_browser, seen, config, self._timings)
        )

    async def _of_disks(
        self, disks: asyncio.Future[tuple[Disk, ...]], config: Config
    ) -> tuple[Disk, ...]:
        """A disk that hangs holds one thread, however often it is asked."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timings.disks):
                return await asyncio.shield(disks)
        key, folder = written(config)[0]
        return (Disk(key=key, folder=str(folder), silent=True),)


def written(config: Config) -> tuple[tuple[str, Path], ...]:
    """What a worker and its Chromium write, by the setting that names it."""
    return (("paths.sessions", config.paths.sessions), ("paths.runtime", config.paths.runtime))


def _probed(folders: Iterable[tuple[str, Path]]) -> tuple[Disk, ...]:
    """Chromium goes on without shared memory that it may not write, and not with memory that is full."""
    shared = usage(SHARED_MEMORY, Path(SHARED_MEMORY))
    return (*(probed(*it) for it in folders), replace(shared, read_only=False))


def usage(key: str, folder: Path) -> Disk:
    """The disk of a folder by the kernel's account. Waits for nothing but a disk that hangs."""
    seen = Disk(key=key, folder=str(folder))
    try:
        found = os.statvfs(folder)
    except OSError:
        return seen
    return replace(
        seen,
        # some file systems count neither
        free=found.f_bavail * found.f_frsize if found.f_blocks else None,
        files=found.f_favail if found.f_files else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
    )


def probed(key: str, folder: Path) -> Disk:
    """The disk as ``usage`` has it, with a byte that is written. A folder that is missing is another failure."""
    seen = usage(key, folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"waguard")
            probe.flush()
    except FileNotFoundError:
        return seen
    except OSError as error:
        return seen if lacks(error) else replace(seen, error=error.strerror or str(error))
    return seen


def _descriptors() -> int | None:
    """How many more files this daemon, and all of the host, can open."""
    left = []
    try:
        used, unused, most = map(int, Path("/proc/sys/fs/file-nr").read_text().split())
        left.append(most - used + unused)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and lacks(error):
            return 0  # not even that one
    with contextlib.suppress(OSError):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            # from Linux 6.2 on its size is how many it has
            opened = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))  # noqa: PTH116, PTH208
            left.append(soft - opened)
    return min(left, default=None)


def _with_browser(seen: Evidence, config: Config, timings: Timings) -> Evidence:
    browser: Any = config.browser
    try:
        executable = find_executable(browser.executable, browser.flavour)
    except BrowserNotFoundError:
        return seen  # each start says so by itself
    seen = replace(seen, executable=str(executable))
    code = _run([str(executable), "--version"], timings.version)
    if code is None:
        return replace(seen, hangs=timings.version)
    if isinstance(code, str) or code:
        return replace(seen, unusable=code if isinstance(code, str) else f"exit code {code}")
    if browser.sandbox and (number := _run([sys.executable, "-I", "-S", "-c", _NAMESPACE], 5.0)):
        why = number if isinstance(number, str) else os.strerror(number)
        return replace(seen, namespaces=f"no user namespace can be created ({why})")
    return seen


def _run(argv: list[str], timeout: float) -> int | str | None:
    """Exit code, or why it cannot be run; None: it did not end, and was killed."""
    try:
        # a group of its own: what a script has started ends with it
        child = subprocess.Popen(  # noqa: S603 - the configured executable, or our own interpreter
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError as error:
        # a fork that is refused says nothing of the executable
        return 0 if lacks(error) else error.strerror or str(error)
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout)
