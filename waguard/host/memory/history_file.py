"""``<paths.state>/history``: what the fleet and its sessions were like, over restarts.

Nobody waits for the disk: a slot that is written in part when the machine dies is unknown, and no other one is
touched.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.core import history
from waguard.core.history import NAN, SESSION, Layout
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.memory.writes import Writes
from waguard.host.small_file import UnreadableError
from waguard.ports.clock import Clock

FILE: Final = "history"
LIMIT: Final = 16 << 20  # bytes; with places for 6,000 sessions
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class HistoryFile:
    """All calls block. What cannot be written is logged once, and is unknown."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.path = folder / FILE
        self._clock = clock
        self._layout = Layout()
        self._last: int | None = None
        """The minute that was written last."""
        self._of_sessions: tuple[int, dict[str, tuple[float, ...]]] = (0, {})
        """The span of sessions that is written now, and what is known of it."""
        self._writes = Writes("the history cannot be written")
        self.unreadable: str | None = None
        """What was wrong with the file that lay there, which is quarantined."""

    def read(self) -> tuple[Layout, bytes]:
        """The file as it is now; all is unknown where there is none. Raises ``UnreadableError``."""
        try:
            content = small_file.read(self.path, limit=LIMIT)
            return history.layout_of(content), content
        except FileNotFoundError:
            return Layout(), Layout().empty
        except (ValueError, RecursionError) as error:
            raise UnreadableError(str(error)) from None

    def load(self) -> None:
        """At the start: what is damaged is quarantined; what the system does not let be read stays."""
        try:
            self._load()
        except UnreadableError as error:
            logger.error(
                "the history cannot be read now; it stays as it is",
                event="file_unreadable",
                file=str(self.path),
                why=error,
            )

    def write(self, fleet: Mapping[str, float], sessions: Mapping[str, tuple[float, ...]]) -> None:
        """What is known now; ``sessions``: ``SESSION`` of each."""
        now = self._clock.wall()
        with self._writes.attempt():
            descriptor = self._opened(sessions, now)
            try:
                self._write(descriptor, fleet, sessions, now)
            finally:
                os.close(descriptor)

    def _opened(self, sessions: Mapping[str, object], now: float) -> int:
        """The file, with a place for each session."""
        with contextlib.suppress(FileNotFoundError):
            if self._last is not None and self._layout.has(sessions):
                descriptor = os.open(self.path, _FLAGS)
                if os.fstat(descriptor).st_size == self._layout.size:
                    return descriptor
                os.close(descriptor)
        self._prepare(sessions, now)
        return os.open(self.path, _FLAGS)

    def _prepare(self, sessions: Mapping[str, object], now: float) -> None:
        """At the first call, for a new session, and where somebody changed the file."""
        layout, content = self._load()
        if not (layout.has(sessions) and self.path.exists()):
            content = history.with_places(content, layout, sessions, now=now)
            layout = history.layout_of(content)
            replace_private(self.path, content)
        self._layout = layout

    def _load(self) -> tuple[Layout, bytes]:
        """Raises ``UnreadableError`` where nothing is known of its content."""
        try:
            return self.read()
        except UnreadableError as error:
            if error.by_system:
                raise
            self.unreadable = str(error)
            damaged.quarantine(self.path, error)
            return Layout(), Layout().empty

    def _write(
        self,
        descriptor: int,
        fleet: Mapping[str, float],
        sessions: Mapping[str, tuple[float, ...]],
        now: float,
    ) -> None:
        ring = self._layout.minutes
        minute = ring.span(now)
        values = [fleet.get(name, NAN) for name in self._layout.fleet]
        for span in history.due(self._last, minute):
            os.pwrite(descriptor, ring.encoded(span, values), ring.offset(span))
        self._write_means(descriptor, minute)
        self._write_sessions(descriptor, sessions, now)
        self._last = minute

    def _write_means(self, descriptor: int, minute: int) -> None:
        """Write those of spans that have ended since the last minute; at the first call, all whose minutes are there."""
        ring, means = self._layout.minutes, self._layout.means
        minutes = means.step // ring.step
        oldest, now = (minute - ring.slots) // minutes + 1, minute // minutes
        begin = oldest if self._last is None else max(oldest, self._last // minutes)
        for span in range(begin, now):
            first = span * minutes
            content = os.pread(descriptor, minutes * ring.size, ring.offset(first))
            slots = (content[at : at + ring.size] for at in range(0, len(content), ring.size))
            found = [ring.decoded(slot) for slot in slots]
            rows = [it[1] for it in found if it and first <= it[0] < first + minutes]
            if rows:
                mean = history.mean(rows, ring.width)
                os.pwrite(descriptor, means.encoded(span, mean), means.offset(span))

    def _write_sessions(
        self, descriptor: int, sessions: Mapping[str, tuple[float, ...]], now: float
    ) -> None:
        ring = self._layout.of_sessions
        span = ring.span(now)
        if self._of_sessions[0] != span:
            self._of_sessions = (span, {})
        known = self._of_sessions[1]
        known |= sessions
        unknown = (NAN,) * len(SESSION)
        values = [it for name in self._layout.sessions for it in known.get(name, unknown)]
        os.pwrite(descriptor, ring.encoded(span, values), ring.offset(span))
