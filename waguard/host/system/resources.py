"""What this host has left: memory, pressure on it, pids. What cannot be read is None.

Control groups are those of cgroup v2. A limit holds for a group and for all below it, so each
group from ours up to the root counts, as far as it can be seen from here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from waguard.core.host.admission import Reading
from waguard.host.process.procfs import content
from waguard.host.system.pressure import memory_pressure


def read(root: Path = Path("/"), *, process: str = "self") -> Reading:
    """Reads ``root``'s proc and sys, which takes about 0.2 ms and waits for nothing. ``process``:
    a pid, whose control group it is about."""
    return Reading(
        memory=_least(_kernel_memory(root), *_in_groups(root, process, _group_memory)),
        pressure=memory_pressure(root),
        pids=pids(root, process=process),
    )


def pids(root: Path = Path("/"), *, process: str = "self") -> int | None:
    """How many more threads there can be."""
    return _least(_kernel_pids(root), *_in_groups(root, process, _group_pids))


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _text(path: Path) -> str | None:
    try:
        return content(str(path)).decode()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int | None:
    """None also for "max": no limit."""
    text = (_text(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _field(text: str | None, name: str) -> int | None:
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return None


def _kernel_memory(root: Path) -> int | None:
    kilobytes = _field(_text(root / "proc/meminfo"), "MemAvailable:")
    return None if kilobytes is None else kilobytes << 10


def _kernel_pids(root: Path) -> int | None:
    limit = _least(
        _number(root / "proc/sys/kernel/pid_max"), _number(root / "proc/sys/kernel/threads-max")
    )
    # proc(5): the fourth word is "runnable/all" of all threads, each of which takes a pid
    words = (_text(root / "proc/loadavg") or "").split()
    used = words[3].partition("/")[2] if len(words) > 3 else ""  # noqa: PLR2004 - proc(5)
    return None if limit is None or not used.isdecimal() else max(0, limit - int(used))


def _in_groups(
    root: Path, process: str, left: Callable[[Path], int | None]
) -> Iterator[int | None]:
    line = next(
        (
            line
            for line in (_text(root / f"proc/{process}/cgroup") or "").splitlines()
            if line.startswith("0::/")
        ),
        None,
    )
    if line is None:
        return
    mounted = root / "sys/fs/cgroup"
    group = mounted / line.removeprefix("0::/").strip()
    while True:
        yield left(group)
        if group == mounted or mounted not in group.parents:
            return
        group = group.parent


def _group_memory(group: Path) -> int | None:
    """The group's limit without what it uses; pages of files that nobody used lately are given up."""
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is None or used is None:
        return None
    return max(0, limit - used + (_field(_text(group / "memory.stat"), "inactive_file") or 0))


def _group_pids(group: Path) -> int | None:
    limit, used = _number(group / "pids.max"), _number(group / "pids.current")
    return None if limit is None or used is None else max(0, limit - used)
