"""What /proc says about processes. Stdlib only: it is read before anything heavy is imported."""

import contextlib
import functools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from waguard.host.lacking import lacks

_ENTRY: Final = re.compile(r"[^\0]+")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_TIME: Final = 19  # field 22, counted after the command name's closing bracket
_STATE: Final = 0
_PARENT: Final = 1
_GROUP: Final = 2
_SESSION: Final = 3
_CPU: Final = slice(11, 13)  # in user mode and in the kernel, of all its threads


@functools.cache
def boot_id() -> str:
    """A text that changes with each boot of this machine: no process sees two."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def content(path: str) -> bytes:
    """All of a file in /proc, by the fewest calls: it is done for each process. Raises ``OSError``."""
    opened, found = os.open(path, os.O_RDONLY | os.O_CLOEXEC), b""
    try:
        while more := os.read(opened, 1 << 16):
            found += more
    finally:
        os.close(opened)
    return found


def _of(pid: int, name: str) -> bytes | None:
    """A file of a process; None: it is gone, or hidden. Raises ``OSError`` where this host lacks what reading takes."""
    try:
        return content(f"/proc/{pid}/{name}")
    except OSError as error:
        if lacks(error):
            raise
        return None


def _known_fields(pid: int) -> list[str] | None:
    """As ``_of``."""
    stat = _of(pid, "stat")
    # the command name may hold spaces, brackets and half a character: count from the last one
    return stat.decode("latin-1").rpartition(")")[2].split() if stat else None


def _fields(pid: int) -> list[str] | None:
    """None also where they cannot be read now."""
    with contextlib.suppress(OSError):
        return _known_fields(pid)
    return None


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which ``pid`` started; None: no such process, or a zombie. Raises as ``living``."""
    it = living(pid)
    return it.start_time if it else None


def is_same(pid: int, started: int, booted: str) -> bool:
    """Whether ``pid`` is still the process that a record names: a pid is soon reused. Raises as ``living``."""
    return booted == boot_id() and start_time(pid) == started


def pids() -> Iterator[int]:
    """The pid of every process that can be seen."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - thousands of Path objects


def parent(pid: int) -> int | None:
    """Whose child ``pid`` is now; None: no such process."""
    fields = _fields(pid)
    return None if fields is None else int(fields[_PARENT])


class Living(NamedTuple):
    """A process that lives; ``start_time`` in clock ticks after boot."""

    start_time: int
    parent: int
    group: int


def living(pid: int) -> Living | None:
    """What it is now, by one read; None: no such process, or a zombie. Raises ``OSError`` where this host lacks what reading
    takes: a living process would count as gone."""
    fields = _known_fields(pid)
    if fields is None or fields[_STATE] == "Z":
        return None
    return Living(int(fields[_START_TIME]), int(fields[_PARENT]), int(fields[_GROUP]))


def group_members(group: int) -> list[int]:
    """The living processes of a process group; a zombie is gone already. Raises as ``living``."""
    return [
        pid
        for pid in pids()
        if (fields := _known_fields(pid))
        and int(fields[_GROUP]) == group
        and fields[_STATE] not in {"Z", "X"}
    ]


def children(pid: int) -> list[int]:
    """Living and dead children of ``pid``, those of its main thread where the kernel says."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [p for p in pids() if parent(p) == pid]


def is_foreign_zombie(pid: int, session: int) -> bool:
    """Whether ``pid`` has ended, is not reaped yet and belongs to another session."""
    fields = _fields(pid)
    return fields is not None and fields[_STATE] == "Z" and int(fields[_SESSION]) != session


def is_stopped(pid: int) -> bool:
    """Whether ``pid`` stands still, by a signal or by a debugger."""
    fields = _fields(pid)
    return fields is not None and fields[_STATE] in {"T", "t"}


def rests(pid: int) -> bool | None:
    """Whether no thread of ``pid`` runs, waits for a core or for a disk; None: no such process."""
    states = set[str]()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - a few numbers
            stat = Path(f"/proc/{pid}/task/{thread}/stat").read_bytes()
            states.add(stat.decode("latin-1").rpartition(")")[2].split()[_STATE])
    except (OSError, IndexError):
        return None
    return states.isdisjoint({"R", "D"})


def cpu(pid: int) -> float:
    """Seconds of a core that ``pid`` has used so far; 0: no such process."""
    fields = _fields(pid)
    return sum(map(int, fields[_CPU])) / _TICKS if fields else 0.0


def started_at(ticks: int) -> float:
    """Unix time in seconds of a start time in clock ticks."""
    with Path("/proc/uptime").open() as file:
        uptime = float(file.read().split()[0])
    return time.time() - uptime + ticks / _TICKS


def command_line(pid: int) -> list[str]:
    """The arguments of ``pid``; empty where it is gone or hidden. Raises as ``living``."""
    return (_of(pid, "cmdline") or b"").decode(errors="replace").split("\0")[:-1]


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was executed with; empty where it is gone, or another user's. Raises as ``living``."""
    block = (_of(pid, "environ") or b"").decode(errors="surrogateescape")
    # of a worker, whose title lies there too, it is hundreds of empty ones
    pairs = (entry.partition("=") for entry in _ENTRY.findall(block))
    return {name: value for name, _, value in pairs if name}


def flock_holder(path: Path) -> int | None:
    """The pid that holds a flock on ``path``; None: nobody, or not visible to us."""
    stat = path.stat()
    wanted = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == wanted:  # noqa: PLR2004 - proc(5)
            return int(words[4]) if int(words[4]) > 0 else None
    return None


def listeners(port: int) -> list[int]:
    """All that have a socket which listens on TCP ``port`` and are visible to us, parents first. Pid 1 comes last: a
    service manager keeps copies of others' sockets."""
    if not (inodes := _listening_inodes(port)):
        return []
    holders = (pid for pid in pids() if not inodes.isdisjoint(_open_files(Path(f"/proc/{pid}/fd"))))
    return sorted(holders, key=lambda pid: (pid == 1, pid))


def _open_files(folder: Path) -> Iterator[str]:
    """What the descriptors in ``/proc/PID/fd`` point to; some close while one looks."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            yield str(entry.readlink())


def _listening_inodes(port: int) -> set[str]:
    listening = "0A"
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if words[3] == listening and int(words[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found
