"""Messages whose answer was lost are looked up in their chats. None is sent again for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger

from waguard.core.identity import People
from waguard.errors import NotFoundError, WaguardError
from waguard.messaging.pending_sends import PendingSend
from waguard.ports.sessions import Sessions
from waguard.wire.protocol import Acks, Value

DELAYS: Final = (0.0, 2.0, 10.0, 60.0)  # s before each look
AT_ONCE: Final = 4
HOPE: Final = 60.0  # s; then it is asked again whether there is such a session
RETRY: Final = 2.0  # s


class OutcomePoller:
    """``found`` gets what a look said, an ack or None, and says whether that was all; ``people``
    says whose LIDs a session knows."""

    def __init__(
        self,
        sessions: Sessions,
        found: Callable[[PendingSend, int | None], bool],
        people: Callable[[str], Awaitable[People]],
    ) -> None:
        self._people = people
        self._sessions = sessions
        self._found = found
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, ticket: PendingSend) -> None:
        """Look for it as soon as its session is connected."""
        task = asyncio.create_task(self._look(ticket), name=f"look up {ticket.session_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Look no more."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _look(self, ticket: PendingSend) -> None:
        for delay in DELAYS:
            await asyncio.sleep(delay)
            try:
                ack = await self._ask(ticket)
            except NotFoundError:
                ack = None
            if self._found(ticket, ack):
                return

    async def _ask(self, ticket: PendingSend) -> int | None:
        """Its ack; raises ``NotFoundError`` where its session is gone."""
        while True:
            try:
                await self._sessions.ready(ticket.session_id, wait=HOPE, hoping=True)
                async with self._room:
                    lids = (await self._people(ticket.session_id)).lids(ticket.chat)
                    name = ticket.message_id
                    call = Acks(ids=(name,), aliases={name: lids} if lids else {})
                    told = await self._sessions.call(ticket.session_id, call, wait=0)
                acks = told.acks if isinstance(told, Value) else None
                return (acks or {}).get(ticket.message_id)
            except NotFoundError:
                raise
            except WaguardError as error:
                logger.debug("not looked up, trying again", why=error.line())
            except Exception:  # noqa: BLE001 - the message stays watched
                logger.exception(
                    "a bug in waguard: a message is not looked up",
                    event="bug",
                    session=ticket.session_id,
                    id=ticket.id,
                )
                return None
            await asyncio.sleep(RETRY)
