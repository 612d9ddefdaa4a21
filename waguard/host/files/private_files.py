"""Files and folders for this user alone, on disk when a call returns."""

import os
from pathlib import Path
from typing import BinaryIO

from waguard.host.files.lock import private_folder


def write_private(path: Path, content: bytes) -> None:
    """A file for this user alone, on disk when this returns."""
    with open_private(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, content: bytes) -> None:
    """Write it whole or not at all, for this user alone; on disk when this returns."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    write_private(draft, content)
    draft.replace(path)
    sync_folder(path.parent)


def private_folders(path: Path) -> None:
    """Create it and what is missing above it, all for this user alone whatever the umask."""
    if not path.is_dir():
        private_folders(path.parent)
        private_folder(path)


def open_private(path: Path) -> BinaryIO:
    """Make or empty a file of mode 0600, with its folders. Raises ``OSError``."""
    private_folders(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")


def sync_folder(folder: Path) -> None:
    """Have its names on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
