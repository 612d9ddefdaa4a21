"""What a session's processes use: share of a core, and memory with what is shared counted in shares.

The kernel counts the proportional size (PSS) of a Chromium for some 15 ms, at its own expense, so it
is asked again only where the private pages, which cost nothing to ask for, have changed, or after
``STALE``. Everything here blocks: call it in a thread.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from waguard.host.lacking import lacks
from waguard.host.process.procfs import content
from waguard.ports.process import Usage

STALE: Final = 300.0  # s after which the memory is measured again in any case
CHANGED: Final = 0.05  # of the private pages
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PSS: Final = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
# fields of /proc/PID/stat, counted after the command name's closing bracket
_GROUP, _USER, _SYSTEM, _STARTED = 2, 11, 12, 19


class _Seen(Struct):
    at: float
    ticks: dict[tuple[int, int], int] = field(default_factory=dict)
    """By pid and start time."""
    private: int = 0
    """Bytes, when the memory was measured."""
    memory: int = 0
    measured_at: float = float("-inf")


class Meter:
    """Remembers the sample before."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._seen: dict[str, _Seen] = {}

    def sample(self, groups: Mapping[str, Collection[int]], now: float) -> dict[str, Usage]:
        """What each session's process groups use; ``now`` in monotonic seconds.

        A session of whose processes none can be seen is left out, and so are all while this host lacks what
        reading takes.
        """
        try:
            return self._sample(groups, now)
        except OSError as error:
            if lacks(error):
                return {}  # nobody uses less: what was measured before stays
            raise

    def _sample(self, groups: Mapping[str, Collection[int]], now: float) -> dict[str, Usage]:
        owner = {group: session for session, mine in groups.items() for group in mine}
        ticks: dict[str, dict[tuple[int, int], int]] = {}
        for pid, fields in self._processes():
            if session := owner.get(int(fields[_GROUP])):
                used = int(fields[_USER]) + int(fields[_SYSTEM])
                ticks.setdefault(session, {})[pid, int(fields[_STARTED])] = used
        found = {
            session: self._usage(mine, self._seen.get(session), now)
            for session, mine in ticks.items()
        }
        self._seen = {session: seen for session, (seen, _) in found.items()}
        return {session: usage for session, (_, usage) in found.items()}

    def _usage(
        self, ticks: dict[tuple[int, int], int], before: _Seen | None, now: float
    ) -> tuple[_Seen, Usage]:
        seen = _Seen(now, ticks)
        pids = [pid for pid, _ in ticks]
        cpu = None
        if before is not None and now > before.at:
            used = sum(
                ticks[key] - before.ticks.get(key, 0)  # one that has ended meanwhile says no more
                for key in ticks
            )
            cpu = round(100.0 * used / _TICKS / (now - before.at), 1)
        private = sum(map(self._private, pids))
        if (
            before is not None
            and now - before.measured_at < STALE
            and abs(private - before.private) <= CHANGED * before.private
        ):
            seen.private, seen.memory = before.private, before.memory
            seen.measured_at = before.measured_at
        else:
            seen.private, seen.memory, seen.measured_at = private, sum(map(self._pss, pids)), now
        return seen, Usage(cpu_percent=cpu, memory=seen.memory)

    def _processes(self) -> Iterator[tuple[int, list[bytes]]]:
        with os.scandir(self._proc) as entries:
            for entry in entries:
                if entry.name.isdecimal() and (text := self._read(entry.name, "stat")):
                    yield int(entry.name), text.rpartition(b")")[2].split()

    def _private(self, pid: int) -> int:
        words = self._read(pid, "statm").split()
        return (int(words[1]) - int(words[2])) * _PAGE if words else 0

    def _pss(self, pid: int) -> int:
        found = _PSS.search(self._read(pid, "smaps_rollup"))
        return int(found[1]) << 10 if found else 0

    def _read(self, pid: int | str, name: str) -> bytes:
        """Empty where the process is gone, or somebody else's. Raises ``OSError`` as ``sample`` handles it."""
        try:
            return content(f"{self._proc}/{pid}/{name}")
        except OSError as error:
            if lacks(error):
                raise
            return b""
