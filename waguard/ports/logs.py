"""The level of the log."""

from typing import Protocol

from waguard.config.sections import Level, Log


class LogLevels(Protocol):
    """From which level on is logged, and who asked for another one than is configured."""

    @property
    def configured(self) -> Log:
        """As it was last read."""

    @property
    def effective(self) -> Log:
        """As it is."""

    def ask(self, level: Level | None, *, by: str) -> None:
        """Log from this level on, until the restart; None: as configured. ``by``: who asked."""
