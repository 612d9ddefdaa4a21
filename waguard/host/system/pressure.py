"""Whether the machine has more to do than it can."""

import os
from pathlib import Path
from typing import Final

SATURATED: Final = 40.0  # % of the last 10 s in which some task waited for a core
SATURATED_LOAD: Final = 1.5  # runnable tasks a core, where the kernel keeps no such account


def cpu_is_saturated(account: Path = Path("/proc/pressure/cpu")) -> bool:
    """By the kernel's pressure stall information, or else by the load of the last minute."""
    try:
        words = account.read_text().split()
        return float(words[1].removeprefix("avg10=")) > SATURATED
    except (OSError, IndexError, ValueError):
        return os.getloadavg()[0] > SATURATED_LOAD * (os.cpu_count() or 1)
