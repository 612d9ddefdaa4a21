"""``<paths.state>/keys.json``: the keys that waguard issued, by their SHA-256.

The daemon alone writes it. What cannot be read stays as it is: it is evidence, and a new file in its place would
revoke every key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from waguard.core import issued_keys
from waguard.core.issued_keys import VERSION, IssuedKey
from waguard.host import small_file
from waguard.host.files.ownership import refusals
from waguard.host.files.private_files import replace_private
from waguard.host.small_file import UnreadableError

FILE: Final = "keys.json"
LIMIT: Final = 16 << 20  # bytes; as many keys as there may be, with the longest scopes


class _Head(msgspec.Struct):
    version: int


class _File(_Head):
    keys: tuple[IssuedKey, ...]


def read(path: Path) -> Sequence[IssuedKey]:
    """All keys; () where there is no file. Raises ``UnreadableError``."""
    try:
        content = small_file.read(path, limit=LIMIT)
        _require_private(path)
        version = msgspec.json.decode(content, type=_Head).version
        if version != VERSION:
            raise UnreadableError(f"it has version {version}, and this waguard knows {VERSION}")
        keys = msgspec.json.decode(content, type=_File).keys
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UnreadableError(error.strerror or str(error), by_system=True) from None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is not a file of keys: {error}") from None
    if issued_keys.has_twins(keys):
        raise UnreadableError("it has a key twice")
    return keys


def state(path: Path) -> tuple[int, int, int] | None:
    """Inode, bytes, and nanoseconds of the last change: others where somebody has written the file. None: there is none
    that can be asked."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_ctime_ns


def write(path: Path, keys: Sequence[IssuedKey]) -> None:
    """Whole or not at all. Blocks. Raises ``OSError``, ``WaguardError``."""
    replace_private(path, msgspec.json.encode(_File(version=VERSION, keys=tuple(keys))))


def _require_private(path: Path) -> None:
    """Whoever can write it makes keys."""
    for it in refusals(path):
        if it.severe:
            raise UnreadableError(f"{it.path} {it.why} ({it.command})")
