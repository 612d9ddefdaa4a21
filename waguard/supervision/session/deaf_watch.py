"""Whether the page of a session still raises an event for each message that its chats get.

A page that does not looks healthy. So where no event came for a while its chats are asked whether they have
something new, and what they have is delivered by that. It is deaf where two such questions in a row found
messages and no event came meanwhile: one alone may have met a message that was just on its way.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from loguru import logger

from waguard.errors import WaguardError
from waguard.ports.clock import Clock
from waguard.wire.calls import CatchUp

QUIET: Final = 600.0  # s without an event after which the chats are asked
AGAIN: Final = 60.0  # s until they are asked once more, where they had something
STORED: Final = 5.0  # s for what was found to be stored: only then is it known to be new
SKEW: Final = 120.0  # s by which WhatsApp's clock and this one may differ
PROOFS: Final = 2


class DeafWatch:
    """``since``: monotonic time since which events could come, None: they cannot now. ``ask`` has the worker
    read the chats, ``record`` puts an entry on the audit trail."""

    def __init__(
        self,
        session: str,
        clock: Clock,
        *,
        since: Callable[[], float | None],
        ask: Callable[[CatchUp], Awaitable[object]],
        record: Callable[..., None],
    ) -> None:
        self._log = logger.bind(session=session)
        self._clock = clock
        self._since = since
        self._ask = ask
        self._record = record
        self._connected: float | None = None
        """The newest ``since``."""
        self._asking = False
        self._checked_at: float | None = None
        self._to_evaluate = False
        self._news = 0
        self._proofs = 0
        self.heard_at: float | None = None
        """Monotonic time of the last event for a message."""
        self.deaf_at: float | None = None
        """Monotonic time at which it was last shown to be deaf; None: it is not."""
        self.began = 0.0
        """Unix time of the first."""

    def heard(self) -> None:
        """An event came for a message."""
        self.heard_at = self._clock.monotonic()
        self._news = self._proofs = 0
        self._end()

    def backfilled(self, count: int) -> None:
        """So many messages are stored for which no event came."""
        if self._asking or self._to_evaluate:
            self._news += count

    @property
    def words(self) -> str | None:
        """What is wrong; None: nothing."""
        if self.deaf_at is None:
            return None
        return "its page raises no events: messages are read from its chats instead"

    def tick(self, begin: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        """Check the time; ``begin`` runs what has to wait for the page as a task."""
        since, now = self._since(), self._clock.monotonic()
        if (
            since != self._connected
        ):  # another page, or another link: what was asked of it says nothing
            self._connected, self._checked_at = since, None
            self._to_evaluate, self._news, self._proofs = False, 0, 0
        if since is None or self._asking:
            return
        if self._to_evaluate and now - (self._checked_at or since) >= STORED:
            self._evaluate()
        quiet = now - max(since, self.heard_at or since, self._checked_at or since)
        if not self._to_evaluate and quiet >= (AGAIN if self._proofs else QUIET):
            self._asking = True
            begin(self._check(quiet), "chats")

    async def _check(self, quiet: float) -> None:
        try:
            await self._ask(CatchUp(since={}, floor=int(self._clock.wall() - quiet - SKEW)))
            self._to_evaluate = True
        except WaguardError as error:
            self._log.debug("chats not read", why=error.line())
        finally:
            self._asking = False
            self._checked_at = self._clock.monotonic()

    def _evaluate(self) -> None:
        self._to_evaluate = False
        self._proofs = self._proofs + 1 if self._news else 0
        self._news = 0
        if self._proofs < PROOFS:
            return
        is_first, self.deaf_at = self.deaf_at is None, self._clock.monotonic()
        if is_first:
            self.began = self._clock.wall()
            self._log.warning(
                "the page raises no events", event="page_deaf", condition="deaf", why=self.words
            )
            self._record("page_deaf", reason=self.words)

    def _end(self) -> None:
        if self.deaf_at is None:
            return
        self.deaf_at = None
        self._log.info("the page raises events again", event="page_hears", condition="deaf")
        self._record("page_hears", reason="its page raises events again")
