"""Which Chromiums live on which profiles, by processes alone; a sample each few milliseconds costs next to nothing."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from waguard.host.process import procfs

STAYS_ANOTHER: Final = 10.0  # s; a shell becomes a Chromium before
SAMPLED_EVERY: Final = 0.01  # s

Browser = tuple[str, str]
"""Its host and its session."""


class Browsers:
    """Each process is read once: another one gets its pid only after all other pids."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """``folders``: of the daemons, by host."""
        self._places = {f"--user-data-dir={it}/sessions/": host for host, it in folders.items()}
        self._known = dict[int, Browser | None]()
        self._young = dict[int, float]()

    def living(self) -> Iterator[Browser]:
        """Those that are no zombies now."""
        pids = frozenset(procfs.pids())
        for pid in self._known.keys() - pids:
            del self._known[pid]
        for pid in self._young.keys() - pids:
            del self._young[pid]
        for pid in pids - self._known.keys():
            self._read(pid)
        for pid, it in self._known.items():
            if it and procfs.living(pid):
                yield it

    def _read(self, pid: int) -> None:
        argv = procfs.command_line(pid)
        is_child = any(it.startswith("--type=") for it in argv)
        found = None if is_child else self._browser(argv)
        if found or is_child or time.monotonic() > STAYS_ANOTHER + self._since(pid):
            self._known[pid] = found

    def _since(self, pid: int) -> float:
        return self._young.setdefault(pid, time.monotonic())

    def _browser(self, argv: list[str]) -> Browser | None:
        for place, host in self._places.items():
            for argument in argv:
                if argument.startswith(place):
                    return host, Path(argument).name.removeprefix("session-")
        return None
