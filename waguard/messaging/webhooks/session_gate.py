"""Whether the application would drop a message of a session now (``core.webhooks.session_gate``), and whose messages wait."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from loguru import logger

from waguard.core.webhooks.session_gate import Connection
from waguard.errors import WaguardError
from waguard.messaging.webhooks.dead_letters import DeadLetterQueue
from waguard.messaging.webhooks.delivery_context import LINKING
from waguard.ports.messages import MessageStore

OTHER_NUMBER: Final = "its session is linked to another number now"


class SessionGate:
    """``connection`` says how a session stands; ``release`` is called when its messages may go."""

    def __init__(
        self,
        store: MessageStore,
        dead_letters: DeadLetterQueue,
        connection: Callable[[str], Connection],
        release: Callable[[str], None],
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._connection = connection
        self._release = release
        self._numbers: dict[str, str | None] = {}
        """The number of each session that is connected, once it is known to be the one before."""
        self.linking: dict[str, asyncio.Task[None]] = {}
        """Sessions whose numbers are being compared."""

    def why_not(self, session_id: str) -> str | None:
        """Why a message of this session must not be delivered now; None: it may."""
        now = self._connection(session_id)
        if now.why_not is not None:
            self._numbers.pop(session_id, None)
            return now.why_not
        if self._numbers.get(session_id, "") == now.phone:
            return None
        if session_id not in self.linking:
            linking = self._link(session_id, now)
            task = asyncio.create_task(linking, name=f"webhooks link {session_id}")
            self.linking[session_id] = task
            task.add_done_callback(lambda _: self.linking.pop(session_id, None))
        return LINKING

    def forget(self, sessions: Collection[str]) -> None:
        """Other hosts' sessions: compare no numbers of them."""
        for session_id in sessions:
            self._numbers.pop(session_id, None)
            if task := self.linking.get(session_id):
                task.cancel()

    async def close(self) -> None:
        """Compare no numbers any more."""
        for task in self.linking.values():
            task.cancel()
        await asyncio.gather(*self.linking.values(), return_exceptions=True)

    async def _link(self, session_id: str, now: Connection) -> None:
        """What waited for the session under another number is not the new one's."""
        phone = now.phone
        try:
            before = await self._store.linked_phone(session_id) if phone else phone
            if phone and before != phone:
                if before:
                    await self._dead_letters.add_session(session_id, OTHER_NUMBER, before=now.since)
                await self._store.link_phone(session_id, phone)
        except WaguardError as error:
            logger.debug("number not compared, trying again", why=error.line())
            return  # at the next check
        self._numbers[session_id] = phone
        self._release(session_id)
