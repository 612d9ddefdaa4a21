"""A repeated line of the log is written once, and then how often it was repeated. Pure."""

from collections.abc import Hashable, Iterator, Mapping
from math import inf
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

WINDOW: Final = 60.0  # s
WINDOWS: Final = 1_000  # at a time; with more the oldest end early, …
KEPT: Final = 900  # … until there are so many
# fields that differ from one repetition to the next
_VARIES: Final = frozenset(
    {
        *("at", "attempt", "bytes", "characters", "count", "delay", "id", "key", "number"),
        *("repeated", "request", "seconds", "silent", "times", "within"),
    }
)
# a line about a change is written each time: without it the newest state would be missing
_CHANGES: Final = frozenset({"after", "condition"})

T = TypeVar("T")


def signature(level: str, text: str, fields: Mapping[str, Any]) -> Hashable | None:
    """What two lines have in common when one repeats the other; None: such a line is never a repetition."""
    parts: list[Hashable] = [level, text]
    for key, value in fields.items():
        if key in _CHANGES:
            return None
        if key not in _VARIES:
            parts.append(str(value) if isinstance(value, list) else value)
    return tuple(parts)


class _Window(Struct, Generic[T]):
    began: float
    repeated: int = 0
    last: T | None = None


class Repeated(Struct, Generic[T], frozen=True):
    """``line`` was repeated ``times`` times in ``seconds``, and not written."""

    line: T
    times: int
    seconds: float


class Fold(Generic[T]):
    """Counts the repeated lines of one process. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window[T]] = {}  # the oldest first
        self.ends = inf
        """When ``due`` has something to do."""

    def accept(self, what: Hashable, line: T, now: float) -> bool:
        """Whether to write the line; else it is counted. Call ``due`` first where ``ends`` has passed."""
        window = self._windows.get(what)
        if window is None:
            if not self._windows:
                self.ends = now + WINDOW
            elif len(self._windows) >= WINDOWS:
                self.ends = now
            self._windows[what] = _Window(now)
            return True
        window.repeated += 1
        window.last = line
        return False

    def due(self, now: float) -> Iterator[Repeated[T]]:
        """The repetitions of windows that have ended."""
        kept = KEPT if len(self._windows) >= WINDOWS else WINDOWS
        while self._windows:
            what, window = next(iter(self._windows.items()))
            if now < window.began + WINDOW and len(self._windows) <= kept:
                self.ends = window.began + WINDOW
                return
            del self._windows[what]
            if window.last is not None:
                self._windows[what] = _Window(now)
                yield Repeated(window.last, window.repeated, now - window.began)
        self.ends = inf

    def flush(self, now: float) -> Iterator[Repeated[T]]:
        """What all windows have counted, before the process ends."""
        windows, self._windows, self.ends = self._windows, {}, inf
        for window in windows.values():
            if window.last is not None:
                yield Repeated(window.last, window.repeated, now - window.began)
