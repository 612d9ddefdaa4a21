"""Room for what a backup or a restore writes, asked for before it begins."""

from collections.abc import Iterable
from pathlib import Path

from waguard.errors import NoRoomError
from waguard.host.files import disk
from waguard.host.files.acting import nearest


def require(needed: Iterable[tuple[Path, int]], *, reserve: int) -> None:
    """Raises ``NoRoomError`` where a disk would have less than ``reserve`` bytes free after all that is written to it.
    ``needed``: folders, which may be missing yet, and bytes."""
    places: dict[int, Path] = {}
    sums: dict[int, int] = {}
    for folder, size in needed:
        at = nearest(folder)
        device = at.stat().st_dev
        places.setdefault(device, at)
        sums[device] = sums.get(device, reserve) + size
    for device, size in sums.items():
        free = disk.free(places[device])
        if free is not None and free < size:
            raise NoRoomError(
                f"only {free >> 20} MB are free on the disk of {places[device]}, {(size >> 20) + 1} MB are needed",
                value=str(places[device]),
                remedy=f"free {(size - free >> 20) + 1} MB more; nothing was changed",
            )


def size_of(file: Path) -> int:
    """Bytes; 0: there is no such file."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
