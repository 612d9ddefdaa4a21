"""The lanes of one endpoint, as far as they are in memory: each one's first, and a little more.

The database is the queue. Every lane (a chat, or the session itself) that has something pending is
known here by its first webhook; what follows is held in memory as far as there is room, and read
by its lane otherwise. So a lane that its receiver cannot digest, or that waits for its session,
takes no room from the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from waguard.core.delivery import HELD, READY, SESSION_EVENTS
from waguard.ports.messages import Pending

_EXPECTED: Final = 0  # no id of the database's

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneWindow:
    """How much of an endpoint's queue is in memory, in webhooks: beside the first of each lane, at most
    of one lane, and read at a time."""

    memory: int = 10_000
    lane: int = 50
    read: int = 500


@dataclass(slots=True, eq=False)
class Lane:
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


class LaneQueue:
    """``leave_out`` gets each webhook that a newer one of its session makes outdated."""

    def __init__(self, leave_out: Callable[[Pending], None], window: LaneWindow) -> None:
        self._window = window
        self._leave_out = leave_out
        self._lanes: dict[Key, Lane] = {}
        self._announced: dict[str, int] = {}
        """The pending ``session_ready`` of each session."""
        self.count = 0
        """Webhooks in memory."""

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def is_announced(self, session_id: str) -> bool:
        """Whether no ``session_ready`` of this session is still to be delivered."""
        return session_id not in self._announced

    def expect(self, session_id: str, *, comes: bool) -> None:
        """A ``session_ready`` of this session will be admitted, or will not."""
        if comes:
            self._announced[session_id] = _EXPECTED
        elif self._announced.get(session_id) == _EXPECTED:
            del self._announced[session_id]

    def drop(self, lane: Lane, before: float) -> bool:
        """Forget its received messages that were queued before then (unix time); whether its first
        was one of them. One that is in flight stays."""
        first = lane.waiting[0] if lane.waiting else None
        kept = deque(
            item
            for item in lane.waiting
            if item.event != HELD or item.created_at >= before or (lane.busy and item is first)
        )
        self.count -= len(lane.waiting) - len(kept)
        lane.waiting = kept
        return bool(first) and not (kept and kept[0] is first)

    def admit(self, item: Pending) -> Lane | None:
        """Add what the database has; its lane, where that has something to begin with now."""
        self._note_announcement(item)
        key = (item.session_id, item.lane)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _known(key, item)
        elif item.event in SESSION_EVENTS:
            self._leave_out_outdated(lane)
        is_first = not lane.waiting and not lane.busy
        has_room = len(lane.waiting) < self._window.lane and self.count < self._window.memory
        if not lane.more and (is_first or (has_room and lane.held_since is None)):
            self._append(lane, item)
        lane.newest = max(lane.newest, item.id)
        return lane if is_first else None

    def fill(self, lane: Lane, found: Sequence[Pending], *, until: int, whole: bool) -> bool:
        """Add what was read for a lane up to the id ``until``, ``whole`` if that was all; whether
        the lane goes on."""
        for item in found:
            self._append(lane, item)
        if whole:
            lane.loaded = max(lane.loaded, until)
        if not lane.waiting and not lane.more:
            del self._lanes[lane.key]
            return False
        return True

    def pop(self, lane: Lane) -> bool:
        """Its first is done with; whether the lane goes on: with the next one, or with what has
        to be read."""
        self._forget(lane.waiting.popleft())
        if not lane.waiting and not lane.more:
            del self._lanes[lane.key]
            return False
        return True

    def shrink(self, lane: Lane) -> None:
        """Keep only its first, and that without its body: it may wait for long."""
        first = replace(lane.waiting[0], body=None)
        self.count -= len(lane.waiting) - 1
        lane.waiting = deque((first,))
        lane.loaded = first.id

    def _append(self, lane: Lane, item: Pending) -> None:
        if self.count >= self._window.memory:
            item = replace(item, body=None)  # it is read when its turn comes
        lane.waiting.append(item)
        lane.loaded = item.id
        self.count += 1

    def _forget(self, item: Pending) -> None:
        self.count -= 1
        if self._announced.get(item.session_id) == item.id:
            del self._announced[item.session_id]

    def _note_announcement(self, item: Pending) -> None:
        """The newest event of a session counts: the database has left out those before it."""
        if item.event == READY:
            self._announced[item.session_id] = item.id
        elif item.event in SESSION_EVENTS:
            self._announced.pop(item.session_id, None)

    def _leave_out_outdated(self, lane: Lane) -> None:
        kept: deque[Pending] = deque()
        for place, item in enumerate(lane.waiting):
            if (place == 0 and lane.busy) or item.event not in SESSION_EVENTS:
                kept.append(item)
            else:
                self._forget(item)
                self._leave_out(item)
        lane.waiting = kept


def _known(key: Key, first: Pending) -> Lane:
    return Lane(
        key,
        held_since=first.held_since,
        marked=first.held_since is not None,
        tried_since=first.tried_since,
    )
