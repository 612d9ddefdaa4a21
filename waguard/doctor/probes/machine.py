"""This machine, as every probe asks it: tests put a double in its place."""

import asyncio
import contextlib
import ctypes
import os
import pwd
import re
import resource
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.core.host.admission import Reading
from waguard.core.host.strays import Seen
from waguard.doctor.checks.host import Space
from waguard.host.configuration_file import SYSTEM_FILE
from waguard.host.process import procfs, strays
from waguard.host.system import resources
from waguard.worker.page import wajs

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronized
_TIMEX: Final = 512  # bytes; more than struct timex has anywhere
_OPEN_FILES: Final = "Max open files"
_WAGUARD: Final = re.compile(r"(.*/)?waguard(:|\.\w+)?")  # the command, the module, the title
_ARGUMENTS: Final = 4  # python, its options, -m, the module
_GENERATIONS: Final = 8  # from a renderer of Chromium to the daemon


class Running(Struct, frozen=True, kw_only=True):
    """A process. ``command``: its arguments, with blanks between."""

    pid: int
    parent: int
    user: str
    command: str


class Ran(Struct, frozen=True, kw_only=True):
    """A program that ended; ``code`` None: it could not be run, or not within its time."""

    code: int | None
    out: str = ""
    error: str = ""


class Machine:
    """Reads of /proc, /sys and the kernel. What cannot be read is None."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        system_file: Path = SYSTEM_FILE,
        packed_wajs: Path = wajs.PACKED,
    ) -> None:
        """``system_file``: the installed unit's configuration."""
        self.root = root
        self.system_file = system_file
        self.packed_wajs = packed_wajs

    def now(self) -> float:
        """Unix time."""
        return time.time()

    def environment(self, pid: int) -> dict[str, str]:
        """The environment of another process, as it was started with."""
        return procfs.environment(pid)

    def processes(self) -> list[Running]:
        """All that are visible to this user."""
        return [
            Running(
                pid=pid,
                parent=procfs.parent(pid) or 0,
                user=_user(pid),
                command=" ".join(procfs.command_line(pid)),
            )
            for pid in procfs.pids()
        ]

    def unsupervised(self) -> list[Seen]:
        """Every worker and every browser process, whosever it is."""
        return strays.scan()

    def spared(self, pid: int) -> bool:
        """Whether it is a waguard, of waguard's tree, or gone: nobody is to end it by hand."""
        if procfs.start_time(pid) is None:
            return True
        if "WAGUARD_RECORD" in procfs.environment(pid):
            return True
        seen = 0
        while pid > 1 and seen < _GENERATIONS:
            if any(_WAGUARD.fullmatch(word) for word in procfs.command_line(pid)[:_ARGUMENTS]):
                return True
            pid, seen = procfs.parent(pid) or 0, seen + 1
        return False

    @property
    def command(self) -> str:
        """How a shell here runs this very waguard."""
        if shutil.which("waguard"):
            return "waguard"
        beside = Path(sys.executable).with_name("waguard")
        return shlex.quote(str(beside)) if beside.exists() else f"{sys.executable} -m waguard"

    def age(self, pid: int | None) -> float | None:
        """Seconds since a process began; None: there is none, or it is not visible."""
        ticks = procfs.start_time(pid) if pid else None
        return None if ticks is None else time.time() - procfs.started_at(ticks)

    def has(self, program: str) -> bool:
        """Whether it is installed: root's programs count, too."""
        path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
        return shutil.which(program, path=path) is not None

    def listeners(self, port: int) -> list[int]:
        """Who listens on TCP ``port``, as far as this user sees it; the service manager last."""
        return procfs.listeners(port)

    def taken(self, host: str, port: int) -> tuple[bool, str | None]:
        """Whether somebody listens there, and why nobody could."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except (socket.gaierror, UnicodeError):
            return False, "it is not an address of this machine"
        except OSError as error:
            in_use = error.errno == 98  # noqa: PLR2004 - EADDRINUSE
            return in_use, None if in_use else error.strerror
        return False, None

    def locked_by(self, path: Path) -> int | None:
        """Who holds a flock on it; None: nobody, or not visible. Takes no lock."""
        try:
            return procfs.flock_holder(path)
        except OSError:
            return None

    def left(self, pid: int | None) -> Reading:
        """What the control group of ``pid`` (None: of this process) and the machine have left."""
        return resources.read(self.root, process="self" if pid is None else str(pid))

    def open_files(self, pid: int | None) -> int | None:
        """The hard limit."""
        if pid is None:
            return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with contextlib.suppress(OSError, ValueError):
            for line in (self.root / f"proc/{pid}/limits").read_text().splitlines():
                if line.startswith(_OPEN_FILES):
                    return int(line.removeprefix(_OPEN_FILES).split()[1])
        return None

    def shared_memory(self) -> int | None:
        """Bytes that /dev/shm may take; None: it is not there."""
        try:
            found = os.statvfs(self.root / "dev/shm")
        except OSError:
            return None
        return found.f_blocks * found.f_frsize

    def space(self, folder: Path) -> Space | None:
        """The space of the folder's file system; None: the folder is not there."""
        try:
            found, device = os.statvfs(folder), folder.stat().st_dev
        except OSError:
            return None
        return Space(
            device=device,
            free=found.f_bavail * found.f_frsize,
            inodes=found.f_files,
            inodes_free=found.f_favail,
            read_only=bool(found.f_flag & os.ST_RDONLY),
        )

    def synchronized(self) -> bool | None:
        """Whether the kernel's clock follows another one."""
        try:
            answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX))
        except (AttributeError, OSError):
            return None
        return None if answer < 0 else answer != _TIME_ERROR

    def sysctl(self, name: str) -> str | None:
        """The value of a setting of the kernel's, such as ``user.max_user_namespaces``."""
        try:
            return (self.root / "proc/sys" / name.replace(".", "/")).read_text().strip()
        except OSError:
            return None

    async def run(
        self, argv: Sequence[str], *, within: float, user: tuple[int, int] | None = None
    ) -> Ran:
        """A program to its end, in ``within`` seconds; ``user``: its uid and gid, where root asks."""
        who: dict[str, object] = (
            {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                **who,  # type: ignore[arg-type] # Popen's own
            )
        except OSError as error:
            return Ran(code=None, error=error.strerror or str(error))
        try:
            async with asyncio.timeout(within):
                out, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return Ran(code=None, error=f"it did not end within {within:g} s")
        return Ran(
            code=process.returncode,
            out=out.decode(errors="replace"),
            error=errors.decode(errors="replace").strip(),
        )


def _user(pid: int) -> str:
    try:
        number = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return "nobody"
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
