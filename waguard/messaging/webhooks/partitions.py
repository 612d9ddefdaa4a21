"""The partitions of one endpoint, as far as they are in memory: each one's first, and a little more.

The database is the queue. Every partition (a chat, or the session itself) that has something pending is
known here by its first webhook; what follows is held in memory as far as there is room, and read
by its partition otherwise. So a partition that its receiver cannot digest, or that waits for its session,
takes no room from the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from waguard.core.webhooks.delivery import HELD, READY, SESSION_EVENTS
from waguard.ports.webhooks import Pending

_EXPECTED: Final = 0  # no id of the database's

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryWindow:
    """How much of an endpoint's queue is in memory, in webhooks: beside the first of each partition, at most
    of one partition, and read at a time."""

    memory: int = 10_000
    partition: int = 50
    read: int = 500


@dataclass(slots=True, eq=False)
class Partition:
    """``waiting`` is never empty while nothing is being read for it. Times are unix time."""

    key: Key
    waiting: deque[Pending] = field(default_factory=deque)
    newest: int = 0
    """The highest id that the database is known to have for it."""
    loaded: int = 0
    """The highest id that is, or was, in memory."""
    busy: bool = False
    """Its first is in flight, its result is being saved, or what follows is being read."""
    ready: bool = False
    """Its first may be tried now."""
    timer: asyncio.TimerHandle | None = None
    """Its first is not to be tried yet."""
    held_since: float | None = None
    """Its first waits for its session."""
    marked: bool = False
    """Its row says that it is held."""
    tried_since: float | None = None
    """Since when it may be tried, without a hold or a success in between."""
    expire_before: float | None = None
    """What was queued by then is given up."""

    @property
    def more(self) -> bool:
        """Whether the database has more than is in memory."""
        return self.newest > self.loaded

    @property
    def of_session(self) -> bool:
        """Whether its first says how a session stands."""
        return bool(self.waiting) and self.waiting[0].event in SESSION_EVENTS

    def behind(self) -> Iterator[str]:
        """The events after the first."""
        return (item.event for place, item in enumerate(self.waiting) if place)


class Partitions:
    """``leave_out`` gets each webhook that a newer one of its session makes outdated."""

    def __init__(self, leave_out: Callable[[Pending], None], window: MemoryWindow) -> None:
        self._window = window
        self._leave_out = leave_out
        self._partitions: dict[Key, Partition] = {}
        self._announced: dict[str, int] = {}
        """The pending ``session_ready`` of each session."""
        self.count = 0
        """Webhooks in memory."""

    def __len__(self) -> int:
        return len(self._partitions)

    def __iter__(self) -> Iterator[Partition]:
        return iter(list(self._partitions.values()))

    def is_announced(self, session_id: str) -> bool:
        """Whether no ``session_ready`` of this session is still to be delivered."""
        return session_id not in self._announced

    def expect(self, session_id: str, *, comes: bool) -> None:
        """A ``session_ready`` of this session will be admitted, or will not."""
        if comes:
            self._announced[session_id] = _EXPECTED
        elif self._announced.get(session_id) == _EXPECTED:
            del self._announced[session_id]

    def drop(self, partition: Partition, before: float) -> bool:
        """Forget its received messages that were queued before then (unix time); whether its first
        was one of them. One that is in flight stays."""
        first = partition.waiting[0] if partition.waiting else None
        kept = deque(
            item
            for item in partition.waiting
            if item.event != HELD or item.created_at >= before or (partition.busy and item is first)
        )
        self.count -= len(partition.waiting) - len(kept)
        partition.waiting = kept
        return bool(first) and not (kept and kept[0] is first)

    def admit(self, item: Pending) -> Partition | None:
        """Add what the database has; its partition, where that has something to begin with now."""
        self._record_announcement(item)
        key = (item.session_id, item.partition)
        partition = self._partitions.get(key)
        if partition is None:
            partition = self._partitions[key] = _known(key, item)
        elif item.event in SESSION_EVENTS:
            self._leave_out_outdated(partition)
        is_first = not partition.waiting and not partition.busy
        has_room = (
            len(partition.waiting) < self._window.partition and self.count < self._window.memory
        )
        if not partition.more and (is_first or (has_room and partition.held_since is None)):
            self._append(partition, item)
        partition.newest = max(partition.newest, item.id)
        return partition if is_first else None

    def fill(
        self, partition: Partition, found: Sequence[Pending], *, until: int, whole: bool
    ) -> bool:
        """Add what was read for a partition up to the id ``until``, ``whole`` if that was all; whether
        the partition goes on."""
        for item in found:
            self._append(partition, item)
        if whole:
            partition.loaded = max(partition.loaded, until)
        if not partition.waiting and not partition.more:
            del self._partitions[partition.key]
            return False
        return True

    def pop(self, partition: Partition) -> bool:
        """Its first is done with; whether the partition goes on: with the next one, or with what has
        to be read."""
        self._forget(partition.waiting.popleft())
        if not partition.waiting and not partition.more:
            del self._partitions[partition.key]
            return False
        return True

    def shrink(self, partition: Partition) -> None:
        """Keep only its first, and that without its body: it may wait for long."""
        first = replace(partition.waiting[0], body=None)
        self.count -= len(partition.waiting) - 1
        partition.waiting = deque((first,))
        partition.loaded = first.id

    def _append(self, partition: Partition, item: Pending) -> None:
        if self.count >= self._window.memory:
            item = replace(item, body=None)  # it is read when its turn comes
        partition.waiting.append(item)
        partition.loaded = item.id
        self.count += 1

    def _forget(self, item: Pending) -> None:
        self.count -= 1
        if self._announced.get(item.session_id) == item.id:
            del self._announced[item.session_id]

    def _record_announcement(self, item: Pending) -> None:
        """The newest event of a session counts: the database has left out those before it."""
        if item.event == READY:
            self._announced[item.session_id] = item.id
        elif item.event in SESSION_EVENTS:
            self._announced.pop(item.session_id, None)

    def _leave_out_outdated(self, partition: Partition) -> None:
        kept: deque[Pending] = deque()
        for place, item in enumerate(partition.waiting):
            if (place == 0 and partition.busy) or item.event not in SESSION_EVENTS:
                kept.append(item)
            else:
                self._forget(item)
                self._leave_out(item)
        partition.waiting = kept


def _known(key: Key, first: Pending) -> Partition:
    return Partition(
        key,
        held_since=first.held_since,
        marked=first.held_since is not None,
        tried_since=first.tried_since,
    )
