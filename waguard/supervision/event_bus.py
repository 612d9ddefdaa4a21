"""Everything that happens, in order, for whoever listens: the event stream and the webhooks."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from waguard.core.text.encoded import encoded
from waguard.ports.bus import BusEvent
from waguard.ports.clock import Clock

PROMISED: Final = 1_000  # events that a listener who comes back can have, by the contract …
REPLAYED: Final = 2_000  # … and so many where there is room: up to so many bytes as JSON in all
BYTES: Final = 4 << 20
QUEUE_LIMIT: Final = 4_000  # events that a slow listener may lag behind
_IDS_PER_MS: Final = 1_000


class Bus:
    """Ids are integers that grow, also over a restart: they begin at the time of the start."""

    def __init__(self, clock: Clock, *, queue_limit: int = QUEUE_LIMIT) -> None:
        self._clock = clock
        self._queue_limit = queue_limit
        # microseconds of unix time stay below 2**53, so that JavaScript can read them
        self._next = self._forgotten = int(clock.wall() * 1000) * _IDS_PER_MS
        self._past: deque[tuple[BusEvent, int]] = deque()  # with its characters
        self._size = 0
        # unbounded, so that the end always fits; the limit is kept by ``publish``
        self._listeners: set[asyncio.Queue[BusEvent | None]] = set()
        self._closed = False
        self.published = Counter[str]()
        """How many since the start, by event."""

    def publish(
        self,
        event: str,
        session_id: str | None,
        workspace_id: int | None,
        data: Mapping[str, Any],
        *,
        stored: bool = False,
    ) -> BusEvent:
        """Publish to every listener; never waits. ``stored``: it is in the inbox already."""
        self._next += 1
        happened = BusEvent(
            id=self._next,
            event=event,
            session_id=session_id,
            workspace_id=workspace_id,
            at=self._clock.wall(),
            data=data,
            stored=stored,
        )
        self.published[event] += 1
        size = len(encoded(data))
        self._past.append((happened, size))
        self._size += size
        while len(self._past) > (PROMISED if self._size > BYTES else REPLAYED):
            oldest, size = self._past.popleft()
            self._size, self._forgotten = self._size - size, oldest.id
        for queue in list(self._listeners):
            if queue.qsize() < self._queue_limit:
                queue.put_nowait(happened)
            else:
                self._end(queue)
        return happened

    @property
    def extent(self) -> tuple[int, int]:
        """Which events are known still: those after the first id, up to the second."""
        return self._forgotten, self._next

    @property
    def closed(self) -> bool:
        """Nothing is published any more."""
        return self._closed

    def _end(self, queue: asyncio.Queue[BusEvent | None]) -> None:
        """No gap before the end: one that lagged too far can come back with its last id."""
        self._listeners.discard(queue)
        queue.put_nowait(None)

    def close(self) -> None:
        """End every subscription, also later ones, after what it still has to read."""
        self._closed = True
        for queue in list(self._listeners):
            self._end(queue)

    @contextlib.asynccontextmanager
    async def subscribe(self, last_id: int | None = None) -> AsyncIterator[AsyncIterator[BusEvent]]:
        """Events after ``last_id`` that are still known, then what comes; None: only what comes. An id that is still to come
        is of a daemon before, whose clock was ahead: then all are after it."""
        queue: asyncio.Queue[BusEvent | None] = asyncio.Queue()
        if last_id is not None and last_id > self._next:
            last_id = 0
        past = [] if last_id is None else [event for event, _ in self._past if event.id > last_id]
        self._listeners.add(queue)
        if self._closed:
            self._end(queue)
        try:
            yield self._read(past, queue)
        finally:
            self._listeners.discard(queue)

    async def _read(
        self, past: list[BusEvent], queue: asyncio.Queue[BusEvent | None]
    ) -> AsyncIterator[BusEvent]:
        for event in past:
            yield event
        while (come := await queue.get()) is not None:
            yield come
