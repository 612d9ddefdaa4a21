"""Messages whose answer was lost are looked for in their chats. None is sent again for it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from loguru import logger

from waguard.core.messages.people import People
from waguard.errors import NotFoundError, WaguardError
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.timings import SEND, SendTimings
from waguard.ports.sessions import Sessions
from waguard.wire.calls import Acks

AT_ONCE: Final = 4


class OutcomePoller:
    """``found`` gets what a poll found, an ack or None, and says whether that was all; ``people``
    says whose LIDs a session knows."""

    def __init__(
        self,
        sessions: Sessions,
        found: Callable[[PendingSend, int | None], bool],
        people: Callable[[str], Awaitable[People]],
        timings: SendTimings = SEND,
    ) -> None:
        self._timings = timings
        self._people = people
        self._sessions = sessions
        self._found = found
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[asyncio.Task[None], str] = {}
        """By task, whose message it polls for."""

    def add(self, pending: PendingSend) -> None:
        """Poll for it as soon as its session is connected."""
        task = asyncio.create_task(self._poll(pending), name=f"poll {pending.session_id}")
        self._tasks[task] = pending.session_id
        task.add_done_callback(self._tasks.pop)

    async def close(self) -> None:
        """Poll no more."""
        await self._end(list(self._tasks))

    async def lose(self, sessions: Collection[str]) -> None:
        """Poll no more for these sessions."""
        await self._end([task for task, session in self._tasks.items() if session in sessions])

    async def _end(self, left: list[asyncio.Task[None]]) -> None:
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _poll(self, pending: PendingSend) -> None:
        for delay in self._timings.polls:
            await asyncio.sleep(delay)
            try:
                ack = await self._ask(pending)
            except NotFoundError:
                ack = None
            if self._found(pending, ack):
                return

    async def _ask(self, pending: PendingSend) -> int | None:
        """Ask for the message's ack; raises ``NotFoundError`` where its session is gone."""
        while True:
            try:
                await self._sessions.ready(pending.session_id, wait=self._timings.hope, hoping=True)
                async with self._room:
                    lids = (await self._people(pending.session_id)).lids(pending.chat)
                    name = pending.message_id
                    call = Acks(ids=(name,), aliases={name: lids} if lids else {})
                    value = await self._sessions.call(pending.session_id, call, wait=0)
                if pending.message_id not in value.unread:
                    return (value.acks or {}).get(pending.message_id)
            except NotFoundError:
                raise
            except WaguardError as error:
                logger.debug("outcome not polled, trying again", why=error.line())
            except Exception:  # noqa: BLE001 - the message stays watched
                logger.exception(
                    "a bug in waguard: the outcome of a message is not polled",
                    event="bug",
                    session=pending.session_id,
                    id=pending.id,
                )
                return None
            await asyncio.sleep(self._timings.poll_retry)
