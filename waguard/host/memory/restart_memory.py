"""``<paths.state>/restarts.json``: how often sessions were restarted, which are not linked any more, and which wait for
a person, for the next daemon."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from waguard.core.session import restart
from waguard.core.session.restart import Remembered
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.memory.writes import Writes
from waguard.host.small_file import UnreadableError
from waguard.ports.clock import Clock

FILE: Final = "restarts.json"
LIMIT: Final = 8 << 20  # bytes; as many sessions and restarts as are kept, with the longest names


class RestartMemory:
    """All calls block. What cannot be written is logged once, and written at the next call."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.path = folder / FILE
        self._clock = clock
        self._written: Mapping[str, Remembered] = {}
        self._writes = Writes("the history of restarts cannot be written")
        self._unknown = False
        """The file is there, and the system did not let it be read: it is not replaced."""
        self.unreadable: str | None = None
        """What was wrong with the file that lay there, which is quarantined."""

    def load(self) -> Mapping[str, Remembered]:
        """By session; nothing where there is no file that can be read."""
        try:
            self._written = self._read()
        except FileNotFoundError:
            return {}
        except UnreadableError as error:
            self._unknown = damaged.stays(self.path, error)
            if not self._unknown:
                self.unreadable = str(error)
                damaged.quarantine(self.path, error)
            return {}
        return restart.credible(self._written, now=self._clock.wall())

    def save(self, memory: Mapping[str, Remembered]) -> None:
        """Replace all of it; nothing is written where nothing has changed."""
        kept = restart.worth_keeping(memory)
        if kept == self._written or self._unknown:
            return
        with self._writes.attempt():
            replace_private(self.path, msgspec.json.encode(kept))
            self._written = kept

    def _read(self) -> dict[str, Remembered]:
        content = small_file.read(self.path, limit=LIMIT)
        try:
            found = msgspec.json.decode(content, type=dict[str, Remembered])
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"it is not a history of restarts: {error}") from None
        for one in found.values():
            times = (*one.counted, one.unlinked_at or 0.0, one.parked_at or 0.0)
            if one.restarts < 0 or one.tries < 0 or any(at < 0 for at in times):
                raise UnreadableError("it has numbers below zero")
        return found
