"""Names that the log and its readers share. Stdlib only: ``waguard logs`` reads it."""

from typing import Final

PRIORITIES: Final = {"DEBUG": 7, "INFO": 6, "SUCCESS": 5, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
"""The priorities of syslog, by level; sd-daemon(3)."""
FIELDS: Final = "WAGUARD_FIELDS"
"""Field of a journal's entry: all of it, as JSON."""
