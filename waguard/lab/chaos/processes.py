"""Which processes belong to a world, and what each of them is."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import psutil
from msgspec import Struct, field

MARK: Final = "CHAOS_WORLD"
"""The variable that every process of a world inherits; it holds the world's folder."""
_PROFILE: Final = "--user-data-dir="
_CRASHES: Final = "--database="
CRASH_HANDLERS: Final = 2  # of one browser: the second one watches the first


class Process(Struct, frozen=True, kw_only=True):
    """One process as /proc shows it. ``marks`` are the variables of its environment that matter."""

    pid: int
    parent: int
    group: int
    argv: tuple[str, ...]
    marks: Mapping[str, str] = field(default_factory=dict)
    stopped: bool = False


class Census(Struct, frozen=True, kw_only=True):
    """The living processes of a world by what they are. Sessions are named by their id."""

    daemons: tuple[int, ...] = ()
    fork_servers: tuple[int, ...] = ()
    workers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    browsers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The browser processes alone, by the session whose profile they have."""
    renderers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By browser."""
    parts: tuple[int, ...] = ()
    """What else belongs to a living browser."""
    strays: tuple[Process, ...] = ()
    """What belongs to the world and to nobody in it."""
    stopped: tuple[int, ...] = ()
    groups: frozenset[int] = frozenset()
    """Process groups of browsers, also of earlier ones of which something is left. The number of one that is empty may
    be anybody's next."""

    @property
    def all(self) -> tuple[int, ...]:
        """Every pid, parents before their children."""
        named = (self.workers, self.browsers, self.renderers)
        return (
            *self.daemons,
            *self.fork_servers,
            *(pid for by in named for pids in by.values() for pid in pids),
            *self.parts,
            *(process.pid for process in self.strays),
        )


def scan() -> list[Process]:
    """Every living process that may be seen; zombies are gone."""
    found = []
    wanted = ["ppid", "cmdline", "environ", "status"]
    for process in psutil.process_iter(wanted):
        info = process.info
        if info["status"] == psutil.STATUS_ZOMBIE or not info["cmdline"]:
            continue
        try:
            group = os.getpgid(process.pid)
        except ProcessLookupError:
            continue
        marks = {
            name: value
            for name, value in (info["environ"] or {}).items()
            if name in {MARK, "WAGUARD_SESSION"}
        }
        found.append(
            Process(
                pid=process.pid,
                parent=info["ppid"] or 0,
                group=group,
                argv=tuple(info["cmdline"]),
                marks=marks,
                stopped=info["status"] == psutil.STATUS_STOPPED,
            )
        )
    return found


def census(
    processes: Iterable[Process],
    folder: Path,
    owners: Mapping[str, str],
    groups: Iterable[int] = (),
) -> Census:
    """Sort the processes of the world in ``folder``.

    ``owners``: a profile, or a folder of crash reports → its session. ``groups``: process groups of
    earlier browsers, by which what is left of them is known when nothing else says.
    """
    processes = list(processes)
    left = {process.group for process in processes}.intersection(groups)
    ours = _members(processes, folder, left)
    daemons, servers, rest = [], [], []
    workers, browsers = defaultdict(list), defaultdict(list)
    profile_of = {process.pid: _profile(process) for process in ours}
    for process in ours:
        session = owners.get(profile_of[process.pid] or "")
        if _is_waguard(process, "waguard", "run"):
            daemons.append(process.pid)
        elif _is_waguard(process, "waguard.worker.fork_server"):
            servers.append(process.pid)
        elif _is_waguard(process, "waguard.worker.spare"):
            continue  # a worker that has no session yet
        elif "waguard.worker" in process.argv:
            workers[process.marks.get("WAGUARD_SESSION", "?")].append(process.pid)
        elif session is None:
            rest.append(process)
        elif profile_of.get(process.parent) == profile_of[process.pid]:
            rest.append(process)  # forked by the browser, and on its way to become something else
        else:
            browsers[session].append(process.pid)
    handlers = _crash_handlers(rest, {path for path, name in owners.items() if name in browsers})
    rest = [process for process in rest if process.pid not in handlers]
    living = {pid for pids in browsers.values() for pid in pids}
    parts, strays, renderers = _parts(rest, ours, living)
    return Census(
        daemons=tuple(daemons),
        fork_servers=tuple(servers),
        workers={name: tuple(pids) for name, pids in workers.items()},
        browsers={name: tuple(pids) for name, pids in browsers.items()},
        renderers=renderers,
        parts=(*parts, *handlers),
        strays=tuple(strays),
        stopped=tuple(process.pid for process in ours if process.stopped),
        groups=frozenset(left | living),
    )


def _members(processes: list[Process], folder: Path, groups: set[int]) -> list[Process]:
    """By mark, by a path in the arguments, by group, or by descent; parents first."""
    inside = f"{folder}/"
    members = {
        process.pid
        for process in processes
        if process.marks.get(MARK) == str(folder)
        or process.group in groups
        or any(a.startswith("--") and inside in a for a in process.argv)  # Chromium's, no reader's
    }
    while more := {p.pid for p in processes if p.parent in members} - members:
        members |= more
    return [process for process in processes if process.pid in members]


def _is_waguard(process: Process, *words: str) -> bool:
    """``python … -m WORDS …``."""
    argv = process.argv
    return "-m" in argv and argv[argv.index("-m") + 1 :][: len(words)] == words


def _profile(process: Process) -> str | None:
    """The profile of a browser process; None: it is something else."""
    if not Path(process.argv[0]).name.startswith("chrom"):
        return None
    if any(argument.startswith("--type=") for argument in process.argv):
        return None
    fitting = (a.removeprefix(_PROFILE) for a in process.argv if a.startswith(_PROFILE))
    return next(fitting, None)


def _crash_handlers(processes: list[Process], folders: set[str]) -> set[int]:
    """Those of living browsers, which leave their group and are known by their folder alone."""
    found = defaultdict(list)
    for process in processes:
        if Path(process.argv[0]).name == "chrome_crashpad_handler":
            info = (a.removeprefix(_CRASHES) for a in process.argv if a.startswith(_CRASHES))
            found[next(info, "")].append(process.pid)
    # what is more than a browser has is left of one before: the older ones, which come first
    return {pid for folder in folders for pid in found[folder][-CRASH_HANDLERS:]}


def _parts(
    rest: list[Process], ours: list[Process], browsers: set[int]
) -> tuple[list[int], list[Process], dict[int, tuple[int, ...]]]:
    """Sort what is neither daemon nor worker nor browser: parts of browsers, strays, renderers."""
    parents = {process.pid: process.parent for process in ours}
    parts: list[int] = []
    strays: list[Process] = []
    renderers: defaultdict[int, list[int]] = defaultdict(list)
    for process in rest:
        owner = _owner(process, parents, browsers)
        if owner is None:
            strays.append(process)
        elif "--type=renderer" in process.argv:
            renderers[owner].append(process.pid)
        else:
            parts.append(process.pid)
    return parts, strays, {browser: tuple(pids) for browser, pids in renderers.items()}


def _owner(process: Process, parents: Mapping[int, int], browsers: set[int]) -> int | None:
    """The living browser whose group it is in, or from which it descends."""
    if process.group in browsers:
        return process.group
    pid: int | None = process.parent
    while pid is not None:
        if pid in browsers:
            return pid
        pid = parents.get(pid)
    return None
