"""What waits since this installation was restored from a backup: in a file, until a person releases it."""

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path

from loguru import logger

from waguard.core import restored as policy
from waguard.core.blame import Condition
from waguard.core.messages.inbox import InboxRecord
from waguard.core.restored import Restored
from waguard.host.memory import restored_file


class RestoredInstallation:
    """Fills ``ports.store.GroupRelease``. ``uses_lookup``: the table of ``webhook.url``'s receiver can be asked."""

    def __init__(self, state: Path, *, uses_lookup: Callable[[], bool]) -> None:
        self._state = state
        self._uses_lookup = uses_lookup
        self._now = restored_file.read(state)
        self._changing = asyncio.Lock()
        """Sessions are taken over in parallel: each change is of what the one before it has written."""

    def marked(self, record: InboxRecord) -> InboxRecord:
        """The record, marked where the daemon before may have reported it."""
        if self._now is None:
            return record
        return policy.marked(self._now, record, uses_lookup=self._uses_lookup())

    def group_waits(self, session: str, chat: str) -> bool:
        """Whether nothing is sent to this chat of the session."""
        return policy.group_waits(self._now, session, chat)

    def conditions(self, known: Collection[str]) -> list[Condition]:
        """What a person has to decide, of these sessions."""
        return policy.conditions(self._now, known)

    async def roll_back(self, session: str, copied_at: float) -> None:
        """From now on this session's messages to groups wait: its credentials are those of ``copied_at``. Raises
        ``OSError``."""
        copied_at = max(copied_at, policy.EARLIEST)
        async with self._changing:
            after = policy.rolled_back(self._now, session, copied_at=copied_at, now=time.time())
            await self._write(after)

    async def undo_roll_back(self, session: str) -> None:
        """Undoes ``roll_back``: the session's credentials are the newest now. Raises ``OSError``."""
        async with self._changing:
            after = policy.not_rolled_back(self._now, session)
            if after is not None and after != self._now:
                await self._write(after)

    async def release_groups(self) -> int:
        """From now on all sessions send to groups; how many did not. Raises ``OSError``."""
        async with self._changing:
            if self._now is None or not self._now.groups:
                return 0
            count = len(self._now.groups)
            await self._write(policy.released(self._now))
        logger.info("messages to groups are released", event="groups_released", sessions=count)
        return count

    async def _write(self, after: Restored) -> None:
        await asyncio.to_thread(restored_file.write, self._state, after)
        self._now = after
