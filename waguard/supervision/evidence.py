"""What a page showed when it needed a person: ``<paths.state>/evidence/<session's key>-<UTC>.png``."""

import datetime as dt
from pathlib import Path
from typing import Final

from waguard.host.private_files import private_folders, replace_private
from waguard.profile import layout

KEPT: Final = 5  # of a session, the newest; a picture may show its messages


def keep(folder: Path, session: str, content: bytes, *, now: float) -> Path:
    """For this user alone; ``now``: unix time. Blocks. Raises ``OSError`` where the disk is full."""
    private_folders(folder)
    name = layout.key(session)
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    path = folder / f"{name}-{at:%Y%m%dT%H%M%SZ}.png"
    replace_private(path, content)
    for old in sorted(folder.glob(f"{name}-*.png"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path
