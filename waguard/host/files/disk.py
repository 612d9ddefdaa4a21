"""What is free on a file system."""

import os
from pathlib import Path

from waguard.core.host import disk


def free(folder: Path) -> int | None:
    """Bytes that we may write there, as the kernel has it; None: it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def is_full(folder: Path) -> bool:
    """Whether nothing can be stored there; not where that is unknown."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    files = found.f_favail if found.f_files else None  # some file systems do not count them
    return disk.is_full(free=found.f_bavail * found.f_frsize, files=files)


def size_of(folder: Path) -> int:
    """Bytes on disk below a folder; what vanishes meanwhile weighs nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512  # noqa: PTH118 - of thousands of files
            except OSError:
                continue
    return total
