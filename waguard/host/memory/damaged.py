"""A file of ours that is damaged, or cannot be read now: said, and kept."""

import contextlib
from pathlib import Path

from loguru import logger

from waguard.host import small_file
from waguard.host.small_file import UnreadableError


def stays(path: Path, why: Exception) -> bool:
    """Whether the system does not let it be read now, which is logged: it is not to be moved or replaced."""
    if not (isinstance(why, UnreadableError) and why.by_system):
        return False
    logger.error(
        "a file cannot be read now; it stays as it is, and nothing new is stored in it",
        event="file_unreadable",
        file=str(path),
        why=why,
    )
    return True


def quarantine(path: Path, why: Exception) -> Path:
    """Log it and rename it; that it cannot be renamed changes nothing of what is said. Where it lies now."""
    logger.error(
        "a file is unreadable and is quarantined",
        event="file_unreadable",
        file=str(path),
        why=why,
    )
    with contextlib.suppress(OSError):
        return small_file.quarantine(path)
    return path
