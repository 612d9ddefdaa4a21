"""Which start of this host's daemon it is: other hosts seal for it what they forward, and what is sealed for an earlier one is
refused, however the clocks are.

A wall clock that is set back is a new start, too: what was in time once would be in time again.
"""

import secrets
from typing import Final

from waguard.ports.clock import Clock

SET_BACK: Final = 1.0  # s; what a clock is slewed by meanwhile
_BYTES: Final = 16


class HostStart:
    """Call it for the name of the start, which no other one has."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._name = secrets.token_hex(_BYTES)
        self._ahead = self._now_ahead()
        """Seconds by which the wall clock was ahead of the other one, at most."""

    def __call__(self) -> str:
        ahead = self._now_ahead()
        if ahead < self._ahead - SET_BACK:
            self._name, self._ahead = secrets.token_hex(_BYTES), ahead
        self._ahead = max(self._ahead, ahead)
        return self._name

    def _now_ahead(self) -> float:
        return self._clock.wall() - self._clock.monotonic()
