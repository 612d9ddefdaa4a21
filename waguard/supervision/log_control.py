"""How much is logged, while it runs: as configured, or as somebody asked for until the restart."""

from collections.abc import Callable

import msgspec
from loguru import logger

from waguard.config.sections import Level, Log
from waguard.supervision.status_writer import AuditLog

KIND = "log_level"
"""The kind of the entry on the trail of the fleet."""


class LogControl:
    """Fills ``ports.logs.LogLevels``. ``apply`` makes the daemon and its workers log like this."""

    def __init__(self, configured: Log, trail: AuditLog, apply: Callable[[Log], None]) -> None:
        self._configured = configured
        self._asked: Level | None = None
        self._trail = trail
        self._apply = apply

    @property
    def configured(self) -> Log:
        """As it was last read."""
        return self._configured

    @property
    def effective(self) -> Log:
        """As it is."""
        return msgspec.structs.replace(
            self._configured, level=self._asked or self._configured.level
        )

    def configure(self, log: Log) -> None:
        """The configuration was read again. Another section than before ends what somebody asked for."""
        if log != self._configured:
            self._configured, self._asked = log, None
            self._apply(self.effective)

    def ask(self, level: Level | None, *, by: str) -> None:
        """Log from this level on, until the restart; None: as configured. ``by``: who asked."""
        before = self.effective
        self._asked = level
        after = self.effective
        if after == before:
            return
        self._apply(after)
        why = f"{by} asked for it; it ends at the restart" if level else f"{by} ended it"
        # seen at every level: whoever reads the log has to know why it is another one
        logger.warning(
            "log level changed", event=KIND, before=before.level, after=after.level, why=why
        )
        self._trail.record(KIND, before=before.level, after=after.level, reason=why)
