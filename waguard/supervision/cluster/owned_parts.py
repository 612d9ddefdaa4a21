"""What owning a session means on this host, for all parts of it in their order."""

from collections.abc import Collection
from dataclasses import dataclass

from waguard.ports.cluster import OwnedSessions


@dataclass(frozen=True)
class OwnedParts:
    """Fills ``ports.cluster.OwnedSessions``. What a worker reports needs what messaging remembers of its session: that
    comes first and goes last."""

    messaging: OwnedSessions
    supervision: OwnedSessions

    async def acquire(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``."""
        await self.messaging.acquire(sessions)
        await self.supervision.acquire(sessions)

    async def release(self, session: str) -> None:
        """See ``ports.cluster.OwnedSessions``."""
        await self.supervision.release(session)
        await self.messaging.release(session)

    async def lose(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``."""
        await self.supervision.lose(sessions)
        await self.messaging.lose(sessions)
