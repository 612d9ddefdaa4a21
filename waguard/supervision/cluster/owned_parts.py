"""What owning a session means on this host, for all parts of it in their order."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from waguard.errors import UnavailableError
from waguard.ports.cluster import OwnedSessions


class OwnedParts:
    """Fills ``ports.cluster.OwnedSessions``, when its parts are set."""

    stopping: Callable[[], bool]
    """Whether the daemon ends."""
    running: OwnedSessions
    """The session itself."""
    journal: OwnedSessions
    """What stores its reports: there before it runs, and after it has ended."""
    others: Sequence[OwnedSessions]
    """What is on its way for it: there before it runs, released while it still runs, and lost before its worker ends, so
    that how it fails then is nobody's answer."""

    async def remember(self, sessions: Collection[str]) -> None:
        """Read what memory keeps of them beside what runs. Raises ``DatabaseUnavailableError``."""
        await self.journal.acquire(sessions)
        for part in self.others:
            await part.acquire(sessions)

    async def acquire(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``."""
        await self.remember(sessions)
        await self.running.acquire(sessions)

    async def release(self, session: str) -> None:
        """See ``ports.cluster.OwnedSessions``. Raises ``UnavailableError`` where it cannot leave now: then it goes on
        here, with all of its parts, unless the daemon ends."""
        await asyncio.gather(*(part.release(session) for part in self.others))
        try:
            await self.running.release(session)
        except UnavailableError:
            if not self.stopping():
                await self.remember((session,))
            raise
        await self.journal.release(session)

    async def lose(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``. None waits for another one."""
        await asyncio.gather(*(part.lose(sessions) for part in (*self.others, self.running)))
        await self.journal.lose(sessions)
