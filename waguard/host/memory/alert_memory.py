"""``<paths.state>/alerts.json``: which alerts each destination was sent, for the next daemon."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from waguard.core.alerts.alerts import Alert, AlertState, Destination
from waguard.core.replace import replace
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.memory.writes import Writes
from waguard.host.small_file import UnreadableError

FILE: Final = "alerts.json"
LIMIT: Final = 8 << 20  # bytes; a thousand alerts at each of ten destinations


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What one destination has."""

    reported: Mapping[str, Alert]
    causes: Mapping[str, float]
    at: float = 0.0

    @property
    def destination(self) -> Destination:
        """What a daemon knows of it that goes on from here."""
        return Destination(reported=self.reported, causes=self.causes, at=self.at)


def reported_of(it: Destination) -> Reported:
    """What is kept of it."""
    return Reported(reported=it.reported, causes=it.causes, at=it.at)


class AlertMemory:
    """All calls block. What cannot be written is logged once, and written at the next call. Threads may save at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._written: Mapping[str, Reported] = {}
        self._writes = Writes("the alerts that were sent cannot be written")
        self._saving = threading.Lock()
        self._unknown = False
        """The file is there, and the system did not let it be read: it is not replaced."""
        self.unreadable: str | None = None
        """What was wrong with the file that lay there, which is quarantined."""

    def load(self) -> AlertState:
        """The state that it tells; an empty one where there is no file that can be read."""
        try:
            self._written = self._read()
        except FileNotFoundError:
            pass
        except UnreadableError as error:
            self._report(error)
        destinations = {name: it.destination for name, it in self._written.items()}
        return replace(AlertState(), destinations=destinations)

    def save(self, state: AlertState) -> None:
        """Replace all of it; nothing is written where nothing has changed."""
        with self._saving:
            self._save(state)

    def _report(self, error: UnreadableError) -> None:
        self._unknown = damaged.stays(self.path, error)
        if not self._unknown:
            self.unreadable = str(error)
            damaged.quarantine(self.path, error)

    def _save(self, state: AlertState) -> None:
        known = {**state.unlisted, **state.destinations}
        kept = {name: reported_of(it) for name, it in known.items()}
        if kept == self._written or self._unknown:
            return
        with self._writes.attempt():
            replace_private(self.path, msgspec.json.encode(kept))
            self._written = kept

    def _read(self) -> Mapping[str, Reported]:
        content = small_file.read(self.path, limit=LIMIT)
        try:
            return msgspec.json.decode(content, type=dict[str, Reported])
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"it is not a file of alerts: {error}") from None
