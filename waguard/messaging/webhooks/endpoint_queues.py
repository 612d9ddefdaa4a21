"""The queues of all endpoints that have something to deliver."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from math import inf

from msgspec import Struct

from waguard.core.conditions import Receiver
from waguard.core.webhooks.facts import Dropped, Expired, GivenUp, Released, Requeued
from waguard.core.webhooks.pending import Key
from waguard.messaging.webhooks.endpoint_queue import EndpointQueue
from waguard.ports.webhooks import GLOBAL


class Held(Struct, frozen=True, kw_only=True):
    """A partition that waits for its session, and since when (unix time)."""

    session_id: str
    partition: str
    since: float
    why: str


class EndpointQueues:
    """``make`` begins the queue of an endpoint."""

    def __init__(self, make: Callable[[str], EndpointQueue]) -> None:
        self._make = make
        self._queues: dict[str, EndpointQueue] = {}

    def __iter__(self) -> Iterator[EndpointQueue]:
        return iter(self._queues.values())

    def __contains__(self, endpoint: str) -> bool:
        return endpoint in self._queues

    def __getitem__(self, endpoint: str) -> EndpointQueue:
        """Made where there is none."""
        if endpoint not in self._queues:
            self._queues[endpoint] = self._make(endpoint)
        return self._queues[endpoint]

    async def remove(self, endpoint: str, grace: float) -> None:
        """There is no such endpoint any more; what is in flight has ``grace`` s."""
        if queue := self._queues.pop(endpoint, None):
            await queue.close(grace)

    # ---- of all ----

    def held(self) -> list[Held]:
        """What waits for its session."""
        return [
            Held(session_id=it.key[0], partition=it.key[1], since=it.held_since or 0.0, why=it.why)
            for queue in self
            for it in queue.state.all_held()
        ]

    def unread(self, first: Mapping[str, int]) -> dict[str, int]:
        """Endpoints whose ``first`` pending webhook, as the database has it, is not in memory, and is not being read."""
        found = {it.endpoint: first.get(it.endpoint) for it in self}
        return {
            endpoint: number
            for endpoint, number in found.items()
            if number is not None and not self._queues[endpoint].state.has(number)
        }

    def receivers(
        self, waiting: Mapping[str, int], unread: Mapping[str, float], *, before: float
    ) -> list[Receiver]:
        """How each stands; ``waiting``: webhooks by endpoint, as the database counts them, ``unread``: since when (unix
        time) the first of them is not in memory. Late is what has waited since ``before`` (unix time)."""
        return [
            Receiver(
                session=None if queue.endpoint == GLOBAL else queue.endpoint,
                waiting=max(waiting.get(queue.endpoint, 0), queue.state.count),
                oldest=queue.state.oldest,
                late=queue.state.late(before),
                down_since=queue.state.receiver.failing_since if queue.state.down else None,
                error=queue.state.receiver.error or None,
                advice=queue.state.receiver.advice,
                unread_since=since
                if (since := unread.get(queue.endpoint, inf)) <= before
                else None,
            )
            for queue in self
        ]

    def release(self, session_id: str) -> None:
        """The session may be connected, and the receivers know it: try what waited for that."""
        for queue in self:
            queue.post(Released(session=session_id))

    def forget(self, session_id: str, before: float) -> None:
        """The messages of a session that were queued before then are dead letters."""
        for queue in self:
            queue.post(Dropped(session=session_id, before=before))

    def expire(self, before: float) -> None:
        """All that was queued before then (unix time) is dead letters."""
        for queue in self:
            queue.post(Expired(before=before))

    def given_up(self, ids: Collection[int]) -> None:
        """These are dead letters."""
        for queue in self:
            queue.post(GivenUp(ids=frozenset(ids)))

    def requeued(self, endpoint: str, key: Key, newest: int) -> None:
        """Dead letters of a partition are pending again, before what follows them; ``newest``: their highest id."""
        self[endpoint].post(Requeued(key=key, newest=newest))

    async def drain(self) -> None:
        """Wait until all is delivered."""
        await asyncio.gather(*(queue.drain() for queue in self))

    async def wind_down(self, timeout: float) -> None:
        """Wait at most ``timeout`` s until all are quiet; then only session events are delivered."""
        await _within(timeout, (queue.wind_down() for queue in self))

    async def answered(self, timeout: float) -> None:
        """Wait at most ``timeout`` s until nothing is in flight."""
        await _within(timeout, (queue.answered() for queue in self))

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is in flight has ``grace`` s to end."""
        await asyncio.gather(*(queue.close(grace) for queue in self))


async def _within(timeout: float, waits: Iterable[Awaitable[None]]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await asyncio.gather(*waits)
