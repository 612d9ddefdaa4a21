"""What concerns all sessions at once, on the trail of the fleet: when it began, when it ended."""

from collections.abc import Mapping
from typing import Any

from loguru import logger

from waguard.core.blame import Condition
from waguard.core.incidents.folding import fleet_condition
from waguard.core.incidents.kinds import FLEET_ENDS
from waguard.core.replace import replace
from waguard.supervision.status_writer import AuditLog


class Outages:
    """Kinds are those of ``core.incident_kinds.FLEET_ENDS``."""

    def __init__(self, trail: AuditLog) -> None:
        self._trail = trail
        self._open: dict[str, Condition] = {}

    def update(self, kind: str, why: str | None, evidence: Mapping[str, Any] | None = None) -> None:
        """``why`` it is so, None: it is not. Only a change is news."""
        if why is None:
            self._end(kind)
        else:
            self.report(fleet_condition(kind, why, since=self._trail.clock.wall()), evidence)

    def report(self, it: Condition, evidence: Mapping[str, Any] | None = None) -> None:
        """Report a condition of which more is known than ``why``. It keeps the time of its beginning."""
        before = self._open.get(it.type)
        self._open[it.type] = replace(it, since=before.since) if before else it
        if before is None:
            logger.error(
                it.type.replace("_", " "), event=it.type, condition=it.type, why=it.message
            )
            self._trail.record(it.type, reason=it.message, evidence=dict(evidence or {}))

    def now(self) -> float:
        """Unix time."""
        return self._trail.clock.wall()

    def _end(self, kind: str) -> None:
        if before := self._open.pop(kind, None):
            ended = FLEET_ENDS[kind]
            logger.warning(ended.replace("_", " "), event=ended, condition=kind, was=before.message)
            self._trail.record(ended, reason=before.message)

    def why(self, kind: str) -> str | None:
        """As it was reported last; None: it is not so."""
        found = self._open.get(kind)
        return found.message if found else None

    @property
    def conditions(self) -> list[Condition]:
        """All open ones, in the order in which they began."""
        return list(self._open.values())
