"""What concerns all sessions at once, on the trail of the fleet: when it began, when it ended."""

from collections.abc import Collection, Mapping
from typing import Any

from loguru import logger

from waguard.core.blame import Condition
from waguard.core.incidents import FLEET_ENDS, fleet_condition
from waguard.supervision.ledger import Trail


class Outages:
    """Kinds are those of ``core.incidents.FLEET_ENDS``."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._open: dict[str, tuple[str, float]] = {}

    def tell(self, kind: str, why: str | None, evidence: Mapping[str, Any] | None = None) -> None:
        """``why`` it is so, None: it is not. Only a change is news."""
        before, since = self._open.get(kind, (None, self._trail.clock.wall()))
        if why is not None:
            self._open[kind] = why, since
            if before is None:
                logger.error(kind.replace("_", " "), event=kind, condition=kind, why=why)
                self._trail.record(kind, reason=why, evidence=dict(evidence or {}))
        elif before is not None:
            del self._open[kind]
            ended = FLEET_ENDS[kind]
            logger.warning(ended.replace("_", " "), event=ended, condition=kind, was=before)
            self._trail.record(ended, reason=before)

    def why(self, kind: str) -> str | None:
        """As it was told last; None: it is not so."""
        why, _ = self._open.get(kind, (None, 0.0))
        return why

    @property
    def all(self) -> Collection[str]:
        """Every reason, in the order in which they began."""
        return [why for why, _ in self._open.values()]

    @property
    def conditions(self) -> list[Condition]:
        """The same, as people see them."""
        return [
            fleet_condition(kind, why, since=since) for kind, (why, since) in self._open.items()
        ]
