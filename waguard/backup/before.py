"""What is known of the backups before this one: which archives have credentials that this one lacks.

Where their note is damaged, or missing beside archives, nobody knows it, and none of those archives is deleted.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from waguard.config.sections import Config
from waguard.core import backup_contents as policy
from waguard.core.backup_contents import Holder, LastBackup, Row, SavedSession
from waguard.errors import ConflictError
from waguard.host import small_file
from waguard.host.files.acting import as_owner_of
from waguard.host.memory import last_backup
from waguard.host.small_file import UnreadableError
from waguard.profile import layout, owner_mark, quarantine


class Before(Struct, frozen=True):
    """``last`` None: none was made, or ``wrong`` says what is wrong with its note."""

    last: LastBackup | None
    wrong: UnreadableError | None = None
    is_lost: bool = False
    """There is no note, although there are archives."""

    def unknown_before(self, now: float) -> float | None:
        """See ``Manifest.unknown_before``."""
        if self.wrong or self.is_lost:
            return now
        return self.last.unknown_before if self.last else None

    def require_mounted(self, config: Config, known: Sequence[Row]) -> None:
        """A backup without credentials would in time replace those that have them. Raises ``ConflictError``."""
        why, remedy = policy.why_unmounted(known, self.last), "mount its disk"
        if why is None and self.wrong:
            note = config.paths.state / last_backup.FILE
            why = f"what the last backup has is not known: {note}: {self.wrong}"
            remedy += f", or move {note} away where there never was a session"
        if why:
            raise ConflictError(
                f"{config.paths.sessions} has no marker, no profile and no snapshot, and {why}",
                field="paths.sessions",
                value=str(config.paths.sessions),
                remedy=f"{remedy}; no backup was made",
            )

    def needed(
        self, sessions: Path, found: Sequence[SavedSession], known: Sequence[Row]
    ) -> list[Holder]:
        """Those of the archives that may still be needed. ``found``: what this backup has of the disk."""
        holders = self.last.holders if self.last else ()
        saved = {it.session for it in found if it.snapshot is not None}
        if all(it.session in saved for it in holders):
            return list(holders)
        left = dict[str, float]()
        with contextlib.suppress(OSError), as_owner_of(sessions):  # unknown: their archives stay
            for it in quarantine.quarantined(sessions):
                workspace, _, session = it.session.partition("/")
                if not _was_damaged(layout.path(sessions, int(workspace), session)):
                    left[session] = it.at
        return policy.needed(holders, saved, known, left)

    def replace(self, state: Path, last: LastBackup) -> None:
        """Write the note of this backup; what is damaged is quarantined before, and what the system does not let be read
        now stays. Raises ``OSError``."""
        with as_owner_of(state):
            if self.wrong and self.wrong.by_system:
                return
            if self.wrong:
                small_file.quarantine(state / last_backup.FILE)
            last_backup.write(state, last)


def read(state: Path, *, archives: bool) -> Before:
    """What the note says. ``archives``: there are some beside the new one. Raises ``OSError``."""
    with as_owner_of(state):
        try:
            last = last_backup.read(state)
            return Before(last, is_lost=archives and last is None)
        except UnreadableError as error:
            return Before(None, error)


def _was_damaged(profile: Path) -> bool:
    """Whether another one lies in its place that nobody has logged out."""
    return owner_mark.was_ours(profile) and not owner_mark.logged_out(profile)
