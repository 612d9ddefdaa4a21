"""What concerns all sessions at once, on the trail of the fleet: when it began, when it ended."""

from collections.abc import Collection, Mapping
from typing import Any

from loguru import logger

from waguard.core.incidents import FLEET_ENDS
from waguard.supervision.ledger import Trail


class Outages:
    """Kinds are those of ``policy.incidents.FLEET_ENDS``."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._open: dict[str, str] = {}

    def tell(self, kind: str, why: str | None, evidence: Mapping[str, Any] | None = None) -> None:
        """``why`` it is so, None: it is not. Only a change is news."""
        before = self._open.get(kind)
        if why is not None:
            self._open[kind] = why
            if before is None:
                logger.error(kind.replace("_", " "), why=why)
                self._trail.record(kind, reason=why, evidence=dict(evidence or {}))
        elif before is not None:
            del self._open[kind]
            ended = FLEET_ENDS[kind]
            logger.warning(ended.replace("_", " "), was=before)
            self._trail.record(ended, reason=before)

    def why(self, kind: str) -> str | None:
        """As it was told last; None: it is not so."""
        return self._open.get(kind)

    @property
    def all(self) -> Collection[str]:
        """Every reason, in the order in which they began."""
        return self._open.values()
