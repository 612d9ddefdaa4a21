"""``<paths.state>/restored.json``: that this installation was restored from a backup, and what waits since then."""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from waguard.core.restored import Restored, is_time, unreadable
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.small_file import UnreadableError

FILE: Final = "restored.json"
LIMIT: Final = 16 << 20  # bytes; all sessions, with the longest names


def read(state: Path) -> Restored | None:
    """None: it was never restored. What cannot be read stays as it is, and all waits that may have to."""
    try:
        return _read(state)
    except FileNotFoundError:
        return None
    except (UnreadableError, ValueError, RecursionError):
        return unreadable(time.time())


def write(state: Path, restored: Restored) -> None:
    """Whole or not at all; what cannot be read stays beside it. Blocks. Raises ``OSError``."""
    path = state / FILE
    try:
        _read(state)
    except FileNotFoundError:
        pass
    except (UnreadableError, ValueError, RecursionError):
        # a second name: without the first one, a crash in between would release everything
        with contextlib.suppress(OSError):
            os.link(path, f"{path}{small_file.SUFFIX}", follow_symlinks=False)
    replace_private(path, msgspec.json.encode(restored))


def _read(state: Path) -> Restored:
    found = msgspec.json.decode(small_file.read(state / FILE, limit=LIMIT), type=Restored)
    if not (is_time(found.backup_at) and is_time(found.restored_at)):
        raise ValueError("a time that no calendar knows")
    return found
