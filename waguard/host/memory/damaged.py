"""A file of ours that is damaged: said, and kept as evidence."""

import contextlib
from pathlib import Path

from loguru import logger

from waguard.host import small_file


def quarantine(path: Path, why: Exception) -> None:
    """Log it and rename it; that it cannot be renamed changes nothing of what is said."""
    logger.error(
        "a file is unreadable and is quarantined",
        event="file_unreadable",
        file=str(path),
        why=why,
    )
    with contextlib.suppress(OSError):
        small_file.quarantine(path)
