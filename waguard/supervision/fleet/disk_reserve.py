"""The reserve on the disks: below it no new work is begun, so that what comes in can be stored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from waguard.core.host.disk import is_low
from waguard.errors import NoRoomError
from waguard.host.files import disk
from waguard.ports.clock import Clock
from waguard.supervision.outages import Outages

FRESH: Final = 1.0  # s that a look is good for
_MB: Final = 1 << 20


class DiskReserve:
    """``reserve`` in MB, ``folders`` those that are written; ``free`` as ``host.disk`` has it."""

    def __init__(
        self,
        outages: Outages,
        clock: Clock,
        *,
        reserve: Callable[[], int],
        folders: Sequence[Path],
        free: Callable[[Path], int | None] = disk.free,
    ) -> None:
        self._outages = outages
        self._clock = clock
        self._reserve = reserve
        self._folders = folders
        self._free = free
        self._checked_at: float | None = None

    def check(self) -> None:
        """Once in ``FRESH`` seconds, at most."""
        now = self._clock.monotonic()
        if self._checked_at is not None and now - self._checked_at < FRESH:
            return
        self._checked_at = now
        known = [
            (free, folder) for folder in self._folders if (free := self._free(folder)) is not None
        ]
        free, folder = min(known, default=(None, None))
        before = self._outages.why("disk_low") is not None
        why = None
        if is_low(before=before, free=free, reserve=self._reserve() * _MB):
            left = "?" if free is None else free // _MB
            why = f"{left} MB are free in {folder}, limits.disk_reserve is {self._reserve()} MB"
        self._outages.update("disk_low", why, {"free": free, "folder": str(folder)})

    def require(self) -> None:
        """Raises ``NoRoomError`` while too little is left for new work."""
        self.check()
        if why := self._outages.why("disk_low"):
            raise NoRoomError(
                f"new work is refused: {why}",
                field="limits.disk_reserve",
                remedy="free some space, or lower the reserve",
                retry_after=60,
            )
