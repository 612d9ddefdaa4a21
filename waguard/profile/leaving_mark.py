"""The mark of a profile whose session is being logged out: until it is in the quarantine, it must not be used.

The daemon writes it before the row says so, while a worker may still hold the profile's lock. A daemon that is
ended in the middle leaves it, and the next one ends what was begun. A row that is down and unpaired does not show
that: an import leaves one, too.
"""

from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.host.files.private_files import private_folders
from waguard.profile import mark_files

LEAVING: Final = "waguard-leaving.json"


_ANY: Final = -1
"""Before the generation of every row."""


class Leaving(Struct, frozen=True):
    """``generation``: the row's when the logout began, which raised it where the row was written."""

    generation: int
    why: str


def write(profile: Path, leaving: Leaving) -> None:
    """Mark it, which need not be there: its snapshots may. Raises ``OSError``."""
    private_folders(profile)
    mark_files.write(profile / LEAVING, {"generation": leaving.generation, "why": leaving.why})


def read(profile: Path) -> Leaving | None:
    """None: it does not leave. Of a damaged mark only the row can say whether the logout was begun. Raises ``OSError`` where
    that cannot be read now."""
    mark = mark_files.read(profile / LEAVING)
    try:
        return Leaving(int(mark["generation"]), str(mark["why"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        is_there = mark_files.is_there(profile / LEAVING)
        return Leaving(_ANY, "a logout was begun, and its mark is damaged") if is_there else None


def remove(profile: Path) -> None:
    """Unmark a profile that stays, or has left."""
    mark_files.remove(profile / LEAVING)


def carry(profile: Path, other: Path) -> None:
    """Have ``other``, which takes the place of ``profile``, leave as well. Raises ``OSError``."""
    if leaving := read(profile):
        write(other, leaving)
