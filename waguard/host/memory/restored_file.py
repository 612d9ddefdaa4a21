"""``<paths.state>/restored.json``: that this installation was restored from a backup, and what waits since then."""

import time
from pathlib import Path
from typing import Final

import msgspec

from waguard.core.restored import Restored, unreadable
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.small_file import UnreadableError

FILE: Final = "restored.json"
LIMIT: Final = 16 << 20  # bytes; all sessions, with the longest names


def read(state: Path) -> Restored | None:
    """None: it was never restored. What cannot be read stays as it is, and all waits that may have to."""
    try:
        return msgspec.json.decode(small_file.read(state / FILE, limit=LIMIT), type=Restored)
    except FileNotFoundError:
        return None
    except (UnreadableError, ValueError, RecursionError):
        return unreadable(time.time())


def write(state: Path, restored: Restored) -> None:
    """Whole or not at all. Blocks. Raises ``OSError``."""
    replace_private(state / FILE, msgspec.json.encode(restored))
