"""What one start leaves for the next: that Chromium ended in order, what the browser or the page showed that
the files do not, and which snapshots were put in place since the session was connected last.
"""

from pathlib import Path
from typing import Final

from waguard.core.profile.before_start import CredentialsLost, Damaged
from waguard.host.files.private_files import sync_folder, write_private
from waguard.profile import mark_files
from waguard.profile.lock import prove_held

CLEAN_EXIT: Final = "waguard-clean-exit"
TRIED: Final = "waguard-tried.json"
SUSPECT: Final = "waguard-suspect.json"
HOLDER: Final = "waguard-holder.json"
"""Which host has used the profile, since which epoch of the lease, where hosts share credentials."""


def mark_suspect(profile: Path, lock: int, finding: Damaged | CredentialsLost) -> None:
    """Record what a start showed that the files do not: the next one acts upon it."""
    prove_held(profile, lock)
    kind = "damaged" if isinstance(finding, Damaged) else "lost"
    mark_files.write(profile / SUSPECT, {"finding": kind, "why": finding.why})


def mark_clean_exit(profile: Path, lock: int) -> None:
    """Chromium has ended in order, everything is written."""
    prove_held(profile, lock)
    write_private(profile / CLEAN_EXIT, b"")
    sync_folder(profile)


def clear_clean_exit(profile: Path, lock: int) -> bool:
    """Whether it ended in order the last time; from now on it has not."""
    prove_held(profile, lock)
    was = (profile / CLEAN_EXIT).exists()
    mark_files.remove(profile / CLEAN_EXIT)
    return was


def tried(profile: Path) -> frozenset[str]:
    """What was put in place since the session was connected last."""
    mark = mark_files.read(profile / TRIED)
    return frozenset(map(str, mark)) if isinstance(mark, list) else frozenset()


def require_readable(profile: Path) -> None:
    """Raises ``OSError`` for a mark of the last start that cannot be read now."""
    for name in (TRIED, SUSPECT):
        mark_files.read(profile / name)


def proved(profile: Path, lock: int) -> None:
    """The session is connected: nothing is held against it, and each snapshot may be tried again."""
    prove_held(profile, lock)
    mark_files.remove(profile / TRIED)
    mark_files.remove(profile / SUSPECT)


def carry_holder(profile: Path, other: Path) -> None:
    """Have ``other``, which takes the place of ``profile``, say as well which host has used it."""
    if (note := mark_files.read(profile / HOLDER)) is not None:
        mark_files.write(other / HOLDER, note)
