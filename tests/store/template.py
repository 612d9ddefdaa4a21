"""A SQLite database that is up to date already: a migration takes longer than most tests."""

import atexit
import shutil
import tempfile
from pathlib import Path

from waguard.store.sql import SqlStore

_MADE: list[Path] = []


async def copy_to(path: Path) -> None:
    """A new, empty database."""
    shutil.copyfile(await _template(), path)


async def _template() -> Path:
    if not _MADE:
        folder = tempfile.TemporaryDirectory(prefix="wg-")
        atexit.register(folder.cleanup)
        path = Path(folder.name) / "w.db"
        store = SqlStore(f"sqlite+aiosqlite:///{path}")
        await store.open()
        await store.close()
        _MADE.append(path)
    return _MADE[0]
