"""Webhooks of sessions that come to this host and go while it runs.

An endpoint's queue has webhooks of many sessions, and each host delivers those of its own. What is in flight when a session
is lost is cut off: the database takes no result of it any more, so its row stays pending, and the next owner delivers it
again. That is right: whether the receiver has it nobody here can say for sure, and pending is the only state in which
nothing is lost. A repetition has the same event id, by which a receiver knows it, and is looked up first where the
receiver's table can be asked. A release awaits what is in flight, so that a planned move repeats nothing.
"""

import asyncio
from collections.abc import Collection

from waguard.core.webhooks.facts import Acquired
from waguard.messaging.journal import Journal
from waguard.messaging.own_sessions import OwnSessions
from waguard.messaging.webhooks.endpoint_queue import EndpointQueue
from waguard.messaging.webhooks.endpoint_queues import EndpointQueues
from waguard.messaging.webhooks.endpoints import Endpoints
from waguard.messaging.webhooks.receiver_table import ReceiverTable
from waguard.messaging.webhooks.session_gate import SessionGate
from waguard.ports.webhooks import GLOBAL


class OwnedWebhooks:
    """Fills ``ports.cluster.OwnedSessions``, as far as webhooks go. ``last_answer``: seconds for what is in flight at a
    release."""

    def __init__(
        self,
        own: OwnSessions,
        journal: Journal,
        endpoints: Endpoints,
        queues: EndpointQueues,
        gate: SessionGate,
        table: ReceiverTable | None,
        *,
        last_answer: float,
    ) -> None:
        self._own = own
        self._journal = journal
        self._endpoints = endpoints
        self._queues = queues
        self._gate = gate
        self._table = table
        self._last_answer = last_answer

    def delivers(self, endpoint: str) -> bool:
        """Whether there is such an endpoint, and this host delivers to it."""
        ours = endpoint == GLOBAL or endpoint in self._own
        return ours and self._endpoints.is_loaded and endpoint in self._endpoints

    def owns(self, session_id: str) -> bool:
        """Whether its webhooks are delivered from here."""
        return session_id in self._own

    async def acquire(self, sessions: Collection[str]) -> None:
        """Read what their owner before left, and deliver it; after ``Journal.acquire``. Raises
        ``DatabaseUnavailableError``."""
        # else a result that this host left in an earlier time as their owner would come too late
        await self._journal.caught_up()
        await self._endpoints.load()
        self._own.expect(sessions)
        for endpoint in filter(self.delivers, (GLOBAL, *sessions)):
            queue = self._queues[endpoint]
            for session_id in sessions if endpoint == GLOBAL else (endpoint,):
                queue.post(Acquired(session=session_id))
            queue.poke()
        self._own.arrived(sessions)

    async def release(self, session_id: str) -> None:
        """Begin nothing more of it, and wait until what is in flight is answered and that is stored; while the session
        still runs: its receiver may ask how it stands."""
        grace = self._last_answer
        await asyncio.gather(*(it.release(session_id, grace) for it in self._of(session_id)))
        await self.lose((session_id,))

    async def lose(self, sessions: Collection[str]) -> None:
        """Nothing of theirs is delivered or written from now on, and nothing of it is kept in memory."""
        self._own.drop(sessions)
        self._gate.forget(sessions)
        if self._table:
            self._table.forget(sessions)
        queues = [(queue, name) for name in sessions for queue in self._of(name)]
        await asyncio.gather(*(queue.lose(name) for queue, name in queues))
        await asyncio.gather(*(self._queues.remove(name, 0.0) for name in sessions))

    def _of(self, session_id: str) -> list[EndpointQueue]:
        return [self._queues[name] for name in (GLOBAL, session_id) if name in self._queues]
