"""What is kept of WhatsApp's versions."""

import os
from pathlib import Path

from waguard.doctor.checks.versions import Kept
from waguard.host import small_file
from waguard.host.memory.documents import FOLDER
from waguard.host.memory.version_memory import FILE, LIMIT
from waguard.host.small_file import UnreadableError


def kept(state: Path) -> Kept:
    """Read ``paths.state``."""
    folder, file = state / FOLDER, state / FILE
    try:
        os.scandir(folder).close()
    except FileNotFoundError:
        pass
    except OSError as error:
        return Kept(path=str(folder), problem=f"cannot be read: {error.strerror}")
    try:
        small_file.read(file, limit=LIMIT)
    except FileNotFoundError:
        pass
    except UnreadableError as error:
        return Kept(path=str(file), problem=f"cannot be read: {error}")
    return Kept(path=str(folder))
