"""What the API answered while a receiver handled a message."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct, field

from waguard.core.webhooks.call_backs import Asked, Fate, fate_of


class Window(Struct, eq=False):
    """A message on its way: what was answered meanwhile to whoever asked."""

    session_id: str
    health: Asked = field(default_factory=Asked)
    status: Asked = field(default_factory=Asked)
    shared: bool = False

    @property
    def fate(self) -> Fate:
        """The fate of the message, if its receiver says 2xx now."""
        return fate_of((self.health, self.status), shared=self.shared)


class CallBacks:
    """The API says what it answered, the webhooks open a window around each message."""

    def __init__(self) -> None:
        self._open: set[Window] = set()
        self.doors: list[Callable[[], Awaitable[None]]] = []
        """Those of the API: each returns when the questions are known whose clients have left until now."""

    @contextlib.contextmanager
    def watching(self, session_id: str) -> Iterator[Window]:
        """While the body runs, a message of this session is at a receiver that calls back."""
        window = Window(session_id)
        for other in self._open:
            if other.session_id == session_id:
                other.shared = window.shared = True
        self._open.add(window)
        try:
            yield window
        finally:
            self._open.discard(window)

    async def caught_up(self) -> None:
        """A receiver has answered: what it asked before, and has given up, may be unread. Returns when that is known, soon."""
        for door in self.doors:
            await door()

    def health_answered(self, *, good: bool) -> None:
        """/health was answered; it concerns all."""
        for window in self._open:
            window.health = window.health.answered(good=good)

    def status_answered(self, session_id: str, *, good: bool) -> None:
        """The status of a session was answered: connected, or anything else."""
        for window in self._open:
            if window.session_id == session_id:
                window.status = window.status.answered(good=good)
