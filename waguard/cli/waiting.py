"""Who waits says so: after two seconds one line on stderr, and another one only where the reason is another."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from waguard.cli import output
from waguard.errors import printable

SAYS_AFTER: Final = 2.0  # s
Reason = Callable[[], str | None]

_speaking = threading.Lock()
"""Held by whoever says what it waits for: what waits inside of that, or beside it, says nothing."""


class Waiting:
    """``after``: seconds; None: never. While its body runs. ``why`` may ask the daemon: it is called in a thread of its own, at most once a line."""

    def __init__(self, what: str, why: Reason, *, after: float | None = SAYS_AFTER) -> None:
        self._what = what
        self._why = why
        self._timer = threading.Timer(after or 0.0, self.say)
        self._timer.daemon = True
        self._silent = after is None
        self._speaks = False
        self._said = False
        self._saying = threading.Lock()  # the timer's thread and the waiting one both say
        self._reason = ""

    def __enter__(self) -> Self:
        self._speaks = not self._silent and _speaking.acquire(blocking=False)
        if self._speaks:
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._speaks:
            _speaking.release()
            self._speaks = False

    def say(self) -> None:
        """Say the reason as it is now."""
        self._said = True
        with self._saying:
            reason = self._why() or "it has not answered yet"
            if self._speaks and reason != self._reason:
                self._reason = reason
                output.say(f"waiting for {self._what}: {printable(reason)}\n")

    def goes_on(self) -> None:
        """Say that the wait goes on, where the reason may be another one."""
        if self._said:
            self.say()
