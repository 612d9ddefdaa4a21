"""The machine's clocks behind ``ports.clock.Clock``."""

import time


class SystemClock:
    """Fills ``ports.clock.Clock``."""

    def wall(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


def since_boot() -> float:
    """Seconds that never jump, and that count while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
