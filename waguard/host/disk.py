"""What is free on a file system."""

import os
from pathlib import Path


def free(folder: Path) -> int | None:
    """Bytes that we may write there, as the kernel has it; None: it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
