"""Small JSON files of waguard's own in a profile: whole or not at all."""

import errno
import json
from pathlib import Path
from typing import Any

from waguard.host import small_file
from waguard.host.files.private_files import sync_folder, write_private
from waguard.host.small_file import UnreadableError


def read(path: Path) -> Any:
    """JSON; None where there is none, or something else. Raises ``OSError`` where the system does not let it be read now:
    what it says is unknown."""
    try:
        return json.loads(small_file.read(path))
    except UnreadableError as error:
        if error.by_system:
            raise OSError(errno.EIO, str(error), str(path)) from None
        return None
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def is_there(path: Path) -> bool:
    """Whether there is one, whatever it says. Raises ``OSError`` where that is not known now."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write(path: Path, content: Any) -> None:
    """JSON, whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    write_private(draft, json.dumps(content).encode() + b"\n")
    draft.replace(path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Where there is one."""
    path.unlink(missing_ok=True)
