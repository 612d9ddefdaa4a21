"""``<paths.state>/backup.json``: when the last backup was made."""

from pathlib import Path
from typing import Final

import msgspec

from waguard.core.backup_contents import LastBackup
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.small_file import UnreadableError

FILE: Final = "backup.json"
LIMIT: Final = 16 << 20  # bytes


def read(state: Path) -> LastBackup | None:
    """None: none was ever made. Raises ``UnreadableError`` where nothing is known of it, ``OSError``."""
    try:
        return msgspec.json.decode(small_file.read(state / FILE, limit=LIMIT), type=LastBackup)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is not the note of a backup: {error}") from None


def write(state: Path, last: LastBackup) -> None:
    """Whole or not at all. Blocks. Raises ``OSError``."""
    replace_private(state / FILE, msgspec.json.encode(last))
