"""Keeps what ``core.lived`` has to know, over restarts."""

from pathlib import Path
from typing import Final

import msgspec
from loguru import logger

from waguard.core.host import lived as policy
from waguard.core.host.lived import Lived
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.memory.writes import Writes
from waguard.host.small_file import UnreadableError
from waguard.ports.clock import Clock

FILE: Final = "clock.json"
SAVED_EVERY: Final = (
    60.0  # s; what a daemon lived since then is a gap to the next one, if it is long
)


class LivedTime:
    """Fills ``ports.clock.Ages``. Each question reads the clocks first: what is asked in the moment
    after a step counts, too."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / FILE
        self._clock = clock
        self._read_at: float | None = None
        self._unknown = False
        """The file is there, and the system did not let it be read: it is not replaced."""
        self._lived = self._read()
        self._writes = Writes("the clock's file cannot be written")
        self._read_clocks()  # what comes from here on is lived

    def age(self, since: float) -> float:
        """See ``ports.clock.Ages``."""
        lived = self._read_clocks()
        return policy.age(lived, now=lived.at, since=since)

    def ago(self, seconds: float) -> float:
        """See ``ports.clock.Ages``."""
        lived = self._read_clocks()
        return policy.ago(lived, now=lived.at, seconds=seconds)

    def save(self) -> None:
        """Blocks; what cannot be written is said once, and written the next time."""
        self._read_clocks()
        if self._unknown:
            return
        with self._writes.attempt():
            replace_private(self._path, msgspec.json.encode(self._lived))

    def _read_clocks(self) -> Lived:
        now, moment = self._clock.wall(), self._clock.monotonic()
        starts = self._read_at is None
        passed = 0.0 if self._read_at is None else moment - self._read_at
        before, self._read_at = self._lived, moment
        self._lived = lived = policy.seen(before, now=now, passed=passed)
        if before is None:
            return lived
        ahead = now - before.at - passed
        if abs(ahead) > policy.STEP:
            # at a start it is as a rule the time since the last daemon
            level, words = "WARNING", "the clock was set; the step counts for no age"
            if starts and ahead > 0:
                level, words = "INFO", "no daemon ran, or the clock was set: it counts for no age"
            logger.log(level, words, event="clock_jumped", by=round(ahead))
        return lived

    def _read(self) -> Lived | None:
        try:
            return self._decoded()
        except FileNotFoundError:
            return None
        except UnreadableError as error:
            self._unknown = damaged.stays(self._path, error)
            if not self._unknown:
                damaged.quarantine(self._path, error)
            return None

    def _decoded(self) -> Lived:
        content = small_file.read(self._path)
        try:
            found = msgspec.json.decode(content, type=Lived)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"it is not a file of lived time: {error}") from None
        edges = [edge for gap in found.gaps for edge in gap]
        if edges != sorted(edges) or any(edge > found.at for edge in edges):
            raise UnreadableError("its times are out of order")
        return found
