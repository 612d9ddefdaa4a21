"""``<paths.sessions>/waguard-installation.json``: the marker of the installation beside its profiles."""

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from waguard.core.installation import Marker
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.small_file import UnreadableError

FILE: Final = "waguard-installation.json"


def read(sessions: Path) -> Marker | None:
    """The marker; None: there is none. One that is damaged is one without a name. Raises ``OSError`` where the
    system does not let it be read now."""
    path = sessions / FILE
    try:
        return msgspec.json.decode(small_file.read(path), type=Marker)
    except FileNotFoundError:
        return None
    except (UnreadableError, ValueError, RecursionError) as error:
        if isinstance(error, UnreadableError) and error.by_system:
            raise OSError(f"{path}: {error}") from None
        return Marker(installation="")


def is_bare(sessions: Path) -> bool:
    """Whether nothing is in the folder, or it is missing."""
    try:
        return next(sessions.iterdir(), None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False


def write(sessions: Path, marker: Marker) -> None:
    """Whole or not at all; what is damaged is quarantined before. Raises ``OSError``, ``WaguardError``."""
    found = read(sessions)
    if found and not found.installation:
        with contextlib.suppress(OSError):
            small_file.quarantine(sessions / FILE)
    replace_private(sessions / FILE, msgspec.json.encode(marker))
