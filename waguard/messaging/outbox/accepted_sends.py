"""The messages that are accepted and not begun, and those that are on their way."""

import asyncio
import contextlib
from collections.abc import Iterator

from waguard.errors import TooManyError
from waguard.messaging.outbox.pending_sends import PendingSend


class AcceptedSends:
    """At most ``at_most`` wait."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._waiting: dict[int, PendingSend] = {}
        """By id."""
        self._going: set[PendingSend] = set()
        """Being kept, or sent."""
        self._ended = asyncio.Event()
        self.closing = False
        """Nothing more is begun."""

    def __len__(self) -> int:
        """How many are accepted and not begun."""
        return len(self._waiting)

    def __contains__(self, pending: PendingSend) -> bool:
        """Whether it is accepted, and not begun."""
        return pending.id in self._waiting

    def require_places(self, count: int) -> None:
        """For messages that wait. Raises ``TooManyError``."""
        if len(self) + count > self._at_most:
            raise TooManyError(
                f"{len(self)} messages wait already",
                remedy="see `waguard messages list --state accepted` (GET /api/messages?state=accepted)",
                retry_after=60,
            )

    def add(self, pending: PendingSend) -> None:
        """Add a message that waits."""
        self._waiting[pending.id] = pending

    def get(self, number: int) -> PendingSend | None:
        """The message, where it waits."""
        return self._waiting.get(number)

    def pop(self, number: int) -> PendingSend | None:
        """Take out a message that begins, or has ended."""
        return self._waiting.pop(number, None)

    @contextlib.contextmanager
    def on_its_way(self, pending: PendingSend) -> Iterator[None]:
        """While the body keeps or sends it, ``abandon`` reaches it too."""
        self._going.add(pending)
        try:
            yield
        finally:
            self._going.discard(pending)
            self._ended.set()

    def going(self, session_id: str) -> list[PendingSend]:
        """Those of a session that are being kept, or sent."""
        return [pending for pending in self._going if pending.session_id == session_id]

    async def none_going(self, session_id: str, timeout: float) -> None:
        """Wait at most ``timeout`` s until none of a session is being kept, or sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.going(session_id):
                    self._ended.clear()
                    await self._ended.wait()

    def waiting(self, session_id: str) -> list[PendingSend]:
        """The others of a session."""
        ours = (it for it in self._waiting.values() if it.session_id == session_id)
        return [pending for pending in ours if pending not in self._going]
