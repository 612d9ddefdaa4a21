"""An event loop whose clock jumps to the next timer instead of waiting for it.

Only for code that touches no socket, pipe or process: real I/O still in flight would look like
idleness, and the clock would jump past its timeouts.
"""

import asyncio
import selectors


class _JumpingSelector(selectors.SelectSelector):
    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled and nothing can wake the loop")
        self.skipped += max(timeout, 0.0)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Start at zero and move only when every task sleeps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that were skipped."""
        return round(self._jumping.skipped, 9)
