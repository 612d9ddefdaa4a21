"""What a page showed when it needed a person: ``<paths.state>/evidence/<session's key>-<UTC>.png``."""

import datetime as dt
from pathlib import Path
from typing import Final

from waguard.host.files.private_files import private_folders, replace_private
from waguard.profile import layout

FOLDER: Final = "evidence"  # in ``paths.state``
KEPT: Final = 5  # of a session, the newest; a picture may show its messages
MOST: Final = 500  # of all sessions
LARGEST: Final = 8 << 20  # bytes; one of a page has some 100 KB


def keep(folder: Path, session: str, content: bytes, *, now: float, most: int = MOST) -> Path:
    """For this user alone; ``now``: unix time; ``most``: of all sessions. Blocks. Raises ``OSError`` where the disk is full."""
    private_folders(folder)
    name = layout.key(session)
    path = folder / f"{name}-{_stamp(now)}.png"
    replace_private(path, content)

    def order(it: Path) -> tuple[bool, bool, str]:
        # those that are still to come are of a clock that was ahead
        return it == path, _taken(it) <= _stamp(now), _taken(it)

    for names, left in ((name, KEPT), ("*", most)):
        for old in sorted(_known(folder, names), key=order)[:-left]:
            old.unlink(missing_ok=True)
    return path


def purge(folder: Path, *, before: float) -> int:
    """Delete those from before that unix time; how many. Blocks. Raises ``OSError``."""
    old = [path for path in _known(folder) if _taken(path) < _stamp(before)]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _known(folder: Path, name: str = "*") -> list[Path]:
    return list(folder.glob(f"{name}-*.png"))


def _taken(path: Path) -> str:
    return path.stem.rpartition("-")[2]


def _stamp(at: float) -> str:
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y%m%dT%H%M%SZ}"
