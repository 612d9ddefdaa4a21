"""The machine's clocks behind ``ports.Clock``."""

import time


class SystemClock:
    """Fills ``ports.Clock``."""

    def wall(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()
