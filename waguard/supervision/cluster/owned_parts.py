"""What owning a session means on this host, for all parts of it in their order."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from waguard.ports.cluster import OwnedSessions


@dataclass(frozen=True, kw_only=True)
class OwnedParts:
    """Fills ``ports.cluster.OwnedSessions``. What a worker reports needs what ``receiving`` keeps of its session. What is
    being sent has its time while the session still runs, and hears of a loss before its worker ends: how that fails is no
    answer to those who wait."""

    sending: OwnedSessions
    running: OwnedSessions
    receiving: OwnedSessions

    async def remember(self, sessions: Collection[str]) -> None:
        """Read what memory keeps of their messages. Raises ``DatabaseUnavailableError``."""
        await self.receiving.acquire(sessions)
        await self.sending.acquire(sessions)

    async def acquire(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``."""
        await self.remember(sessions)
        await self.running.acquire(sessions)

    async def release(self, session: str) -> None:
        """See ``ports.cluster.OwnedSessions``."""
        await self.sending.release(session)
        await self.running.release(session)
        await self.receiving.release(session)

    async def lose(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``. Each begins at once."""
        await asyncio.gather(self.sending.lose(sessions), self.running.lose(sessions))
        await self.receiving.lose(sessions)
