"""The kernel's pressure stall information: whether tasks wait for a core, or for memory."""

import os
import re
from pathlib import Path
from typing import Final

SATURATED: Final = 40.0  # % of the last 10 s in which some task waited for a core
SATURATED_LOAD: Final = 1.5  # runnable tasks a core, where the kernel keeps no such account
_SOME: Final = re.compile(r"^some .*?avg10=(\d+(?:\.\d+)?)", re.MULTILINE)


def cpu_is_saturated(account: Path = Path("/proc/pressure/cpu")) -> bool:
    """By the kernel's pressure stall information, or else by the load of the last minute."""
    try:
        words = account.read_text().split()
        return float(words[1].removeprefix("avg10=")) > SATURATED
    except (OSError, IndexError, ValueError):
        return os.getloadavg()[0] > SATURATED_LOAD * (os.cpu_count() or 1)


def memory_pressure(root: Path = Path("/")) -> float | None:
    """% of the last 10 s in which some task waited for memory; None: this kernel keeps no such account."""
    try:
        found = _SOME.search((root / "proc/pressure/memory").read_text())
    except (OSError, UnicodeDecodeError):
        return None
    return float(found[1]) if found else None
