"""Messages to send that the database does not take: who sends is answered at once, so nothing waits that would show it."""

import time
from collections.abc import Callable

from msgspec import Struct

from waguard.errors import DatabaseUnavailableError
from waguard.ports.messages import MessageStore


class Refusal(Struct, frozen=True):
    """Why none is kept, since then (monotonic)."""

    why: str
    since: float

    @property
    def age(self) -> float:
        """Seconds for which none was kept."""
        return time.monotonic() - self.since


class RefusedSends:
    """``go_on`` is called where the database takes them again, and nobody has sent one."""

    def __init__(self, store: MessageStore, go_on: Callable[[], None]) -> None:
        self._store = store
        self._go_on = go_on
        self.refusal: Refusal | None = None
        """From the first that was refused until one is kept; None: they are kept, as far as is known."""

    def begin(self, error: DatabaseUnavailableError) -> None:
        """One was not kept."""
        if self.refusal is None:
            self.refusal = Refusal(error.message, time.monotonic())

    def end(self) -> None:
        """One was kept."""
        self.refusal = None

    async def check(self) -> None:
        """Ask whether one would be kept, where the last one was not."""
        if not (before := self.refusal):
            return
        try:
            await self._store.try_outbox()
        except DatabaseUnavailableError:
            return
        if self.refusal is before:
            self.end()
            self._go_on()
