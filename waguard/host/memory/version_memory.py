"""``<paths.state>/versions.json``: what is known of WhatsApp's versions, for the next daemon."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from waguard.core.versions.state import StateError, VersionState
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.memory.writes import Writes
from waguard.host.small_file import UnreadableError

FILE: Final = "versions.json"
LIMIT: Final = 1 << 20  # bytes; some dozens of versions, with 64 names of sessions each


class VersionMemory:
    """All calls block. What cannot be written is logged once, and written at the next call."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.written = b""
        """What lies there, as far as this daemon knows."""
        self._writes = Writes("versions cannot be remembered")
        self._unknown = False
        """The file is there, and the system did not let it be read: it is not replaced."""
        self.unreadable: str | None = None
        """What was wrong with the file that lay there, which is quarantined."""
        self.quarantined: Path | None = None
        """Where that file lies now."""

    @property
    def lost(self) -> bool:
        """Whether there is a file, and this daemon does not know what it says."""
        return self._unknown or self.unreadable is not None

    @property
    def refuses(self) -> str | None:
        """Why the last state was not written; None: it was."""
        return "it could not be read when waguard started" if self._unknown else self._writes.why

    def load(self, decode: Callable[[bytes], VersionState]) -> VersionState | None:
        """None: there is no file that can be read. ``decode`` raises ``StateError``."""
        try:
            content = small_file.read(self.path, limit=LIMIT)
            found = decode(content)
        except FileNotFoundError:
            return None
        except (UnreadableError, StateError) as error:
            self._unknown = damaged.stays(self.path, error)
            if not self._unknown:
                self.unreadable = str(error)
                self.quarantined = damaged.quarantine(self.path, error)
            return None
        self.written = content
        return found

    def save(self, content: bytes) -> None:
        """Replace all of it; nothing is written where nothing has changed."""
        if content == self.written or self._unknown:
            return
        with self._writes.attempt():
            replace_private(self.path, content)
            self.written = content
