"""When each session may send its next message."""

import random
import time
from collections.abc import Callable

from waguard.config import Send
from waguard.policy.pacing import FRESH, Pace, Paced, after, changed, next_at


class Turns:
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
        self._pace = Pace()
        self._paced: dict[str, Paced] = {}

    def take(self, session_id: str) -> float:
        """Seconds until the session may send its next message; 0: now, and its turn is taken."""
        now = self._clock()
        self._refresh(now)
        paced = self._paced.get(session_id, FRESH)
        if (wait := next_at(self._pace, paced, now=now) - now) > 0:
            return wait
        self._paced[session_id] = after(self._pace, paced, at=now, chance=self._chance())
        return 0.0

    def _refresh(self, now: float) -> None:
        """Take what was configured meanwhile."""
        send = self._settings()
        pace = Pace(rate=send.rate, burst=send.burst, gap=send.gap)
        if pace != self._pace:
            self._pace = pace
            self._paced = {s: changed(pace, paced, now=now) for s, paced in self._paced.items()}
