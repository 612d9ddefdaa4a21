"""The received messages that wait for their session: until it is connected, and until the message
of it before has been handled."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from waguard.messaging.lane_queue import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lane that waits for its session, and since when (unix time)."""

    session_id: str
    lane: str
    since: float
    why: str


class HeldLanes:
    """By session. A receiver that calls back gets one message of a session at a time, so that it is
    known whose questions are answered meanwhile."""

    def __init__(self) -> None:
        self._held: dict[str, dict[Lane, Held]] = {}
        self._handled: set[str] = set()
        self._turns: dict[str, deque[Lane]] = {}

    def __iter__(self) -> Iterator[Held]:
        return (held for lanes in self._held.values() for held in lanes.values())

    def hold(self, lane: Lane, why: str, now: float) -> bool:
        """Let it wait for its session; whether it is the first that does. ``now`` is unix time."""
        session_id = lane.key[0]
        is_first = session_id not in self._held
        lane.held_since = lane.held_since or now
        held = Held(session_id=session_id, lane=lane.key[1], since=lane.held_since, why=why)
        self._held.setdefault(session_id, {})[lane] = held
        return is_first

    def release(self, session_id: str) -> list[Lane]:
        """Those that waited for this session."""
        return list(self._held.pop(session_id, {}))

    def discard(self, lane: Lane) -> None:
        """What it waited with is gone."""
        lane.held_since, lane.marked = None, False
        if lanes := self._held.get(lane.key[0]):
            lanes.pop(lane, None)
            if not lanes:
                del self._held[lane.key[0]]

    def sessions(self) -> list[str]:
        """Those for which anything waits."""
        return list(self._held)

    def begin(self, lane: Lane) -> bool:
        """Whether it is its turn among the messages of its session; else it waits for that."""
        session_id = lane.key[0]
        if session_id in self._handled:
            self._turns.setdefault(session_id, deque()).append(lane)
            return False
        self._handled.add(session_id)
        return True

    def end(self, session_id: str) -> list[Lane]:
        """The message was handled, or not sent: who waited for its turn may try."""
        self._handled.discard(session_id)
        return self._next(session_id)

    def overdue(self) -> list[Lane]:
        """Those whose turn it is although nobody ended one: a lane may vanish before its turn."""
        free = [name for name in self._turns if name not in self._handled]
        return [lane for name in free for lane in self._next(name)]

    def _next(self, session_id: str) -> list[Lane]:
        turns = self._turns.get(session_id, deque())
        while turns:
            lane = turns.popleft()
            if lane.waiting and not lane.busy:
                return [lane]
        self._turns.pop(session_id, None)
        return []
