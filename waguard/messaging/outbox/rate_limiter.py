"""When each session may send its next message."""

import random
import time
from collections.abc import Callable

from waguard.config.sections import Send
from waguard.core.messages.pacing import FRESH, Pace, Paced, after, changed, next_at


class RateLimiter:
    """``settings`` are read at each question; ``clock`` is monotonic, ``chance`` in [0, 1)."""

    def __init__(
        self,
        settings: Callable[[], Send],
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._paces: dict[bool, Pace] = {}
        """The paces of all messages, and of those of a bulk."""
        self._paced: dict[tuple[str, bool], Paced] = {}

    def acquire(self, session_id: str, *, bulk: bool) -> float:
        """Seconds until the session may send its next message; 0: now, and the message counts."""
        now = self._clock()
        self._refresh(now)
        kinds = (False, True) if bulk else (False,)
        before = {kind: self._paced.get((session_id, kind), FRESH) for kind in kinds}
        at = max(next_at(self._paces[kind], paced, now=now) for kind, paced in before.items())
        if at > now:
            return at - now
        for kind, paced in before.items():
            went = after(self._paces[kind], paced, at=now, chance=self._chance())
            self._paced[session_id, kind] = went
        return 0.0

    def forget(self, session_id: str) -> None:
        """Another host sends its messages."""
        for kind in self._paces:
            self._paced.pop((session_id, kind), None)

    def _refresh(self, now: float) -> None:
        """Apply what was configured meanwhile."""
        send = self._settings()
        paces = {
            False: Pace(rate=send.rate, burst=send.burst, gap=send.gap),
            True: Pace(gap=(send.bulk_gap, send.bulk_gap)),
        }
        if paces != self._paces:
            self._paces = paces
            for (session_id, kind), paced in self._paced.items():
                self._paced[session_id, kind] = changed(paces[kind], paced, now=now)
