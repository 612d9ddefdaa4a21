"""``<paths.state>/drained``: this host of a cluster is being emptied, until somebody ends that: also after a restart, a
reboot and an upgrade. The file says so by being there."""

from pathlib import Path
from typing import Final

from waguard.host.files.private_files import replace_private, sync_folder

FILE: Final = "drained"


def read(state: Path) -> bool:
    """Whether it is. Blocks."""
    return (state / FILE).exists()


def write(state: Path, *, drained: bool) -> None:
    """Survives a crash from when it returns. Blocks. Raises ``OSError``."""
    if drained:
        replace_private(state / FILE, b"")
    else:
        (state / FILE).unlink(missing_ok=True)
        sync_folder(state)
